//! Sets and maps, their elements, and intervals of addresses in them.

use netlink_packet_core::DefaultNla;
use vpc_ipam_core::addr::Prefix;

use super::{
    attr::{Attrs, be32, be64, nested, text},
    codec::{LIST_ELEM, read_value, read_verdict, value, verdict},
    expr::Verdict,
    rule::octets,
};

const FLAG_INTERVAL: u32 = 0x4;
const FLAG_MAP: u32 = 0x8;
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_EVAL: u32 = 0x20;
const FLAG_CONCAT: u32 = 0x80;
/// `NFT_DATA_VERDICT`.
const DATA_TYPE_VERDICT: u32 = 0xffff_ff00;
/// Bits per field in the type number of a concatenation, as the `nft` program reads it.
const TYPE_BITS: u32 = 6;

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LEN: u16 = 7;
const SET_DESC: u16 = 9;
const SET_ID: u16 = 10;
const SET_TIMEOUT: u16 = 11;
const DESC_SIZE: u16 = 1;
const DESC_CONCAT: u16 = 2;
const FIELD_LEN: u16 = 1;

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_KEY_END: u16 = 10;
const ELEM_INTERVAL_END: u32 = 1;

/// Type of a key or of one field of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyType {
    /// IPv4 address, 4 bytes.
    Ipv4Addr,
    /// IPv6 address, 16 bytes.
    Ipv6Addr,
    /// Link-layer address, 6 bytes.
    EtherAddr,
    /// Layer 4 protocol, 1 byte.
    InetProto,
    /// Port, 2 bytes.
    InetService,
    /// Mark, 4 bytes in host order.
    Mark,
    /// Index of a link, 4 bytes in host order.
    IfIndex,
}

impl KeyType {
    /// Number by which the `nft` program knows the type; the kernel does not care.
    fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::IfIndex => 20,
        }
    }

    fn len(self) -> u32 {
        match self {
            Self::InetProto => 1,
            Self::InetService => 2,
            Self::Ipv4Addr | Self::Mark | Self::IfIndex => 4,
            Self::EtherAddr => 6,
            Self::Ipv6Addr => 16,
        }
    }
}

/// A set, or a map from keys to verdicts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Set {
    /// Name.
    pub name: String,
    /// Fields of the key.
    pub key: Vec<KeyType>,
    /// Elements are intervals.
    pub interval: bool,
    /// Elements have a verdict.
    pub verdicts: bool,
    /// Rules may add elements.
    pub dynamic: bool,
    /// Elements go away after this many milliseconds.
    pub timeout_ms: Option<u64>,
    /// At most so many elements.
    pub size: Option<u32>,
}

impl Set {
    /// A set of keys of these fields.
    pub fn of(name: &str, key: &[KeyType]) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_vec(),
            interval: false,
            verdicts: false,
            dynamic: false,
            timeout_ms: None,
            size: None,
        }
    }

    /// Elements are intervals.
    #[must_use]
    pub fn interval(mut self) -> Self {
        self.interval = true;
        self
    }

    /// Elements have a verdict.
    #[must_use]
    pub fn verdict_map(mut self) -> Self {
        self.verdicts = true;
        self
    }

    /// Rules may add elements, at most `size`, which go away after `timeout_ms`.
    #[must_use]
    pub fn dynamic(mut self, size: u32, timeout_ms: u64) -> Self {
        (self.dynamic, self.size, self.timeout_ms) = (true, Some(size), Some(timeout_ms));
        self
    }

    fn is_concat(&self) -> bool {
        self.key.len() > 1
    }

    /// Fields of a concatenation fill whole 4-byte slots.
    fn key_len(&self) -> u32 {
        match self.key.as_slice() {
            [one] => one.len(),
            many => many.iter().map(|t| t.len().next_multiple_of(4)).sum(),
        }
    }

    fn flags(&self) -> u32 {
        let when = |condition, flag| if condition { flag } else { 0 };
        when(self.interval, FLAG_INTERVAL)
            | when(self.verdicts, FLAG_MAP)
            | when(self.timeout_ms.is_some(), FLAG_TIMEOUT)
            | when(self.dynamic, FLAG_EVAL)
            | when(self.is_concat() && self.interval, FLAG_CONCAT)
    }

    /// `id` must be unique within the transaction.
    pub(super) fn encode(&self, table: &str, id: u32) -> Vec<DefaultNla> {
        let key_type = self.key.iter().fold(0, |acc, t| (acc << TYPE_BITS) | t.number());
        let mut all = vec![
            text(SET_TABLE, table),
            text(SET_NAME, &self.name),
            be32(SET_FLAGS, self.flags()),
            be32(SET_KEY_TYPE, key_type),
            be32(SET_KEY_LEN, self.key_len()),
            be32(SET_ID, id),
        ];
        if self.verdicts {
            all.push(be32(SET_DATA_TYPE, DATA_TYPE_VERDICT));
            all.push(be32(SET_DATA_LEN, 0));
        }
        all.extend(self.timeout_ms.map(|ms| be64(SET_TIMEOUT, ms)));
        let mut desc = Vec::new();
        desc.extend(self.size.map(|n| be32(DESC_SIZE, n)));
        if self.is_concat() && self.interval {
            let fields: Vec<_> =
                self.key.iter().map(|t| nested(LIST_ELEM, &[be32(FIELD_LEN, t.len())])).collect();
            desc.push(nested(DESC_CONCAT, &fields));
        }
        if !desc.is_empty() {
            all.push(nested(SET_DESC, &desc));
        }
        all
    }

    pub(super) fn name_only(table: &str, name: &str) -> Vec<DefaultNla> {
        vec![text(SET_TABLE, table), text(SET_NAME, name)]
    }

    /// Table name and set name: all that listing is used for.
    pub(super) fn decode_name(attrs: &Attrs<'_>) -> Option<(String, String)> {
        Some((attrs.text(SET_TABLE)?, attrs.text(SET_NAME)?))
    }
}

/// An element of a set or map.
///
/// In an interval set with one field an interval is two elements: its first key, and with
/// `interval_end` the first key after it. With several fields it is one element with `key_end`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Element {
    /// The key, fields padded to 4 bytes each if there are several.
    pub key: Vec<u8>,
    /// Last key of an interval over several fields.
    pub key_end: Option<Vec<u8>>,
    /// True for the first key after an interval.
    pub interval_end: bool,
    /// What a map has for the key.
    pub verdict: Option<Verdict>,
}

impl Element {
    /// An element of a set without intervals.
    pub fn key(key: Vec<u8>) -> Self {
        Self { key, key_end: None, interval_end: false, verdict: None }
    }

    /// An interval over several fields, both ends included.
    pub fn range(key: Vec<u8>, key_end: Vec<u8>) -> Self {
        Self { key, key_end: Some(key_end), interval_end: false, verdict: None }
    }

    /// The one or two elements that `prefix` is in a set of intervals of addresses.
    pub fn of_prefix(prefix: &Prefix, verdict: Option<Verdict>) -> Vec<Self> {
        let first = octets(prefix.base());
        let last = prefix.nth(prefix.size().saturating_sub(1)).map(octets);
        let mut all = vec![Self { verdict, ..Self::key(first) }];
        // An interval up to the last address has no end.
        if let Some(key) = last.and_then(|l| successor(&l)) {
            all.push(Self { interval_end: true, ..Self::key(key) });
        }
        all
    }

    fn encode(&self) -> DefaultNla {
        let mut all = Vec::new();
        if self.interval_end {
            all.push(be32(ELEM_FLAGS, ELEM_INTERVAL_END));
        }
        all.push(value(ELEM_KEY, &self.key));
        all.extend(self.key_end.as_ref().map(|end| value(ELEM_KEY_END, end)));
        all.extend(self.verdict.as_ref().map(|v| verdict(ELEM_DATA, v)));
        nested(LIST_ELEM, &all)
    }

    fn decode(attrs: &Attrs<'_>) -> Option<Self> {
        Some(Self {
            key: read_value(attrs, ELEM_KEY)?,
            key_end: read_value(attrs, ELEM_KEY_END),
            interval_end: attrs.be32(ELEM_FLAGS).unwrap_or(0) & ELEM_INTERVAL_END != 0,
            verdict: read_verdict(attrs, ELEM_DATA),
        })
    }

    pub(super) fn encode_list(table: &str, set: &str, elements: &[Self]) -> Vec<DefaultNla> {
        let mut all = vec![text(LIST_TABLE, table), text(LIST_SET, set)];
        if !elements.is_empty() {
            let list: Vec<_> = elements.iter().map(Self::encode).collect();
            all.push(nested(LIST_ELEMENTS, &list));
        }
        all
    }

    pub(super) fn decode_list(attrs: &Attrs<'_>) -> Vec<Self> {
        let list = attrs.nested(LIST_ELEMENTS).unwrap_or_default();
        list.values()
            .filter(|(kind, _)| *kind == LIST_ELEM)
            .filter_map(|(_, element)| Self::decode(&Attrs::parse(element)))
            .collect()
    }
}

/// The key after `key`, `None` after the last.
pub(super) fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        match byte.checked_add(1) {
            Some(sum) => {
                *byte = sum;
                return Some(next);
            }
            None => *byte = 0,
        }
    }
    None
}
