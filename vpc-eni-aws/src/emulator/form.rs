//! Parameters of the Query protocol: flat names with numbered parts, each read exactly once.

use std::{collections::BTreeMap, str::FromStr};

use vpc_ipam_core::testkit::ec2::{Ec2Error, Filter, code};

/// Parameters per request, and entries per list. EC2's own limit for most lists is 1000.
const PARAMETERS_MAX: usize = 5000;

/// What is left to be read of a request, or of one numbered part of it.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Where this part hangs in the request, for messages: empty or ending in a dot.
    path: String,
    values: BTreeMap<String, String>,
}

impl Form {
    /// Parses an `application/x-www-form-urlencoded` body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Ec2Error> {
        if std::str::from_utf8(body).is_err() {
            return Err(Ec2Error::new("MalformedQueryString", "The query string is not UTF-8."));
        }
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if values.len() >= PARAMETERS_MAX {
                return Err(Ec2Error::new(
                    "MalformedQueryString",
                    format!("The request has more than {PARAMETERS_MAX} parameters."),
                ));
            }
            if values.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Ec2Error::new(
                    "MalformedQueryString",
                    format!("The parameter {} is given twice.", short(&name)),
                ));
            }
        }
        Ok(Self { path: String::new(), values })
    }

    /// The values that nobody has read yet.
    pub(super) fn all_values(&self) -> Vec<String> {
        self.values.values().cloned().collect()
    }

    /// A text, if it is given.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// A text that must be given.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Ec2Error> {
        match self.text(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Ec2Error::missing_parameter(&self.full(name))),
        }
    }

    /// A number or the like, if it is given.
    pub(super) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Ec2Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.invalid(name, &text)),
        }
    }

    /// An id; `code` is EC2's for one that is malformed.
    pub(super) fn id<T: FromStr>(&mut self, name: &str, code: &'static str) -> Result<T, Ec2Error> {
        parse_id(&self.required(name)?, code)
    }

    /// `Name.1`, `Name.2`, … in the order of their numbers.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let prefix = format!("{name}.");
        let mut found: BTreeMap<u32, String> = BTreeMap::new();
        self.values.retain(|key, value| match key.strip_prefix(&prefix).and_then(index) {
            Some(n) => found.insert(n, std::mem::take(value)).is_some(),
            None => true,
        });
        found.into_values().collect()
    }

    /// A list of numbers, prefixes and the like.
    pub(super) fn values<T: FromStr>(&mut self, name: &str) -> Result<Vec<T>, Ec2Error> {
        let list = self.list(name);
        list.iter().map(|text| text.parse().map_err(|_| self.invalid(name, text))).collect()
    }

    /// A list of ids.
    pub(super) fn ids<T: FromStr>(
        &mut self,
        name: &str,
        code: &'static str,
    ) -> Result<Vec<T>, Ec2Error> {
        self.list(name).iter().map(|text| parse_id(text, code)).collect()
    }

    /// The part below `Name.`.
    pub(super) fn part(&mut self, name: &str) -> Option<Self> {
        let prefix = format!("{name}.");
        let mut part = Self { path: self.full(&prefix), values: BTreeMap::new() };
        self.values.retain(|key, value| match key.strip_prefix(&prefix) {
            Some(rest) => {
                part.values.insert(rest.to_owned(), std::mem::take(value));
                false
            }
            None => true,
        });
        (!part.values.is_empty()).then_some(part)
    }

    /// The parts below `Name.1.`, `Name.2.`, … in the order of their numbers.
    pub(super) fn parts(&mut self, name: &str) -> Result<Vec<Self>, Ec2Error> {
        let Some(mut all) = self.part(name) else { return Ok(Vec::new()) };
        let mut numbers: Vec<u32> =
            all.values.keys().filter_map(|key| index(key.split('.').next()?)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let parts = numbers.iter().filter_map(|n| all.part(&n.to_string())).collect();
        all.finish()?;
        Ok(parts)
    }

    /// `Tag.N.Key` and `Tag.N.Value`.
    pub(super) fn tags(&mut self) -> Result<BTreeMap<String, String>, Ec2Error> {
        let mut tags = BTreeMap::new();
        for mut part in self.parts("Tag")? {
            let key = part.required("Key")?;
            let value = part.text("Value").unwrap_or_default();
            part.finish()?;
            if tags.insert(key.clone(), value).is_some() {
                return Err(Ec2Error::invalid_value(format!(
                    "Duplicate tag key '{}' specified.",
                    short(&key)
                )));
            }
        }
        Ok(tags)
    }

    /// `Filter.N.Name` and `Filter.N.Value.M`.
    pub(super) fn filters(&mut self) -> Result<Vec<Filter>, Ec2Error> {
        let mut filters = Vec::new();
        for mut part in self.parts("Filter")? {
            let name = part.required("Name")?;
            let values = part.list("Value");
            if values.is_empty() {
                return Err(Ec2Error::missing_parameter(&part.full("Value")));
            }
            part.finish()?;
            filters.push(Filter { name, values });
        }
        Ok(filters)
    }

    /// A parameter that nobody has read.
    pub(super) fn left(&self) -> Option<&str> {
        self.values.keys().next().map(String::as_str)
    }

    /// Refuses what nobody has read.
    pub(super) fn finish(&self) -> Result<(), Ec2Error> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) => Err(Ec2Error::new(
                code::UNKNOWN_PARAMETER,
                format!("The parameter {} is not recognized", short(&self.full(name))),
            )),
        }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn invalid(&self, name: &str, text: &str) -> Ec2Error {
        Ec2Error::invalid_value(format!(
            "Value ({}) for parameter {} is invalid.",
            short(text),
            self.full(name)
        ))
    }
}

fn parse_id<T: FromStr>(text: &str, code: &'static str) -> Result<T, Ec2Error> {
    text.parse().map_err(|_| Ec2Error::new(code, format!("Invalid id: \"{}\"", short(text))))
}

/// List numbers start at 1.
fn index(text: &str) -> Option<u32> {
    // One spelling each: no sign, and no zero in front.
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| digits)
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn form(body: &str) -> Form {
        Form::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn lists_are_ordered_by_number_not_by_text() {
        let body: Vec<String> = (1..=11).rev().map(|n| format!("Id.{n}=v{n}")).collect();
        let mut f = form(&body.join("&"));
        let list = f.list("Id");
        assert_eq!(list[0], "v1");
        assert_eq!(list[10], "v11");
        f.finish().unwrap();
    }

    #[test]
    fn what_nobody_reads_is_refused_with_its_full_name() {
        for (body, name) in [
            ("Typo=1", "Typo"),
            ("Id.0=x", "Id.0"),
            ("Id.x=x", "Id.x"),
            ("Filter.1.Name=status&Filter.1.Value.1=x&Filter.1.Extra=y", "Filter.1.Extra"),
            ("Filter.x.Name=status", "Filter.x.Name"),
        ] {
            let mut f = form(body);
            f.list("Id");
            let error = f.filters().and_then(|_| f.finish()).unwrap_err();
            assert_eq!(error.code, code::UNKNOWN_PARAMETER, "{body}");
            assert!(error.message.contains(name), "{body}: {error}");
        }
    }

    #[test]
    fn bad_values_name_the_parameter() {
        let error = form("Count=-1").value::<u32>("Count").unwrap_err();
        assert_eq!(error.code, code::INVALID_PARAMETER_VALUE);
        assert!(error.message.contains("(-1) for parameter Count"), "{error}");
        assert!(Form::parse(b"a=1&a=2").is_err());
        assert!(Form::parse(b"a=\xff").is_err());
    }

    #[test]
    fn tags_need_keys_and_keep_odd_values() {
        let mut f = form("Tag.1.Key=a%26b&Tag.1.Value=%3C%C3%A9+&Tag.2.Key=c");
        let tags = f.tags().unwrap();
        assert_eq!(tags["a&b"], "<é ");
        assert_eq!(tags["c"], "");
        assert!(form("Tag.1.Value=x").tags().is_err());
        assert!(form("Tag.1.Key=x&Tag.2.Key=x").tags().is_err());
    }
}
