//! One row of the table, 32 bytes without a pointer: the table is read-only memory that a process
//! shares and, unless it asks, never reads.

use std::fmt;

use vpc_ipam_core::cloud::InstanceLimits;

use super::table::CARDS;

/// Longest name that a row holds, in bytes. The longest that EC2 has is `u7in-32tb.224xlarge`, 19.
pub const NAME_BYTES_MAX: usize = 24;

/// Virtualisation of an instance type.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hypervisor {
    /// Nitro: EC2 delegates prefixes.
    Nitro,
    /// EC2 does not say, or says something else; so it is for bare metal.
    Unknown,
    /// Xen.
    Xen,
}

impl Hypervisor {
    /// As EC2 spells it; what EC2 leaves out or what is none of the two it knows is `Unknown`.
    pub fn parse(text: &str) -> Self {
        match text {
            "nitro" => Self::Nitro,
            "xen" => Self::Xen,
            _ => Self::Unknown,
        }
    }

    /// `nitro`, `unknown` or `xen`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nitro => "nitro",
            Self::Unknown => "unknown",
            Self::Xen => "xen",
        }
    }
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether an instance type can hold a trunk ENI, which pods with security groups of their own need.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Trunk {
    /// It cannot.
    No,
    /// Nothing that is published says so. The VPC resource controller takes such types to be capable.
    Unknown,
    /// It can, with at most so many branch ENIs on all trunks together.
    Yes {
        /// Branch ENIs of the instance, and so pods that have one.
        branch_enis: u32,
    },
}

/// Network limits of one instance type.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct TypeLimits {
    /// Filled up with zeros.
    pub(super) name: [u8; NAME_BYTES_MAX],
    pub(super) enis: u8,
    pub(super) ipv4_per_eni: u8,
    pub(super) default_card: u8,
    /// Place in `CARDS`, from 1; 0 for the one card of most types.
    pub(super) cards: u8,
    pub(super) hypervisor: Hypervisor,
    pub(super) bare_metal: bool,
    /// Branch ENIs; none at all without trunks.
    pub(super) trunk: Option<u8>,
}

impl TypeLimits {
    /// For example `m5.large`.
    pub fn name(&self) -> &str {
        std::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    /// The name; the table is sorted by it.
    pub(super) fn name_bytes(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// ENIs on the default network card, the primary ENI included.
    pub fn enis(&self) -> u32 {
        self.enis.into()
    }

    /// IPv4 addresses per ENI, the primary one included.
    pub fn ipv4_per_eni(&self) -> u32 {
        self.ipv4_per_eni.into()
    }

    /// Index of the network card that holds the primary ENI.
    pub fn default_card(&self) -> u32 {
        self.default_card.into()
    }

    /// ENIs per network card, by card index; at least one card.
    pub fn card_enis(&self) -> impl ExactSizeIterator<Item = u32> {
        let several = usize::from(self.cards).checked_sub(1).and_then(|at| CARDS.get(at));
        let one = std::slice::from_ref(&self.enis);
        several.copied().unwrap_or(one).iter().map(|enis| u32::from(*enis))
    }

    /// Virtualisation.
    pub fn hypervisor(&self) -> Hypervisor {
        self.hypervisor
    }

    /// True for metal.
    pub fn bare_metal(&self) -> bool {
        self.bare_metal
    }

    /// Trunk ENIs and branches.
    pub fn trunk(&self) -> Trunk {
        match self.trunk {
            None => Trunk::Unknown,
            Some(0) => Trunk::No,
            Some(branch_enis) => Trunk::Yes { branch_enis: branch_enis.into() },
        }
    }

    /// True where EC2 can delegate prefixes.
    pub fn prefixes(&self) -> bool {
        self.bare_metal || self.hypervisor == Hypervisor::Nitro
    }

    /// Pods of a node that uses its default network card and single addresses: one address of each
    /// ENI is its own, and two pods of every node use the host's network.
    pub fn max_pods(&self) -> u32 {
        self.enis() * self.ipv4_per_eni().saturating_sub(1) + 2
    }

    /// As the pool wants them.
    pub fn limits(&self) -> InstanceLimits {
        InstanceLimits {
            enis: self.enis(),
            ipv4_per_eni: self.ipv4_per_eni(),
            card_enis: self.card_enis().collect(),
            prefixes: self.prefixes(),
        }
    }
}

impl fmt::Debug for TypeLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeLimits")
            .field("name", &self.name())
            .field("card_enis", &self.card_enis().collect::<Vec<_>>())
            .field("default_card", &self.default_card)
            .field("ipv4_per_eni", &self.ipv4_per_eni)
            .field("hypervisor", &self.hypervisor)
            .field("bare_metal", &self.bare_metal)
            .field("trunk", &self.trunk())
            .finish()
    }
}
