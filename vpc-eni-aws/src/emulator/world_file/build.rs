//! From a file to a world.

use std::{collections::BTreeMap, ops::Range};

use toml::Spanned;
use vpc_ipam_core::{
    addr::Prefix,
    id::{InstanceId, SecurityGroupId, SubnetId, VpcId},
    testkit::ec2::{Ec2Error, NewInstance, World, WorldError},
    time::Time,
};

use super::{
    eni,
    names::Names,
    schema::{EniSpec, GroupSpec, InstanceSpec, Root, SubnetSpec, Tags, VpcSpec},
};
use crate::emulator::file::{FileError, FileProblem, Source};

/// Addresses of a block that may be reserved one by one: a subnet has no more.
const RESERVED_MAX: u128 = 1 << 16;

pub(super) struct Builder<'a> {
    pub(super) source: &'a Source,
    root: &'a Root,
    pub(super) start: Time,
    world: World,
    pub(super) subnets: Names<SubnetId>,
    /// Groups by VPC: names are unique there only.
    pub(super) groups: BTreeMap<VpcId, Names<SecurityGroupId>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a Source, root: &'a Root, start: Time) -> Self {
        let mut world = World::new(&root.region.0, root.seed);
        if let Some(account) = &root.account {
            world.set_account(&account.0);
        }
        world.set_allocation(root.allocation.into());
        Self { source, root, start, world, subnets: Names::new("subnet"), groups: BTreeMap::new() }
    }

    pub(super) fn build(mut self) -> Result<World, FileError> {
        for vpc in &self.root.vpcs {
            self.vpc(vpc)?;
        }
        for instance in &self.root.instances {
            self.instance(instance)?;
        }
        for eni in &self.root.enis {
            self.free_eni(eni)?;
        }
        // Only now: how things begin is no change, and takes no time.
        let Root { delays, consistency, throttling, .. } = self.root;
        self.world.advance(self.start);
        self.world.set_delays(delays.over(self.world.delays()));
        self.world.set_consistency(consistency.over(self.world.consistency()));
        if let Some(throttling) = throttling {
            self.world.set_request_rates(&throttling.0);
        }
        Ok(self.world)
    }

    fn vpc(&mut self, spec: &VpcSpec) -> Result<(), FileError> {
        let Some((first, more)) = spec.cidrs.get_ref().split_first() else {
            let why = "is empty; a VPC has at least one block, such as \"10.0.0.0/16\"";
            let problem = FileProblem::Misplaced { key: "vpcs.cidrs", why };
            return Err(self.source.error(&spec.cidrs.span(), problem));
        };
        let made = match &spec.id {
            Some(id) => self.world.add_vpc_as(id.get_ref().clone(), *first.get_ref()),
            None => self.world.add_vpc(*first.get_ref()),
        };
        let vpc = made.map_err(|e| match (&e, &spec.id) {
            (WorldError::IdTaken { .. }, Some(id)) => self.refused("vpcs.id", &id.span(), e),
            _ => self.refused("vpcs.cidrs", &first.span(), e),
        })?;
        for cidr in more {
            let added = self.world.add_vpc_cidr(&vpc, *cidr.get_ref());
            added.map_err(|e| self.refused("vpcs.cidrs", &cidr.span(), e))?;
        }
        self.groups_of(&vpc, &spec.security_groups)?;
        for subnet in &spec.subnets {
            self.subnet(&vpc, subnet)?;
        }
        Ok(())
    }

    fn groups_of(&mut self, vpc: &VpcId, specs: &[GroupSpec]) -> Result<(), FileError> {
        let mut names = Names::new("security group");
        let mut add = |name: &str, id: &SecurityGroupId| {
            names.insert("vpcs.security_groups.name", name.to_owned(), id.clone())?;
            names.insert("vpcs.security_groups.id", id.to_string(), id.clone())
        };
        if let Some(found) = self.world.vpc(vpc) {
            add("default", &found.default_group)
                .map_err(|problem| self.source.error(&(0..0), problem))?;
        }
        for spec in specs {
            let (at, name) = (spec.name.span(), spec.name.get_ref());
            let made = match &spec.id {
                Some(id) => self.world.add_security_group_as(id.clone(), vpc, name),
                None => self.world.add_security_group(vpc, name),
            };
            let id = made.map_err(|e| self.refused("vpcs.security_groups.id", &at, e))?;
            add(name, &id).map_err(|problem| self.source.error(&at, problem))?;
        }
        self.groups.insert(vpc.clone(), names);
        Ok(())
    }

    fn subnet(&mut self, vpc: &VpcId, spec: &Spanned<SubnetSpec>) -> Result<(), FileError> {
        let (at, spec) = (spec.span(), spec.get_ref());
        let zone = spec.zone.name(self.world.region());
        let cidr = *spec.cidr.get_ref();
        let made = match &spec.id {
            Some(id) => self.world.add_subnet_as(id.clone(), vpc, cidr, &zone),
            None => self.world.add_subnet(vpc, cidr, &zone),
        };
        let id = made.map_err(|e| match e {
            e @ WorldError::IdTaken { .. } => self.refused("vpcs.subnets.id", &at, e),
            e => self.refused("vpcs.subnets.cidr", &spec.cidr.span(), e),
        })?;
        if let Some(name) = &spec.name {
            let named =
                self.subnets.insert("vpcs.subnets.name", name.get_ref().clone(), id.clone());
            named.map_err(|problem| self.source.error(&name.span(), problem))?;
        }
        let named = self.subnets.insert("vpcs.subnets.id", id.to_string(), id.clone());
        named.map_err(|problem| self.source.error(&at, problem))?;
        if let Some(ipv6) = &spec.ipv6 {
            let set = self.world.set_subnet_ipv6(&id, *ipv6.get_ref());
            set.map_err(|e| self.refused("vpcs.subnets.ipv6", &ipv6.span(), e))?;
        }
        self.tag(id.as_str(), &spec.tags).map_err(|e| self.refused("vpcs.subnets.tags", &at, e))?;
        for block in &spec.reserved {
            self.reserve(&id, block)?;
        }
        if let Some(singles) = spec.fragmented {
            let done = self.world.fragment_subnet(&id, singles);
            done.map_err(|e| self.refused("vpcs.subnets.fragmented", &at, e))?;
        }
        Ok(())
    }

    fn reserve(&mut self, subnet: &SubnetId, block: &Spanned<Prefix>) -> Result<(), FileError> {
        let (at, block) = (block.span(), block.get_ref());
        for n in 0..block.size().min(RESERVED_MAX) {
            let Some(std::net::IpAddr::V4(ip)) = block.nth(n) else {
                let why = "must be IPv4 addresses or blocks of the subnet";
                let problem = FileProblem::Misplaced { key: "vpcs.subnets.reserved", why };
                return Err(self.source.error(&at, problem));
            };
            let reserved = self.world.reserve_address(subnet, ip);
            reserved.map_err(|e| self.refused("vpcs.subnets.reserved", &at, e))?;
        }
        Ok(())
    }

    fn instance(&mut self, spec: &Spanned<InstanceSpec>) -> Result<(), FileError> {
        let (at, spec) = (spec.span(), spec.get_ref());
        let subnet = self.subnets.find(self.source, "instances.subnet", &spec.subnet)?;
        let mut new = NewInstance::new(subnet.clone(), spec.type_name.get_ref());
        new.id.clone_from(&spec.id);
        if let Some(primary) = &spec.primary {
            eni::check_primary(self.source, primary)?;
            new.primary = self.eni(primary, subnet.clone())?;
        }
        if new.primary.request.groups.is_empty() {
            new.primary.request.groups =
                self.group_ids(&subnet, "instances.groups", &spec.groups)?;
        }
        let id = self.world.start_instance(&new, self.start).map_err(|e| match e {
            e @ WorldError::UnknownInstanceType { .. } => {
                self.refused("instances.type", &spec.type_name.span(), e)
            }
            e => self.refused("instances", &at, e),
        })?;
        self.tag(id.as_str(), &spec.tags).map_err(|e| self.refused("instances.tags", &at, e))?;
        for eni in &spec.enis {
            self.attached_eni(&id, &subnet, eni)?;
        }
        Ok(())
    }

    fn attached_eni(
        &mut self,
        instance: &InstanceId,
        home: &SubnetId,
        spec: &Spanned<EniSpec>,
    ) -> Result<(), FileError> {
        let subnet = match &spec.get_ref().subnet {
            Some(name) => self.subnets.find(self.source, "instances.enis.subnet", name)?,
            None => home.clone(),
        };
        let mut new = self.eni(spec, subnet)?;
        new.place = Some(eni::place(spec.get_ref(), instance));
        let placed = self.world.place_eni(&new, self.start);
        placed.map(|_| ()).map_err(|e| self.refused("instances.enis", &spec.span(), e))
    }

    fn free_eni(&mut self, spec: &Spanned<EniSpec>) -> Result<(), FileError> {
        let name = eni::check_free(self.source, spec)?;
        let subnet = self.subnets.find(self.source, "enis.subnet", name)?;
        let new = self.eni(spec, subnet)?;
        let placed = self.world.place_eni(&new, self.start);
        placed.map(|_| ()).map_err(|e| self.refused("enis", &spec.span(), e))
    }

    /// The ids of groups by their names, which are those of the subnet's VPC.
    pub(super) fn group_ids(
        &self,
        subnet: &SubnetId,
        key: &'static str,
        names: &[Spanned<String>],
    ) -> Result<Vec<SecurityGroupId>, FileError> {
        let none = Names::new("security group");
        let vpc = self.world.subnet(subnet).map(|s| &s.vpc);
        let known = vpc.and_then(|vpc| self.groups.get(vpc)).unwrap_or(&none);
        names.iter().map(|name| known.find(self.source, key, name)).collect()
    }

    fn tag(&mut self, resource: &str, tags: &Tags) -> Result<(), WorldError> {
        let tag = |(key, value): (&String, &String)| {
            self.world.tag_foreign(resource, key, value, self.start)
        };
        tags.iter().try_for_each(tag).map_err(|e: Ec2Error| e.into())
    }

    fn refused(&self, key: &'static str, at: &Range<usize>, refusal: WorldError) -> FileError {
        self.source.error(at, FileProblem::World { key, refusal })
    }
}
