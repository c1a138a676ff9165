//! Instance types and their limits.

use crate::cloud::InstanceLimits;

/// Virtualisation of an instance type. Only Nitro and bare metal can take prefixes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hypervisor {
    /// Nitro.
    Nitro,
    /// Xen.
    Xen,
}

impl Hypervisor {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nitro => "nitro",
            Self::Xen => "xen",
        }
    }
}

/// Network limits of an instance type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstanceType {
    /// For example `m5.large`.
    pub name: &'static str,
    /// ENIs per network card, by card index.
    pub card_enis: &'static [u32],
    /// IPv4 addresses per ENI, the primary one included.
    pub ipv4_per_eni: u32,
    /// Virtualisation.
    pub hypervisor: Hypervisor,
    /// True for metal.
    pub bare_metal: bool,
}

impl InstanceType {
    /// ENIs on all network cards together.
    pub fn enis(&self) -> u32 {
        self.card_enis.iter().sum()
    }

    /// Secondary addresses or prefixes per ENI.
    pub fn slots(&self) -> u32 {
        self.ipv4_per_eni.saturating_sub(1)
    }

    /// True where EC2 can delegate prefixes.
    pub fn takes_prefixes(&self) -> bool {
        self.bare_metal || self.hypervisor == Hypervisor::Nitro
    }

    /// The limits as the pool wants them.
    pub fn limits(&self) -> InstanceLimits {
        InstanceLimits {
            enis: self.card_enis.first().copied().unwrap_or(0),
            ipv4_per_eni: self.ipv4_per_eni,
            card_enis: self.card_enis.to_vec(),
            prefixes: self.takes_prefixes(),
        }
    }
}

const fn nitro(name: &'static str, card_enis: &'static [u32], ipv4: u32) -> InstanceType {
    InstanceType {
        name,
        card_enis,
        ipv4_per_eni: ipv4,
        hypervisor: Hypervisor::Nitro,
        bare_metal: false,
    }
}

const fn xen(name: &'static str, card_enis: &'static [u32], ipv4: u32) -> InstanceType {
    InstanceType { hypervisor: Hypervisor::Xen, ..nitro(name, card_enis, ipv4) }
}

const fn metal(name: &'static str, card_enis: &'static [u32], ipv4: u32) -> InstanceType {
    InstanceType { bare_metal: true, ..nitro(name, card_enis, ipv4) }
}

/// A type that EC2 does not have, and so no list of real types either: its limits must be asked for.
pub const IMAGINARY_TYPE: &str = "z0.imaginary";

// Small, usual and large nodes, one of several network cards, one of each virtualisation.
static TYPES: [InstanceType; 13] = [
    nitro("c5.large", &[3], 10),
    nitro("c5n.18xlarge", &[15], 50),
    xen("m4.large", &[2], 10),
    nitro("m5.24xlarge", &[15], 50),
    nitro("m5.4xlarge", &[8], 30),
    nitro("m5.large", &[3], 10),
    metal("m5.metal", &[15], 50),
    nitro("m5.xlarge", &[4], 15),
    nitro("p3dn.24xlarge", &[15], 50),
    nitro("p4d.24xlarge", &[15, 15, 15, 15], 50),
    nitro("t3.medium", &[3], 6),
    nitro("t3.small", &[3], 4),
    nitro(IMAGINARY_TYPE, &[5, 7], 14),
];

/// All types that the model knows, by name.
pub fn instance_types() -> &'static [InstanceType] {
    &TYPES
}

/// The type of that name.
pub fn instance_type(name: &str) -> Option<&'static InstanceType> {
    TYPES.iter().find(|t| t.name == name)
}
