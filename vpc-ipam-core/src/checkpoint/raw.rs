//! JSON text taken apart without being changed: what is not understood must go back as it came, and
//! a parsed number or a repeated member would not.

use serde::de::IgnoredAny;

/// One member of an object. All text is as it stands.
pub(super) struct Member<'a> {
    /// The name with its quotes.
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

/// Removes the white space between tokens.
///
/// # Errors
///
/// If `text` is not one JSON value.
pub(super) fn compact(text: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text)?;
    let (mut quoted, mut escaped) = (false, false);
    let mut compact = String::with_capacity(text.len());
    let mut start = 0;
    // All that counts here is ASCII, of which no part of another character is.
    for (n, byte) in text.bytes().enumerate() {
        if quoted {
            (quoted, escaped) = (byte != b'"' || escaped, byte == b'\\' && !escaped);
        } else if byte.is_ascii_whitespace() {
            compact.push_str(text.get(start..n).unwrap_or_default());
            start = n + 1;
        } else {
            quoted = byte == b'"';
        }
    }
    compact.push_str(text.get(start..).unwrap_or_default());
    Ok(compact)
}

/// Members of an object, `None` if `text` is something else. `text` must be compact.
pub(super) fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let mut rest = text.strip_prefix('{')?;
    let mut members = Vec::new();
    while !rest.starts_with('}') {
        let name = value(&mut rest)?;
        rest = rest.strip_prefix(':')?;
        members.push(Member { name, value: value(&mut rest)? });
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(members)
}

/// Elements of a list, `None` if `text` is something else. `text` must be compact.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.strip_prefix('[')?;
    let mut elements = Vec::new();
    while !rest.starts_with(']') {
        elements.push(value(&mut rest)?);
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(elements)
}

/// Takes the value with which `rest` begins.
fn value<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, after) = rest.split_at_checked(values.byte_offset())?;
    *rest = after;
    Some(value)
}
