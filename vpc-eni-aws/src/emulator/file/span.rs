//! Spans of time as text.

use std::time::Duration;

use serde::Deserialize;

/// The longest span: a week. Longer ones are mistakes, and sums of times must not overflow.
const SPAN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// For example `250ms`, `5s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(in crate::emulator) struct Span(pub(in crate::emulator) Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        let span = number.parse::<u64>().ok().and_then(|n| n.checked_mul(ms));
        match span.map(Duration::from_millis) {
            Some(span) if ms > 0 && span <= SPAN_MAX => Ok(Self(span)),
            _ => Err(format!(
                "{text:?} is no span of time; write a whole number and ms, s, m or h, such as \"250ms\", up to a week"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_an_end() {
        for (text, ms) in [("0s", 0), ("250ms", 250), ("5s", 5000), ("2m", 120_000)] {
            assert_eq!(Span::try_from(text.to_owned()), Ok(Span(Duration::from_millis(ms))));
        }
        for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "5S", "8000h", "99999999999999999999h"] {
            assert!(Span::try_from(bad.to_owned()).unwrap_err().contains("write a whole number"));
        }
    }
}
