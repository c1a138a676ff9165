//! VPCs, subnets and security groups.

use std::collections::BTreeMap;

use super::space::{Ipv4Space, Ipv6Space};
use crate::{
    addr::Prefix,
    id::{SecurityGroupId, SubnetId, VpcId},
};

/// A VPC.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Vpc {
    /// `vpc-…`.
    pub id: VpcId,
    /// IPv4 blocks; the first is the one it was made with.
    pub cidrs: Vec<Prefix>,
    /// IPv6 blocks.
    pub ipv6_cidrs: Vec<Prefix>,
    /// What an ENI gets that names no group.
    pub default_group: SecurityGroupId,
}

/// A subnet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subnet {
    /// `subnet-…`.
    pub id: SubnetId,
    /// VPC it is part of.
    pub vpc: VpcId,
    /// IPv4 block.
    pub cidr: Prefix,
    /// IPv6 block, a /64.
    pub ipv6_cidr: Option<Prefix>,
    /// For example `us-west-2a`.
    pub availability_zone: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    pub(super) space: Ipv4Space,
    pub(super) ipv6_space: Option<Ipv6Space>,
}

impl Subnet {
    /// Free IPv4 addresses. Says nothing about prefixes: see [`free_prefixes`](Self::free_prefixes).
    pub fn available_ips(&self) -> u32 {
        self.space.free()
    }

    /// Free aligned /28 blocks.
    pub fn free_prefixes(&self) -> usize {
        self.space.free_blocks()
    }
}

/// A security group; the model knows it by id only.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: SecurityGroupId,
    /// VPC it is valid in.
    pub vpc: VpcId,
    /// Name.
    pub name: String,
}
