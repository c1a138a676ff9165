//! Reads metadata texts. Pure, bounded, and without a panic whatever the text is.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::Deserialize;
use thiserror::Error;
use vpc_ipam_core::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId, VpcId},
};

/// Longest text read at all. The largest real one, the addresses of a full ENI, has 800 bytes.
pub const TEXT_LEN_MAX: usize = 64 * 1024;
/// Longest single word. EC2 ids have 21 characters.
const WORD_LEN_MAX: usize = 128;
/// Most entries in a list. 32 network cards with 24 ENIs each would be 768.
const LIST_LEN_MAX: usize = 1024;

/// Why a metadata text makes no sense.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ParseError {
    /// A value that is not what this attribute holds.
    #[error("{text:?} is not {expected}")]
    Malformed {
        /// The offending text, cut to a sane length.
        text: String,
        /// What was expected.
        expected: &'static str,
    },
    /// More than any instance has.
    #[error("text of {len} bytes or entries exceeds the limit of {max}")]
    TooLong {
        /// How much there was.
        len: usize,
        /// How much is accepted.
        max: usize,
    },
}

fn malformed(text: &str, expected: &'static str) -> ParseError {
    ParseError::Malformed { text: text.chars().take(WORD_LEN_MAX).collect(), expected }
}

fn bounded(text: &str) -> Result<&str, ParseError> {
    if text.len() > TEXT_LEN_MAX {
        return Err(ParseError::TooLong { len: text.len(), max: TEXT_LEN_MAX });
    }
    Ok(text)
}

/// One word of visible ASCII, trimmed.
///
/// # Errors
///
/// If the text is empty, has several words, or characters that no metadata value has.
pub fn word(text: &str) -> Result<&str, ParseError> {
    let word = bounded(text)?.trim();
    let ok = !word.is_empty()
        && word.len() <= WORD_LEN_MAX
        && word.bytes().all(|b| b.is_ascii_graphic());
    if ok { Ok(word) } else { Err(malformed(word, "one word")) }
}

/// One word of a given type.
///
/// # Errors
///
/// If the text is not one.
pub fn value<T: FromStr>(text: &str, expected: &'static str) -> Result<T, ParseError> {
    let word = word(text)?;
    word.parse().map_err(|_| malformed(word, expected))
}

/// Words separated by white space; directory entries may end in `/`, which is dropped.
///
/// # Errors
///
/// If an entry is not of the given type, or there are too many.
pub fn list<T: FromStr>(text: &str, expected: &'static str) -> Result<Vec<T>, ParseError> {
    let words: Vec<&str> = bounded(text)?.split_whitespace().take(LIST_LEN_MAX + 1).collect();
    if words.len() > LIST_LEN_MAX {
        return Err(ParseError::TooLong { len: words.len(), max: LIST_LEN_MAX });
    }
    words.into_iter().map(|text| value(text.strip_suffix('/').unwrap_or(text), expected)).collect()
}

/// IPv4 CIDR blocks; host bits are masked.
///
/// # Errors
///
/// If an entry is not one.
pub fn ipv4_blocks(text: &str) -> Result<Vec<Prefix>, ParseError> {
    let blocks: Vec<Prefix> = list(text, "an IPv4 CIDR block")?;
    match blocks.iter().find(|block| !block.is_v4()) {
        Some(block) => Err(malformed(&block.to_string(), "an IPv4 CIDR block")),
        None => Ok(blocks),
    }
}

/// Exactly one IPv4 CIDR block.
///
/// # Errors
///
/// If the text is not one.
pub fn ipv4_block(text: &str) -> Result<Prefix, ParseError> {
    match ipv4_blocks(text)?.as_slice() {
        [block] => Ok(*block),
        _ => Err(malformed(text, "one IPv4 CIDR block")),
    }
}

/// Addresses of an ENI, the primary one first.
///
/// # Errors
///
/// If an entry is not an address.
pub fn ipv4_addresses(text: &str) -> Result<Vec<Ipv4Addr>, ParseError> {
    list(text, "an IPv4 address")
}

/// The part of the instance identity document that is used.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// For example `us-west-2`.
    pub region: String,
}

/// The instance identity document.
///
/// # Errors
///
/// If it is not JSON with a usable region.
pub fn identity(text: &str) -> Result<Identity, ParseError> {
    let document: Identity = serde_json::from_str(bounded(text)?)
        .map_err(|_| malformed(text, "an instance identity document"))?;
    word(&document.region)?;
    Ok(document)
}

/// Reads `text` as each kind of value in turn, as a fuzzer wants it.
///
/// # Panics
///
/// If a reader breaks its own promise: an accepted value that does not survive being printed and read again, or that
/// is larger than the limits say.
pub fn every(text: &str) {
    let _ = value::<u32>(text, "a number");
    let _ = value::<InstanceId>(text, "an instance id");
    let _ = value::<EniId>(text, "an ENI id");
    let _ = value::<SubnetId>(text, "a subnet id");
    let _ = value::<VpcId>(text, "a VPC id");
    let _ = list::<SecurityGroupId>(text, "a security group id");
    let _ = list::<Ipv6Addr>(text, "an IPv6 address");
    let _ = ipv4_block(text);
    let _ = identity(text);
    if let Ok(word) = self::word(text) {
        assert!(!word.is_empty() && word.len() <= WORD_LEN_MAX);
    }
    again(list::<MacAddr>(text, "a MAC address"), |text| list(text, "a MAC address"));
    again(list::<Prefix>(text, "a CIDR block"), |text| list(text, "a CIDR block"));
    again(ipv4_addresses(text), ipv4_addresses);
    again(ipv4_blocks(text), ipv4_blocks);
}

fn again<T: ToString + PartialEq>(
    values: Result<Vec<T>, ParseError>,
    read: impl FnOnce(&str) -> Result<Vec<T>, ParseError>,
) {
    let Ok(values) = values else { return };
    assert!(values.len() <= LIST_LEN_MAX);
    let text: Vec<String> = values.iter().map(T::to_string).collect();
    assert!(read(&text.join("\n")).is_ok_and(|again| again == values));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn macs_come_with_and_without_a_slash() {
        let macs: Vec<MacAddr> =
            list("02:ab:00:00:00:01/\n02:ab:00:00:00:02/ 02:ab:00:00:00:03", "a MAC").unwrap();
        assert_eq!(macs.len(), 3);
        assert!(list::<MacAddr>("02:ab:00:00:00:01//", "a MAC").is_err());
        assert_eq!(list::<MacAddr>(" \n", "a MAC").unwrap(), []);
    }

    #[test]
    fn trailing_newlines_do_no_harm() {
        assert_eq!(word("us-west-2b\n").unwrap(), "us-west-2b");
        assert_eq!(value::<u32>(" 3\n", "a number").unwrap(), 3);
        assert_eq!(ipv4_addresses("10.0.0.5\n10.0.0.6\n").unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_an_answer_is_an_error() {
        for bad in ["", " ", "two words", "<html>\u{1}", "é"] {
            assert!(word(bad).is_err(), "{bad:?}");
        }
        for bad in ["10.0.0.0", "10.0.0.0/33", "fd00::/64", "10.0.0.0/16 10.1.0.0/16", ""] {
            assert!(ipv4_block(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "{}", "[]", r#"{"region":""}"#, r#"{"region":7}"#, r#"{"region":"a b"}"#] {
            assert!(identity(bad).is_err(), "{bad:?}");
        }
        assert_eq!(identity(r#"{"region":"eu-west-1","x":1}"#).unwrap().region, "eu-west-1");
    }

    #[test]
    fn texts_that_a_fuzzer_found_worth_keeping_do_no_harm() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/imds");
        let mut read = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            if let Ok(text) = std::fs::read_to_string(entry.unwrap().path()) {
                every(&text);
                read += 1;
            }
        }
        assert!(read >= 20, "{corpus} has {read} texts");
    }

    #[test]
    fn too_much_is_an_error_not_an_allocation() {
        let many = "10.0.0.1 ".repeat(LIST_LEN_MAX + 1);
        assert!(matches!(ipv4_addresses(&many), Err(ParseError::TooLong { .. })));
        let long = "1".repeat(TEXT_LEN_MAX + 1);
        assert!(matches!(word(&long), Err(ParseError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,400}") {
            every(&text);
        }

        #[test]
        fn what_was_printed_is_read_back(addrs in prop::collection::vec(any::<u32>(), 0..50)) {
            let addrs: Vec<_> = addrs.into_iter().map(Ipv4Addr::from_bits).collect();
            let text = addrs.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join("\n");
            prop_assert_eq!(ipv4_addresses(&text).unwrap(), addrs);
        }
    }
}
