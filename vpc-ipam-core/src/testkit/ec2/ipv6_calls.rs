//! Assigning and taking IPv6 prefixes.

use std::net::Ipv6Addr;

use super::{
    action::Ec2Action,
    address_calls::{insufficient_blocks, no_ipv6, not_assigned},
    error::{Ec2Error, WorldError},
    request::{AssignIpv6Addresses, UnassignIpv6Addresses},
    space::Ipv6Space,
    world::World,
};
use crate::{addr::Prefix, id::SubnetId, time::Time};

impl World {
    /// Gives a subnet, and its VPC, an IPv6 block.
    ///
    /// # Errors
    ///
    /// If there is no such subnet or `cidr` is not an IPv6 /64.
    pub fn set_subnet_ipv6(&mut self, subnet: &SubnetId, cidr: Prefix) -> Result<(), WorldError> {
        let space = Ipv6Space::new(cidr).ok_or(WorldError::NotIpv6Subnet { cidr })?;
        let id = subnet;
        let subnet =
            self.subnet_mut(id).ok_or_else(|| WorldError::NoSuchId { id: id.to_string() })?;
        let vpc = subnet.vpc.clone();
        subnet.ipv6_cidr = Some(cidr);
        subnet.ipv6_space = Some(space);
        if let Some(vpc) = self.vpcs.iter_mut().find(|v| v.id == vpc)
            && !vpc.ipv6_cidrs.contains(&cidr)
        {
            vpc.ipv6_cidrs.push(cidr);
        }
        Ok(())
    }

    /// `AssignIpv6Addresses` with a count of prefixes. Returns the new ones.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidParameterValue` without an IPv6 subnet,
    /// `PrivateIpAddressLimitExceeded`, `InsufficientCidrBlocks`.
    pub fn assign_ipv6_addresses(
        &mut self,
        request: &AssignIpv6Addresses,
        now: Time,
    ) -> Result<Vec<Prefix>, Ec2Error> {
        let twist = self
            .before_call(Ec2Action::AssignIpv6Addresses, &[request.eni.as_str()], now)?
            .whole()?;
        self.visible_eni(&request.eni)?;
        let prefixes = twist.fewer(request.prefixes);
        let assigned = self.assign_ipv6(&AssignIpv6Addresses { prefixes, ..request.clone() });
        twist.answer(assigned)
    }

    fn assign_ipv6(&mut self, request: &AssignIpv6Addresses) -> Result<Vec<Prefix>, Ec2Error> {
        let eni = self.known_eni(&request.eni)?;
        if request.prefixes == 0 {
            return Err(Ec2Error::invalid_value("At least one prefix must be requested"));
        }
        if let Some(instance) = eni.attachment.as_ref().and_then(|a| self.instance(&a.instance)) {
            instance.check_prefixes()?;
        }
        // The limit covers addresses and prefixes; unlike IPv4 there is no primary one to leave out.
        let used = eni.ipv6_addresses.len() + eni.ipv6_prefixes.len();
        if used.saturating_add(request.prefixes as usize) > self.slots_of(&eni.id) + 1 {
            return Err(Ec2Error::address_limit());
        }
        let id = eni.subnet.clone();
        let space = self.subnet_mut(&id).and_then(|s| s.ipv6_space.as_mut());
        let space = space.ok_or_else(|| no_ipv6(&id))?;
        let taken: Vec<Prefix> = (0..request.prefixes).map_while(|_| space.take_prefix()).collect();
        if taken.len() < request.prefixes as usize {
            taken.iter().for_each(|p| space.release_prefix(*p));
            return Err(insufficient_blocks());
        }
        if let Some(eni) = self.enis.get_mut(&request.eni) {
            eni.ipv6_prefixes.extend(&taken);
        }
        self.addresses_changed(&request.eni);
        Ok(taken)
    }

    /// `UnassignIpv6Addresses` for prefixes. All or nothing.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidParameterValue` for what is not on the ENI,
    /// `MissingParameter` for an empty request.
    pub fn unassign_ipv6_addresses(
        &mut self,
        request: &UnassignIpv6Addresses,
        now: Time,
    ) -> Result<(), Ec2Error> {
        let twist = self
            .before_call(Ec2Action::UnassignIpv6Addresses, &[request.eni.as_str()], now)?
            .whole()?;
        self.visible_eni(&request.eni)?;
        let taken = self.unassign_ipv6(request);
        twist.answer(taken)
    }

    fn unassign_ipv6(&mut self, request: &UnassignIpv6Addresses) -> Result<(), Ec2Error> {
        let eni = self.known_eni(&request.eni)?;
        if request.prefixes.is_empty() {
            return Err(Ec2Error::missing_parameter("ipv6Prefixes"));
        }
        if let Some(prefix) = request.prefixes.iter().find(|p| !eni.ipv6_prefixes.contains(p)) {
            return Err(not_assigned(&prefix.to_string(), &eni.id));
        }
        let subnet = eni.subnet.clone();
        if let Some(eni) = self.enis.get_mut(&request.eni) {
            eni.ipv6_prefixes.retain(|p| !request.prefixes.contains(p));
        }
        if let Some(space) = self.subnet_mut(&subnet).and_then(|s| s.ipv6_space.as_mut()) {
            request.prefixes.iter().for_each(|p| space.release_prefix(*p));
        }
        self.addresses_changed(&request.eni);
        Ok(())
    }

    pub(super) fn take_ipv6_addresses(&mut self, subnet: &SubnetId, n: u32) -> Vec<Ipv6Addr> {
        match self.subnet_mut(subnet).and_then(|s| s.ipv6_space.as_mut()) {
            Some(space) => (0..n).map(|_| space.take_any()).collect(),
            None => Vec::new(),
        }
    }
}
