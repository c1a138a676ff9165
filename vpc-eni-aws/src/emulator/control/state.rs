//! The state of the world, to be shown.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;
use vpc_ipam_core::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId, VpcId},
    testkit::ec2::{Attachment, Eni, Subnet, Vpc, World},
};

use crate::emulator::{faults, server::Emulator};

type Tags = BTreeMap<String, String>;

/// All that there is at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct State {
    /// Time of the world, milliseconds since 1970.
    pub now_ms: u64,
    /// For example `us-west-2`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// Whether metadata answers without a token.
    pub imds_v1: bool,
    /// VPCs in the order of making.
    pub vpcs: Vec<VpcState>,
    /// Names of the security groups.
    pub security_groups: BTreeMap<String, String>,
    /// Subnets in the order of making.
    pub subnets: Vec<SubnetState>,
    /// Instances in the order of making.
    pub instances: Vec<InstanceState>,
    /// ENIs by id.
    pub enis: Vec<EniState>,
    /// Calls so far by action, refused ones included.
    pub calls: BTreeMap<String, u64>,
    /// Calls by action that were refused because the request rate was exceeded.
    pub throttled: BTreeMap<String, u64>,
    /// Faults that may still be met.
    pub faults: Vec<FaultState>,
}

/// A VPC.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VpcState {
    /// Its id.
    pub id: VpcId,
    /// IPv4 blocks.
    pub cidrs: Vec<Prefix>,
    /// IPv6 blocks.
    pub ipv6_cidrs: Vec<Prefix>,
    /// What an ENI gets that names no group.
    pub default_group: SecurityGroupId,
}

/// A subnet.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SubnetState {
    /// Its id.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Availability zone.
    pub zone: String,
    /// IPv4 block.
    pub cidr: Prefix,
    /// IPv6 block.
    pub ipv6_cidr: Option<Prefix>,
    /// Free addresses.
    pub free_addresses: u32,
    /// Free aligned /28 blocks.
    pub free_prefixes: usize,
    /// Tags.
    pub tags: Tags,
}

/// An instance.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InstanceState {
    /// Its id.
    pub id: InstanceId,
    /// For example `m5.large`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Subnet of its primary ENI.
    pub subnet: SubnetId,
    /// Availability zone.
    pub zone: String,
    /// The ENI it was born with.
    pub primary_eni: EniId,
    /// Its ENIs by card and device.
    pub enis: Vec<EniId>,
    /// Tags.
    pub tags: Tags,
}

/// An ENI.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct EniState {
    /// Its id.
    pub id: EniId,
    /// Link-layer address.
    pub mac: MacAddr,
    /// Its subnet.
    pub subnet: SubnetId,
    /// As EC2 names it.
    pub status: &'static str,
    /// `interface`, `efa`, `efa-only` or `trunk`.
    pub kind: &'static str,
    /// Free text.
    pub description: String,
    /// Primary address.
    pub primary_ip: Option<Ipv4Addr>,
    /// Secondary addresses.
    pub secondary_ips: Vec<Ipv4Addr>,
    /// IPv4 prefixes.
    pub prefixes: Vec<Prefix>,
    /// IPv6 addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// IPv6 prefixes.
    pub ipv6_prefixes: Vec<Prefix>,
    /// Security groups.
    pub groups: Vec<SecurityGroupId>,
    /// Tags.
    pub tags: Tags,
    /// Where it is attached.
    pub attachment: Option<AttachmentState>,
}

/// How an ENI hangs on an instance.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AttachmentState {
    /// Its id.
    pub id: String,
    /// The instance.
    pub instance: InstanceId,
    /// Device index on the card.
    pub device: u32,
    /// Network card index.
    pub card: u32,
    /// As EC2 names it.
    pub status: &'static str,
    /// Whether the ENI dies with the instance.
    pub delete_on_termination: bool,
}

/// A fault that may still be met.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FaultState {
    /// `ec2` or `imds`.
    pub of: &'static str,
    /// What goes wrong with what, for people.
    pub what: String,
    /// How often it may still be met; `None` for as long as it is there.
    pub times_left: Option<u32>,
    /// Calls that will pass before it is met.
    pub passes_first: u32,
    /// When it begins, milliseconds since 1970; `None` if it has begun.
    pub from_ms: Option<u64>,
    /// When it ends, milliseconds since 1970.
    pub until_ms: Option<u64>,
}

impl Emulator {
    /// What there is at this moment, faults that may still be met included.
    pub fn state(&self) -> State {
        let now = self.now();
        let mut world = self.shared.world();
        world.advance(now);
        let count = |calls: &BTreeMap<vpc_ipam_core::testkit::ec2::Ec2Action, u64>| {
            calls.iter().map(|(action, n)| (action.to_string(), *n)).collect()
        };
        State {
            now_ms: now.as_millis(),
            region: world.region().to_owned(),
            account: world.account().to_owned(),
            imds_v1: self.shared.imds.allows_v1(),
            vpcs: world.vpcs().iter().map(vpc).collect(),
            security_groups: world
                .security_groups()
                .iter()
                .map(|g| (g.id.to_string(), g.name.clone()))
                .collect(),
            subnets: world.subnets().iter().map(subnet).collect(),
            instances: instances(&world),
            enis: world.enis().map(eni).collect(),
            calls: count(world.calls()),
            throttled: count(world.throttled()),
            faults: faults::pending(&self.shared, &world, now),
        }
    }
}

fn vpc(vpc: &Vpc) -> VpcState {
    VpcState {
        id: vpc.id.clone(),
        cidrs: vpc.cidrs.clone(),
        ipv6_cidrs: vpc.ipv6_cidrs.clone(),
        default_group: vpc.default_group.clone(),
    }
}

fn subnet(subnet: &Subnet) -> SubnetState {
    SubnetState {
        id: subnet.id.clone(),
        vpc: subnet.vpc.clone(),
        zone: subnet.availability_zone.clone(),
        cidr: subnet.cidr,
        ipv6_cidr: subnet.ipv6_cidr,
        free_addresses: subnet.available_ips(),
        free_prefixes: subnet.free_prefixes(),
        tags: subnet.tags.clone(),
    }
}

fn instances(world: &World) -> Vec<InstanceState> {
    let state = |i: &vpc_ipam_core::testkit::ec2::Instance| InstanceState {
        id: i.id.clone(),
        type_name: i.instance_type.name.to_owned(),
        subnet: i.subnet.clone(),
        zone: i.availability_zone.clone(),
        primary_eni: i.primary_eni.clone(),
        enis: world.enis_of(&i.id).iter().map(|e| e.id.clone()).collect(),
        tags: i.tags.clone(),
    };
    world.instances().iter().map(state).collect()
}

fn eni(eni: &Eni) -> EniState {
    EniState {
        id: eni.id.clone(),
        mac: eni.mac,
        subnet: eni.subnet.clone(),
        status: eni.status().as_str(),
        kind: eni.kind.as_str(),
        description: eni.description.clone(),
        primary_ip: eni.primary_ip,
        secondary_ips: eni.secondary_ips.clone(),
        prefixes: eni.prefixes.clone(),
        ipv6_addresses: eni.ipv6_addresses.clone(),
        ipv6_prefixes: eni.ipv6_prefixes.clone(),
        groups: eni.groups.clone(),
        tags: eni.tags.clone(),
        attachment: eni.attachment.as_ref().map(attachment),
    }
}

fn attachment(a: &Attachment) -> AttachmentState {
    AttachmentState {
        id: a.id.clone(),
        instance: a.instance.clone(),
        device: a.device,
        card: a.card,
        status: a.status.as_str(),
        delete_on_termination: a.delete_on_termination,
    }
}
