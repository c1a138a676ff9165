//! Names of host veths, shared with the reference, Calico and other tools that find a pod's interface
//! by name.

use std::{fmt::Write as _, net::IpAddr};

use sha1::{Digest, Sha1};
use thiserror::Error;
use vpc_ipam_core::id::PodRef;

/// Hexadecimal digits of the hash in a name: with the longest prefix they fill the kernel's 15
/// characters.
const HASH_DIGITS: usize = 11;
/// See [`HASH_DIGITS`].
const PREFIX_LEN_MAX: usize = 4;
/// Beginnings that would match the node's own interfaces.
const FORBIDDEN: [&str; 3] = ["eth", "vlan", "lo"];

/// Why a text cannot begin the names of host veths.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("veth prefix {text:?} {why}; the usual one is \"eni\"")]
pub struct VethPrefixError {
    /// The offending text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// First characters of host veth names, `eni` by default.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct VethPrefix(String);

impl VethPrefix {
    /// Parses a prefix.
    ///
    /// # Errors
    ///
    /// If it is empty (it would match every interface), too long, not plain, or one that the node's own
    /// interfaces begin with.
    pub fn new(text: &str) -> Result<Self, VethPrefixError> {
        let why = if text.is_empty() {
            "is empty and would match every interface"
        } else if text.len() > PREFIX_LEN_MAX {
            "is longer than 4 characters"
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            "has characters other than letters, digits, - and _"
        } else if FORBIDDEN.contains(&text) {
            "is how the node's own interfaces begin"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(VethPrefixError { text: text.chars().take(64).collect(), why })
    }

    /// The prefix itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the host end of a pod's interface number `index`, counted from 0.
    ///
    /// The sandbox id is not part of it: a pod that comes again under its name gets its name again.
    pub fn host_name(&self, pod: &PodRef, index: usize) -> String {
        let digest = digest(pod, index);
        let mut name = self.0.clone();
        for byte in digest {
            let _ = write!(name, "{byte:02x}");
        }
        name.truncate(self.0.len() + HASH_DIGITS);
        name
    }

    /// The prefix of a host veth's name, whichever it was when the pod was wired; `None` for other
    /// names.
    pub fn of_host_name(name: &str) -> Option<Self> {
        let text = name.get(..name.len().checked_sub(HASH_DIGITS)?)?;
        Self::new(text).ok().filter(|prefix| prefix.is_host_name(name))
    }

    /// True if `name` is a host veth's of this prefix: the prefix and eleven hexadecimal digits.
    pub fn is_host_name(&self, name: &str) -> bool {
        name.strip_prefix(self.as_str()).is_some_and(|hash| {
            hash.len() == HASH_DIGITS
                && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }
}

fn digest(pod: &PodRef, index: usize) -> [u8; 20] {
    let mut text = format!("{}.{}", pod.namespace, pod.name);
    if index > 0 {
        let _ = write!(text, ".{index}");
    }
    Sha1::digest(text.as_bytes()).into()
}

/// Interface index of the host end of a pod with an address.
///
/// Derived, so that everything about a pair can be asked for in one send when it is made, and so that a
/// late DEL finds exactly the pair of this pod with this address or none: another pod that has the
/// address by then, or the same pod with another address, has another index. All 29 bits are of a hash
/// over both: an address is used again and again, by ever other pods, so none of the bits may be spent
/// on it alone. Bit 30 keeps away from the numbers that the kernel hands out, which count up from 1.
pub(crate) fn link_index(pod: &PodRef, ip: IpAddr) -> u32 {
    const DERIVED: u32 = 1 << 30;
    const HASH: u32 = (1 << 29) - 1;
    let text = format!("{}.{}.{ip}", pod.namespace, pod.name);
    let [a, b, c, d, ..]: [u8; 20] = Sha1::digest(text.as_bytes()).into();
    DERIVED | u32::from_be_bytes([a, b, c, d]) & HASH
}

/// Index of the other end of the pair whose host end has `host`. Tools take a link whose own index is
/// its peer's for one without a peer, so the two differ.
pub(crate) fn peer_index(host: u32) -> u32 {
    host | 1 << 29
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str) -> PodRef {
        PodRef { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn names_are_those_of_the_reference() {
        let prefix = VethPrefix::new("eni").unwrap();
        for (namespace, name, index, hash) in [
            ("default", "sample-pod", 0, "cc21c2d7785"),
            ("default", "sample-pod", 1, "a0b7655f3c9"),
            ("kube-system", "coredns-57ff979f67-qqbdh", 0, "b5faff8a083"),
            ("kube-system", "coredns-57ff979f67-8ns9b", 0, "9571956a6cc"),
            ("", "", 0, "3a52ce78095"),
            ("", "", 1, "ce799470a46"),
        ] {
            let got = prefix.host_name(&pod(namespace, name), index);
            assert_eq!(got, format!("eni{hash}"), "{namespace}/{name} {index}");
            assert!(prefix.is_host_name(&got));
            assert_eq!(VethPrefix::of_host_name(&got).as_ref(), Some(&prefix));
        }
        assert_eq!(VethPrefix::new("veth").unwrap().host_name(&pod("a", "b"), 0).len(), 15);
    }

    #[test]
    fn prefixes_that_match_other_interfaces_are_refused() {
        for good in ["eni", "cali", "a", "ens"] {
            assert!(VethPrefix::new(good).is_ok(), "{good}");
        }
        for bad in ["", "eth", "vlan", "lo", "long1", "a/b", "a b", "a%d", "é"] {
            assert!(VethPrefix::new(bad).is_err(), "{bad:?}");
        }
        let prefix = VethPrefix::new("eni").unwrap();
        for other in ["eni", "eni1", "enicc21c2d77855", "enicc21c2d778g", "eth0", "eniCC21C2D7785"]
        {
            assert!(!prefix.is_host_name(other), "{other}");
            assert_ne!(VethPrefix::of_host_name(other).as_ref(), Some(&prefix), "{other}");
        }
    }

    #[test]
    fn an_index_belongs_to_one_pod_with_one_address() {
        let (a, b) = ("10.0.1.5".parse().unwrap(), "10.0.1.6".parse().unwrap());
        let (web, db) = (pod("shop", "web"), pod("shop", "db"));
        let all =
            [link_index(&web, a), link_index(&web, b), link_index(&db, a), link_index(&db, b)];
        let mut unique = all.to_vec();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 4);
        assert!(all.iter().all(|i| *i < 1 << 31 && *i >= 1 << 30));
        assert_eq!(link_index(&web, a), link_index(&web, a));
        assert!(all.iter().all(|i| peer_index(*i) != *i && !all.contains(&peer_index(*i))));
    }

    #[test]
    fn pods_that_use_an_address_after_each_other_have_indexes_of_their_own() {
        let ip = "10.0.1.5".parse().unwrap();
        let mut all: Vec<_> =
            (0..4000).map(|n| link_index(&pod("shop", &format!("job-{n}")), ip)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4000);
    }
}
