//! Tables and chains.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::NetfilterProtoFamily;

use super::attr::{Attrs, be32, nested, text};

/// Packets that a table sees.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Bridged frames.
    Bridge,
    /// Another value.
    Other(u8),
}

impl Family {
    pub(super) fn number(self) -> u8 {
        let family = match self {
            Self::Inet => NetfilterProtoFamily::Inet,
            Self::Ipv4 => NetfilterProtoFamily::IPv4,
            Self::Ipv6 => NetfilterProtoFamily::IPv6,
            Self::Bridge => NetfilterProtoFamily::Bridge,
            Self::Other(n) => NetfilterProtoFamily::Other(n),
        };
        family.into()
    }

    pub(super) fn from_number(n: u8) -> Self {
        match NetfilterProtoFamily::from(n) {
            NetfilterProtoFamily::Inet => Self::Inet,
            NetfilterProtoFamily::IPv4 => Self::Ipv4,
            NetfilterProtoFamily::IPv6 => Self::Ipv6,
            NetfilterProtoFamily::Bridge => Self::Bridge,
            _ => Self::Other(n),
        }
    }
}

/// A table by family and name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Table {
    /// Packets it sees.
    pub family: Family,
    /// Name.
    pub name: String,
}

impl Table {
    /// A table for IPv4 packets.
    pub fn ipv4(name: &str) -> Self {
        Self { family: Family::Ipv4, name: name.to_owned() }
    }
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of a connection and may translate it.
    Nat,
    /// Sees locally made packets and routes them again if it changes them.
    Route,
}

impl ChainKind {
    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// Where in the stack a base chain sits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
    /// Another value.
    Other(u32),
}

impl Hook {
    fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
            Self::Other(n) => n,
        }
    }

    fn from_number(n: u32) -> Self {
        match n {
            0 => Self::Prerouting,
            1 => Self::Input,
            2 => Self::Forward,
            3 => Self::Output,
            4 => Self::Postrouting,
            n => Self::Other(n),
        }
    }
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BaseChain {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it sits.
    pub hook: Hook,
    /// Order within the hook; lower is first.
    pub priority: i32,
    /// True if a packet that no rule decides on is dropped.
    pub policy_drop: bool,
}

/// A chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// `None` for a chain that only other chains lead to.
    pub base: Option<BaseChain>,
}

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUM: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

impl Chain {
    /// A chain that other chains jump to.
    pub fn regular(name: &str) -> Self {
        Self { name: name.to_owned(), base: None }
    }

    /// A base chain that accepts what it does not decide on.
    pub fn base(name: &str, kind: ChainKind, hook: Hook, priority: i32) -> Self {
        let base = BaseChain { kind, hook, priority, policy_drop: false };
        Self { name: name.to_owned(), base: Some(base) }
    }

    pub(super) fn encode(&self, table: &str) -> Vec<DefaultNla> {
        let mut all = vec![text(CHAIN_TABLE, table), text(CHAIN_NAME, &self.name)];
        if let Some(base) = &self.base {
            // The kernel reads the priority as a signed number.
            let priority = u32::from_ne_bytes(base.priority.to_ne_bytes());
            let hook = [be32(HOOK_NUM, base.hook.number()), be32(HOOK_PRIORITY, priority)];
            let policy = if base.policy_drop { NF_DROP } else { NF_ACCEPT };
            all.push(nested(CHAIN_HOOK, &hook));
            all.push(be32(CHAIN_POLICY, policy));
            all.push(text(CHAIN_TYPE, base.kind.name()));
        }
        all
    }

    pub(super) fn name_only(table: &str, name: &str) -> Vec<DefaultNla> {
        vec![text(CHAIN_TABLE, table), text(CHAIN_NAME, name)]
    }

    /// Table name and chain.
    pub(super) fn decode(attrs: &Attrs<'_>) -> Option<(String, Self)> {
        let base = attrs.nested(CHAIN_HOOK).and_then(|hook| {
            let priority = hook.be32(HOOK_PRIORITY)?;
            Some(BaseChain {
                kind: match attrs.text(CHAIN_TYPE)?.as_str() {
                    "nat" => ChainKind::Nat,
                    "route" => ChainKind::Route,
                    _ => ChainKind::Filter,
                },
                hook: Hook::from_number(hook.be32(HOOK_NUM)?),
                priority: i32::from_ne_bytes(priority.to_ne_bytes()),
                policy_drop: attrs.be32(CHAIN_POLICY) == Some(NF_DROP),
            })
        });
        Some((attrs.text(CHAIN_TABLE)?, Self { name: attrs.text(CHAIN_NAME)?, base }))
    }
}
