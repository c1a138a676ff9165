//! The world: its parts, how they are made, and what every call does first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    action::Ec2Action,
    change::WorldChange,
    consistency::Past,
    delays::Delays,
    eni::Eni,
    error::WorldError,
    faults::Faults,
    ids::Random,
    instance::Instance,
    network::{SecurityGroup, Subnet, Vpc},
    request::CreateNetworkInterface,
    space::{Allocation, Ipv4Space},
    throttle::Throttle,
    timers::Timers,
};
use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, SecurityGroupId, SubnetId, VpcId},
    time::Time,
};

/// Changes kept for an embedder that does not fetch them. A box with hundreds of nodes makes some
/// thousands at start; a simulation that never asks must not grow for ever.
const CHANGES_MAX: usize = 1 << 16;
/// Client tokens remembered. EC2 forgets them too, after some hours.
pub(super) const CLIENT_TOKENS_MAX: usize = 4096;

/// The account, region and VPCs that the calls work on.
#[derive(Clone, Debug)]
pub struct World {
    region: String,
    account: String,
    now: Time,
    pub(super) delays: Delays,
    pub(super) allocation: Allocation,
    pub(super) ids: Random,
    pub(super) scatter: Random,
    // In the order of making; there are few, and an embedder wants them in that order.
    pub(super) vpcs: Vec<Vpc>,
    subnets: Vec<Subnet>,
    pub(super) instances: Vec<Instance>,
    groups: Vec<SecurityGroup>,
    pub(super) enis: BTreeMap<EniId, Eni>,
    pub(super) timers: Timers,
    pub(super) client_tokens: VecDeque<(CreateNetworkInterface, EniId)>,
    changes: VecDeque<WorldChange>,
    changes_lost: u64,
    pub(super) faults: Faults,
    pub(super) calls: BTreeMap<Ec2Action, u64>,
    pub(super) throttle: Throttle,
    pub(super) past: Past,
    /// ENIs that somebody else attached or detached.
    pub(super) foreign: BTreeSet<EniId>,
    /// ENIs whose creation nobody heard of.
    pub(super) unheard: BTreeSet<EniId>,
}

impl World {
    /// A world without VPCs. `seed` decides ids, MACs and scattered addresses.
    pub fn new(region: &str, seed: u64) -> Self {
        Self {
            region: region.to_owned(),
            account: "123456789012".to_owned(),
            now: Time::ZERO,
            delays: Delays::NONE,
            allocation: Allocation::LowestFree,
            ids: Random::new(seed),
            scatter: Random::new(!seed),
            vpcs: Vec::new(),
            subnets: Vec::new(),
            instances: Vec::new(),
            groups: Vec::new(),
            enis: BTreeMap::new(),
            timers: Timers::default(),
            client_tokens: VecDeque::new(),
            changes: VecDeque::new(),
            changes_lost: 0,
            faults: Faults::default(),
            calls: BTreeMap::new(),
            throttle: Throttle::default(),
            // Apart from the seeds of ids and of scattered addresses.
            past: Past::new(seed.rotate_left(32) ^ 1),
            foreign: BTreeSet::new(),
            unheard: BTreeSet::new(),
        }
    }

    /// How long changes take.
    pub fn delays(&self) -> Delays {
        self.delays
    }

    /// How long changes take from now on.
    pub fn set_delays(&mut self, delays: Delays) {
        self.delays = delays;
    }

    /// Another account number than `123456789012`. Twelve digits are usual; nothing checks them.
    pub fn set_account(&mut self, account: &str) {
        account.clone_into(&mut self.account);
    }

    /// How addresses are picked from now on.
    pub fn set_allocation(&mut self, allocation: Allocation) {
        self.allocation = allocation;
    }

    /// Makes a VPC with a default security group. Further blocks may follow.
    ///
    /// # Errors
    ///
    /// If `cidr` is not an IPv4 block that EC2 allows.
    pub fn add_vpc(&mut self, cidr: Prefix) -> Result<VpcId, WorldError> {
        let id: VpcId = self.ids.id("vpc-");
        self.add_vpc_as(id, cidr)
    }

    /// Makes a VPC with that id and a default security group.
    ///
    /// # Errors
    ///
    /// If the id is taken, or `cidr` is not an IPv4 block that EC2 allows.
    pub fn add_vpc_as(&mut self, id: VpcId, cidr: Prefix) -> Result<VpcId, WorldError> {
        check_size(cidr)?;
        check_free(id.as_str(), self.vpc(&id).is_none())?;
        let default_group: SecurityGroupId = self.ids.id("sg-");
        self.groups.push(SecurityGroup {
            id: default_group.clone(),
            vpc: id.clone(),
            name: "default".to_owned(),
        });
        self.vpcs.push(Vpc {
            id: id.clone(),
            cidrs: vec![cidr],
            ipv6_cidrs: Vec::new(),
            default_group,
        });
        Ok(id)
    }

    /// Associates a further IPv4 block with a VPC. Metadata shows it at once.
    ///
    /// # Errors
    ///
    /// If there is no such VPC, or the block overlaps one of its blocks.
    pub fn add_vpc_cidr(&mut self, vpc: &VpcId, cidr: Prefix) -> Result<(), WorldError> {
        check_size(cidr)?;
        let vpc = self
            .vpcs
            .iter_mut()
            .find(|v| v.id == *vpc)
            .ok_or_else(|| WorldError::NoSuchId { id: vpc.to_string() })?;
        check_overlap(cidr, &vpc.cidrs)?;
        vpc.cidrs.push(cidr);
        Ok(())
    }

    /// Makes a security group.
    ///
    /// # Errors
    ///
    /// If there is no such VPC.
    pub fn add_security_group(
        &mut self,
        vpc: &VpcId,
        name: &str,
    ) -> Result<SecurityGroupId, WorldError> {
        let id: SecurityGroupId = self.ids.id("sg-");
        self.add_security_group_as(id, vpc, name)
    }

    /// Makes a security group with that id.
    ///
    /// # Errors
    ///
    /// If the id is taken or there is no such VPC.
    pub fn add_security_group_as(
        &mut self,
        id: SecurityGroupId,
        vpc: &VpcId,
        name: &str,
    ) -> Result<SecurityGroupId, WorldError> {
        check_free(id.as_str(), self.security_group(&id).is_none())?;
        if self.vpc(vpc).is_none() {
            return Err(WorldError::NoSuchId { id: vpc.to_string() });
        }
        let group = SecurityGroup { id: id.clone(), vpc: vpc.clone(), name: name.to_owned() };
        self.groups.push(group);
        Ok(id)
    }

    /// Makes a subnet.
    ///
    /// # Errors
    ///
    /// If its block is not inside the VPC, overlaps another subnet, or has a forbidden size.
    pub fn add_subnet(
        &mut self,
        vpc: &VpcId,
        cidr: Prefix,
        availability_zone: &str,
    ) -> Result<SubnetId, WorldError> {
        let id: SubnetId = self.ids.id("subnet-");
        self.add_subnet_as(id, vpc, cidr, availability_zone)
    }

    /// Makes a subnet with that id.
    ///
    /// # Errors
    ///
    /// If the id is taken, and those of [`add_subnet`](Self::add_subnet).
    pub fn add_subnet_as(
        &mut self,
        id: SubnetId,
        vpc: &VpcId,
        cidr: Prefix,
        availability_zone: &str,
    ) -> Result<SubnetId, WorldError> {
        check_free(id.as_str(), self.subnet(&id).is_none())?;
        let space = Ipv4Space::new(cidr).ok_or(WorldError::SizeOutOfRange { cidr })?;
        let blocks = self.vpc(vpc).ok_or_else(|| WorldError::NoSuchId { id: vpc.to_string() })?;
        if !blocks.cidrs.iter().any(|c| c.covers(&cidr)) {
            return Err(WorldError::OutsideVpc { cidr, vpc: vpc.clone() });
        }
        let others: Vec<Prefix> =
            self.subnets.iter().filter(|s| s.vpc == *vpc).map(|s| s.cidr).collect();
        check_overlap(cidr, &others)?;
        self.subnets.push(Subnet {
            id: id.clone(),
            vpc: vpc.clone(),
            cidr,
            ipv6_cidr: None,
            availability_zone: availability_zone.to_owned(),
            tags: BTreeMap::new(),
            space,
            ipv6_space: None,
        });
        Ok(id)
    }

    /// For example `us-west-2`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Account number, twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The latest moment that any call named.
    pub fn now(&self) -> Time {
        self.now
    }

    /// All VPCs in the order of making.
    pub fn vpcs(&self) -> &[Vpc] {
        &self.vpcs
    }

    /// All subnets in the order of making.
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// All instances in the order of making.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// All ENIs by id, attached or not.
    pub fn enis(&self) -> impl Iterator<Item = &Eni> {
        self.enis.values()
    }

    /// The VPC of that id.
    pub fn vpc(&self, id: &VpcId) -> Option<&Vpc> {
        self.vpcs.iter().find(|v| v.id == *id)
    }

    /// The subnet of that id.
    pub fn subnet(&self, id: &SubnetId) -> Option<&Subnet> {
        self.subnets.iter().find(|s| s.id == *id)
    }

    /// The instance of that id.
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.iter().find(|i| i.id == *id)
    }

    /// The ENI of that id.
    pub fn eni(&self, id: &EniId) -> Option<&Eni> {
        self.enis.get(id)
    }

    /// The ENIs of an instance, those being attached or detached included, by card and device.
    pub fn enis_of(&self, instance: &InstanceId) -> Vec<&Eni> {
        let at = |e: &Eni| e.attachment.as_ref().map(|a| (a.card, a.device));
        let mut enis: Vec<&Eni> = self
            .enis
            .values()
            .filter(|e| e.attachment.as_ref().is_some_and(|a| a.instance == *instance))
            .collect();
        enis.sort_by_key(|e| at(e));
        enis
    }

    /// All security groups in the order of making, the default ones included.
    pub fn security_groups(&self) -> &[SecurityGroup] {
        &self.groups
    }

    /// The security group of that id.
    pub fn security_group(&self, id: &SecurityGroupId) -> Option<&SecurityGroup> {
        self.groups.iter().find(|g| g.id == *id)
    }

    /// What has happened since the last call, in order. Time-driven changes appear only once
    /// [`advance`](Self::advance), or any other call, was told that their time has come.
    pub fn take_changes(&mut self) -> Vec<WorldChange> {
        self.changes.drain(..).collect()
    }

    /// Changes that nobody fetched before there were too many: 0 for an embedder that keeps up.
    pub fn changes_lost(&self) -> u64 {
        self.changes_lost
    }

    pub(super) fn subnet_mut(&mut self, id: &SubnetId) -> Option<&mut Subnet> {
        self.subnets.iter_mut().find(|s| s.id == *id)
    }

    pub(super) fn instance_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|i| i.id == *id)
    }

    pub(super) fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub(super) fn push_change(&mut self, change: WorldChange) {
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
            self.changes_lost += 1;
        }
        self.changes.push_back(change);
    }
}

pub(super) fn check_free(id: &str, free: bool) -> Result<(), WorldError> {
    if free { Ok(()) } else { Err(WorldError::IdTaken { id: id.to_owned() }) }
}

fn check_size(cidr: Prefix) -> Result<(), WorldError> {
    Ipv4Space::new(cidr).map(|_| ()).ok_or(WorldError::SizeOutOfRange { cidr })
}

fn check_overlap(cidr: Prefix, others: &[Prefix]) -> Result<(), WorldError> {
    match others.iter().find(|o| o.covers(&cidr) || cidr.covers(o)) {
        Some(other) => Err(WorldError::Overlap { cidr, other: *other }),
        None => Ok(()),
    }
}
