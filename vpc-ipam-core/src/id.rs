//! Identifiers, each a type of its own so that they cannot be mixed up. Those with a text share it
//! between their clones.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lookup::hash_of;

/// Longest identifier accepted. EC2 ids have 21 characters; container runtimes use 64.
const ID_LEN_MAX: usize = 256;

/// Why a text is not the identifier it should be.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("{what} is empty")]
    Empty {
        /// Which identifier was expected.
        what: &'static str,
    },
    /// The text has a form that this identifier never has.
    #[error("{what} {text:?} is malformed, expected {expected}")]
    Malformed {
        /// Which identifier was expected.
        what: &'static str,
        /// The offending text, cut to a sane length.
        text: String,
        /// What it should look like.
        expected: &'static str,
    },
}

fn malformed(what: &'static str, text: &str, expected: &'static str) -> IdError {
    IdError::Malformed { what, text: text.chars().take(64).collect(), expected }
}

macro_rules! ec2_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id; surrounding white space is not accepted.
            ///
            /// # Errors
            ///
            /// If the text does not have the form that EC2 gives this id.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty { what: $what });
                }
                let body = text.strip_prefix($prefix).unwrap_or("");
                let ok = !body.is_empty()
                    && text.len() <= ID_LEN_MAX
                    && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                if ok { Ok(Self(text.into())) } else { Err(malformed($what, text, concat!($prefix, "…"))) }
            }

            /// The id as EC2 spells it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(s: String) -> Result<Self, IdError> {
                Self::new(&s)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }
    };
}

ec2_id!(
    /// An elastic network interface, `eni-…`.
    EniId, "ENI id", "eni-"
);
ec2_id!(
    /// An EC2 instance, `i-…`.
    InstanceId, "instance id", "i-"
);
ec2_id!(
    /// A security group, `sg-…`.
    SecurityGroupId, "security group id", "sg-"
);
ec2_id!(
    /// A VPC subnet, `subnet-…`.
    SubnetId, "subnet id", "subnet-"
);
ec2_id!(
    /// A VPC, `vpc-…`.
    VpcId, "VPC id", "vpc-"
);

impl EniId {
    /// True for clones of one id, which is quicker to find out than whether ids are equal.
    pub(crate) fn shares_text_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Number of an operation that the pool has asked for and not yet heard the result of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OpId(pub u64);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op-{}", self.0)
    }
}

/// A 48-bit link-layer address. EC2 and the kernel both name an ENI by it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        const EXPECTED: &str = "six hexadecimal pairs separated by colons";
        let mut bytes = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2);
            *byte = part
                .and_then(|p| u8::from_str_radix(p, 16).ok())
                .ok_or_else(|| malformed("MAC address", s, EXPECTED))?;
        }
        if parts.next().is_some() {
            return Err(malformed("MAC address", s, EXPECTED));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = IdError;
    fn try_from(s: String) -> Result<Self, IdError> {
        s.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

/// What an allocation is keyed by: one interface of one sandbox on one network. Ordered by these, in
/// reverse: network, sandbox, interface.
#[derive(Clone, Eq, PartialEq)]
pub struct SandboxKey {
    hash: u32,
    network_len: u16,
    container_id_len: u16,
    /// All three parts without separators.
    text: Arc<str>,
}

impl SandboxKey {
    /// Builds a key; all three parts identify the allocation, so none may be empty.
    ///
    /// # Errors
    ///
    /// If a part is empty or longer than any runtime makes it.
    pub fn new(network: &str, container_id: &str, if_name: &str) -> Result<Self, IdError> {
        const { assert!(ID_LEN_MAX <= u16::MAX as usize) };
        for (what, text) in
            [("network name", network), ("container id", container_id), ("interface name", if_name)]
        {
            if text.is_empty() {
                return Err(IdError::Empty { what });
            }
            if text.len() > ID_LEN_MAX {
                return Err(malformed(what, text, "at most 256 bytes"));
            }
        }
        let text: Arc<str> = [network, container_id, if_name].concat().into();
        Ok(Self {
            hash: hash_of(text.as_bytes()),
            network_len: network.len() as u16,
            container_id_len: container_id.len() as u16,
            text,
        })
    }

    /// CNI network name, `aws-cni` in the usual conflist.
    pub fn network(&self) -> &str {
        self.parts().0
    }

    /// Sandbox id as the container runtime names it.
    pub fn container_id(&self) -> &str {
        self.parts().1
    }

    /// Interface name inside the pod.
    pub fn if_name(&self) -> &str {
        self.parts().2
    }

    fn parts(&self) -> (&str, &str, &str) {
        let (network, rest) = self.text.split_at(self.network_len.into());
        let (container_id, if_name) = rest.split_at(self.container_id_len.into());
        (network, container_id, if_name)
    }
}

impl Ord for SandboxKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for SandboxKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for SandboxKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
    }
}

impl fmt::Debug for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, container_id, if_name) = self.parts();
        f.debug_struct("SandboxKey")
            .field("network", &network)
            .field("container_id", &container_id)
            .field("if_name", &if_name)
            .finish()
    }
}

impl fmt::Display for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network(), self.container_id(), self.if_name())
    }
}

/// A pod by namespace and name. Both may be empty when the runtime does not say.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PodRef {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes pod name.
    pub name: String,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed_not_trusted() {
        assert!(EniId::new("eni-0a1b2c3d4e5f60718").is_ok());
        for bad in ["", "eni-", "subnet-1", "eni-1 ", "eni-1\n", "eni-é"] {
            assert!(EniId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mac_round_trips_and_rejects_other_forms() {
        let mac: MacAddr = "02:AB:00:01:02:ff".parse().expect("valid");
        assert_eq!(mac.to_string(), "02:ab:00:01:02:ff");
        for bad in ["", "02:ab", "02:ab:00:01:02:ff:00", "2:ab:0:1:2:f", "02-ab-00-01-02-ff"] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn empty_key_parts_are_rejected() {
        assert_eq!(SandboxKey::new("", "c", "eth0"), Err(IdError::Empty { what: "network name" }));
        assert!(SandboxKey::new("aws-cni", "c", "eth0").is_ok());
    }

    #[test]
    fn keys_differ_where_their_parts_do_and_sort_by_them() {
        let key = |network, id, name| SandboxKey::new(network, id, name).expect("valid");
        let keys =
            [key("a", "bc", "d"), key("a", "c", "a"), key("ab", "a", "d"), key("ab", "c", "d")];
        assert!(keys.is_sorted());
        assert_ne!(keys[0], key("ab", "c", "d"), "the same text, cut elsewhere");
        assert_ne!(keys[0], key("a", "b", "cd"));
        assert_eq!(keys[0], key("a", "bc", "d"));
        let all = keys[0].network().to_owned() + keys[0].container_id() + keys[0].if_name();
        assert_eq!(all, "abcd");
    }

    #[test]
    fn parts_may_be_of_any_alphabet() {
        let key = SandboxKey::new("ñ", "日本", "ü").expect("valid");
        assert_eq!(key.to_string(), "ñ/日本/ü");
    }
}
