//! Addresses and prefixes.

use std::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a prefix.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} is not a CIDR prefix: {why}")]
pub struct PrefixError {
    /// The offending text.
    pub text: String,
    /// The parser's complaint.
    pub why: String,
}

/// A CIDR block without host bits: `10.0.0.5/28` becomes `10.0.0.0/28`.
///
/// Everything that an ENI holds for pods is one: a secondary address is a `/32`, a delegated prefix
/// a `/28` (IPv6: `/80`). Ordered by family, base address and length.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNetwork);

impl Ord for Prefix {
    // Maps by prefix are searched for every pod, and integers compare several times faster.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (IpNetwork::V4(a), IpNetwork::V4(b)) => {
                (a.ip().to_bits(), a.prefix()).cmp(&(b.ip().to_bits(), b.prefix()))
            }
            (IpNetwork::V6(a), IpNetwork::V6(b)) => {
                (a.ip().to_bits(), a.prefix()).cmp(&(b.ip().to_bits(), b.prefix()))
            }
            (IpNetwork::V4(_), IpNetwork::V6(_)) => Ordering::Less,
            (IpNetwork::V6(_), IpNetwork::V4(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Length of an IPv4 prefix that EC2 delegates to an ENI.
pub const DELEGATED_V4_LEN: u8 = 28;
/// Length of an IPv6 prefix that EC2 delegates to an ENI.
pub const DELEGATED_V6_LEN: u8 = 80;

impl Prefix {
    /// The block of `len` bits that contains `ip`.
    ///
    /// # Errors
    ///
    /// If `len` is longer than the address family allows.
    pub fn new(ip: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let net = IpNetwork::new(ip, len)
            .map_err(|e| PrefixError { text: format!("{ip}/{len}"), why: e.to_string() })?;
        Ok(Self::from(net))
    }

    /// The one-address block of `ip`.
    pub fn host(ip: IpAddr) -> Self {
        Self(IpNetwork::from(ip))
    }

    /// First address.
    pub fn base(&self) -> IpAddr {
        self.0.ip()
    }

    /// Number of leading network bits.
    pub fn len(&self) -> u8 {
        self.0.prefix()
    }

    /// True for `/0` only; there is no empty prefix.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// True if the block is one address.
    pub fn is_host(&self) -> bool {
        self.len() == if self.is_v4() { 32 } else { 128 }
    }

    /// True for IPv4.
    pub fn is_v4(&self) -> bool {
        self.0.is_ipv4()
    }

    /// Number of addresses; saturates at `u128::MAX` for `::/0`.
    pub fn size(&self) -> u128 {
        let host_bits = u32::from(if self.is_v4() { 32 } else { 128 } - self.len());
        1u128.checked_shl(host_bits).unwrap_or(u128::MAX)
    }

    /// True if `ip` lies in this block.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(ip)
    }

    /// True if every address of `other` lies in this block.
    pub fn covers(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.contains(other.base())
    }

    /// The `n`-th address, counted from 0; `None` past the end.
    pub fn nth(&self, n: u128) -> Option<IpAddr> {
        if n >= self.size() {
            return None;
        }
        match self.base() {
            IpAddr::V4(base) => {
                let n = u32::try_from(n).ok()?;
                Some(Ipv4Addr::from_bits(base.to_bits().checked_add(n)?).into())
            }
            IpAddr::V6(base) => Some(Ipv6Addr::from_bits(base.to_bits().checked_add(n)?).into()),
        }
    }

    /// Position of `ip` in this block, counted from 0; `None` if it lies outside.
    pub fn index_of(&self, ip: IpAddr) -> Option<u128> {
        if !self.contains(ip) {
            return None;
        }
        match (self.base(), ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => Some(u128::from(ip.to_bits() - base.to_bits())),
            (IpAddr::V6(base), IpAddr::V6(ip)) => Some(ip.to_bits() - base.to_bits()),
            _ => None,
        }
    }
}

impl From<IpNetwork> for Prefix {
    fn from(net: IpNetwork) -> Self {
        // The network address of a valid block with its own length cannot be refused.
        Self(IpNetwork::new(net.network(), net.prefix()).unwrap_or(net))
    }
}

impl From<Prefix> for IpNetwork {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Needs an explicit length: a bare address is ambiguous here.
    fn from_str(s: &str) -> Result<Self, PrefixError> {
        let err = |why: String| PrefixError { text: s.chars().take(64).collect(), why };
        if !s.contains('/') {
            return Err(err("no length; write it as ADDRESS/LENGTH".to_owned()));
        }
        s.parse::<IpNetwork>().map(Self::from).map_err(|e| err(e.to_string()))
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(s: String) -> Result<Self, PrefixError> {
        s.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_masked() {
        let p: Prefix = "10.0.0.5/28".parse().expect("valid");
        assert_eq!(p.to_string(), "10.0.0.0/28");
        assert_eq!(p, "10.0.0.0/28".parse().expect("valid"));
    }

    #[test]
    fn nth_and_index_are_inverse_and_bounded() {
        let p: Prefix = "10.0.0.16/28".parse().expect("valid");
        assert_eq!(p.size(), 16);
        for n in 0..16 {
            let ip = p.nth(n).expect("inside");
            assert_eq!(p.index_of(ip), Some(n));
        }
        assert_eq!(p.nth(16), None);
        assert_eq!(p.index_of("10.0.0.32".parse().expect("valid")), None);
    }

    #[test]
    fn a_slash_64_does_not_overflow() {
        let p: Prefix = "2001:db8::/64".parse().expect("valid");
        assert_eq!(p.size(), 1 << 64);
        assert_eq!("::/0".parse::<Prefix>().expect("valid").size(), u128::MAX);
    }

    #[test]
    fn order_is_by_family_then_base_then_length() {
        let texts = [
            "9.0.0.0/8",
            "10.0.0.0/8",
            "10.0.0.0/28",
            "10.0.0.16/28",
            "::/0",
            "::/80",
            "2001:db8::/80",
        ];
        let sorted: Vec<Prefix> = texts.iter().map(|t| t.parse().expect("valid")).collect();
        let mut mixed = [3, 6, 0, 5, 2, 4, 1].map(|n: usize| sorted[n]);
        mixed.sort();
        assert_eq!(mixed.as_slice(), sorted);
        for (a, b) in sorted.iter().flat_map(|a| sorted.iter().map(move |b| (a, b))) {
            assert_eq!(a.cmp(b), IpNetwork::from(*a).cmp(&IpNetwork::from(*b)), "{a} and {b}");
        }
    }

    #[test]
    fn a_bare_address_is_not_a_prefix() {
        assert!("10.0.0.0".parse::<Prefix>().is_err());
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
    }
}
