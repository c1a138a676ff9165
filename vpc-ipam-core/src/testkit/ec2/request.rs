//! Parameters and results of the EC2 actions.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    eni::{ConnectionTracking, InterfaceType},
    filter::Filter,
};
use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, SecurityGroupId, SubnetId},
};

/// How much IPv4 address space a call asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ipv4Request {
    /// So many /28 prefixes.
    Prefixes(u32),
    /// So many secondary addresses.
    Secondary(u32),
}

/// `CreateNetworkInterface`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CreateNetworkInterface {
    /// Subnet to live in.
    pub subnet: SubnetId,
    /// Free text.
    pub description: String,
    /// Security groups; empty for the VPC's default group.
    pub groups: Vec<SecurityGroupId>,
    /// What to be born with besides the primary address.
    pub ipv4: Option<Ipv4Request>,
    /// IPv6 addresses to be born with.
    pub ipv6_addresses: u32,
    /// Tags from the first moment on.
    pub tags: BTreeMap<String, String>,
    /// Purpose.
    pub kind: InterfaceType,
    /// Idle timeouts.
    pub connection_tracking: Option<ConnectionTracking>,
    /// Makes a repeated call harmless.
    pub client_token: Option<String>,
}

impl CreateNetworkInterface {
    /// An ordinary ENI with nothing but a primary address.
    pub fn new(subnet: SubnetId) -> Self {
        Self {
            subnet,
            description: String::new(),
            groups: Vec::new(),
            ipv4: None,
            ipv6_addresses: 0,
            tags: BTreeMap::new(),
            kind: InterfaceType::Interface,
            connection_tracking: None,
            client_token: None,
        }
    }

    /// Born with that much IPv4 space.
    #[must_use]
    pub fn ipv4(mut self, ipv4: Ipv4Request) -> Self {
        self.ipv4 = Some(ipv4);
        self
    }
}

/// `AttachNetworkInterface`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachNetworkInterface {
    /// The ENI.
    pub eni: EniId,
    /// The instance.
    pub instance: InstanceId,
    /// Device index on the card.
    pub device: u32,
    /// Network card index.
    pub card: u32,
}

/// `DetachNetworkInterface`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DetachNetworkInterface {
    /// `eni-attach-…`.
    pub attachment: String,
    /// Do not wait for the instance.
    pub force: bool,
}

/// `ModifyNetworkInterfaceAttribute`: exactly one attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ModifyNetworkInterfaceAttribute {
    /// Whether the ENI dies with the instance.
    DeleteOnTermination {
        /// The ENI.
        eni: EniId,
        /// Its attachment.
        attachment: String,
        /// The new value.
        value: bool,
    },
    /// All security groups.
    Groups {
        /// The ENI.
        eni: EniId,
        /// The new groups; at least one.
        groups: Vec<SecurityGroupId>,
    },
}

impl ModifyNetworkInterfaceAttribute {
    /// The ENI.
    pub fn eni(&self) -> &EniId {
        match self {
            Self::DeleteOnTermination { eni, .. } | Self::Groups { eni, .. } => eni,
        }
    }
}

/// `DescribeNetworkInterfaces`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DescribeNetworkInterfaces {
    /// Only these; each must exist.
    pub ids: Vec<EniId>,
    /// Only those that pass all filters.
    pub filters: Vec<Filter>,
    /// Page size.
    pub max_results: Option<u32>,
    /// Where the page before ended.
    pub next_token: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// How to get the next page, if there is one.
    pub next_token: Option<String>,
}

/// `AssignPrivateIpAddresses`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssignPrivateIpAddresses {
    /// The ENI.
    pub eni: EniId,
    /// How much; at least 1.
    pub ipv4: Ipv4Request,
}

/// `AssignPrivateIpAddresses` with addresses and prefixes of the caller's choice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssignGivenAddresses {
    /// The ENI.
    pub eni: EniId,
    /// Secondary addresses, all in the ENI's subnet.
    pub addresses: Vec<Ipv4Addr>,
    /// Aligned /28 blocks, all in the ENI's subnet.
    pub prefixes: Vec<Prefix>,
}

/// What a call added to an ENI.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Assigned {
    /// New secondary addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// New prefixes.
    pub prefixes: Vec<Prefix>,
}

/// `UnassignPrivateIpAddresses`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnassignPrivateIpAddresses {
    /// The ENI.
    pub eni: EniId,
    /// Secondary addresses to take.
    pub addresses: Vec<Ipv4Addr>,
    /// Prefixes to take.
    pub prefixes: Vec<Prefix>,
}

/// `AssignIpv6Addresses`, prefixes only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssignIpv6Addresses {
    /// The ENI.
    pub eni: EniId,
    /// How many /80 prefixes; at least 1.
    pub prefixes: u32,
}

/// `UnassignIpv6Addresses`, prefixes only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnassignIpv6Addresses {
    /// The ENI.
    pub eni: EniId,
    /// Prefixes to take.
    pub prefixes: Vec<Prefix>,
}

/// `CreateTags`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CreateTags {
    /// ENIs, subnets and instances by id.
    pub resources: Vec<String>,
    /// Tags to set on each.
    pub tags: BTreeMap<String, String>,
}
