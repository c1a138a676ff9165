//! Assigning and taking IPv4 addresses and prefixes.

use std::net::Ipv4Addr;

use super::{
    action::Ec2Action,
    eni::InterfaceType,
    error::{Ec2Error, code},
    faults::Twist,
    request::{AssignPrivateIpAddresses, Assigned, Ipv4Request, UnassignPrivateIpAddresses},
    world::World,
};
use crate::{
    addr::Prefix,
    id::{EniId, SubnetId},
    time::Time,
};

/// Secondary addresses of an ENI that is attached nowhere: the most that any type allows.
pub(super) const UNATTACHED_SLOTS_MAX: usize = 49;

impl Ipv4Request {
    /// Slots that this takes on an ENI.
    pub fn slots(self) -> usize {
        match self {
            Self::Prefixes(n) | Self::Secondary(n) => n as usize,
        }
    }

    pub(super) fn fewer(self, twist: &Twist) -> Self {
        match self {
            Self::Prefixes(n) => Self::Prefixes(twist.fewer(n)),
            Self::Secondary(n) => Self::Secondary(twist.fewer(n)),
        }
    }
}

impl World {
    /// `AssignPrivateIpAddresses`. All that was asked for, or nothing.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `PrivateIpAddressLimitExceeded`,
    /// `InsufficientFreeAddressesInSubnet`, `InsufficientCidrBlocks`, `UnsupportedOperation` for
    /// prefixes on a type without them.
    pub fn assign_private_ip_addresses(
        &mut self,
        request: &AssignPrivateIpAddresses,
        now: Time,
    ) -> Result<Assigned, Ec2Error> {
        let twist = self
            .before_call(Ec2Action::AssignPrivateIpAddresses, &[request.eni.as_str()], now)?
            .whole()?;
        self.visible_eni(&request.eni)?;
        let request =
            AssignPrivateIpAddresses { ipv4: request.ipv4.fewer(&twist), ..request.clone() };
        let assigned = self.assign(&request);
        twist.answer(assigned)
    }

    pub(super) fn assign(
        &mut self,
        request: &AssignPrivateIpAddresses,
    ) -> Result<Assigned, Ec2Error> {
        let eni = self.known_eni(&request.eni)?;
        if request.ipv4.slots() == 0 {
            return Err(Ec2Error::invalid_value(
                "At least one address or prefix must be requested",
            ));
        }
        if eni.kind == InterfaceType::EfaOnly {
            return Err(Ec2Error::invalid_value(format!(
                "Network interface '{}' is efa-only and cannot have IP addresses",
                eni.id
            )));
        }
        let subnet = eni.subnet.clone();
        if eni.slots_used().saturating_add(request.ipv4.slots()) > self.slots_of(&request.eni) {
            return Err(Ec2Error::address_limit());
        }
        if let (Ipv4Request::Prefixes(_), Some(attachment)) = (request.ipv4, &eni.attachment)
            && let Some(instance) = self.instance(&attachment.instance)
        {
            instance.check_prefixes()?;
        }
        self.check_room(&subnet, 0, Some(request.ipv4), false)?;
        let taken = self.take(&subnet, request.ipv4);
        if let Some(eni) = self.enis.get_mut(&request.eni) {
            eni.secondary_ips.extend(&taken.addresses);
            eni.prefixes.extend(&taken.prefixes);
        }
        self.addresses_changed(&request.eni);
        Ok(taken)
    }

    /// `UnassignPrivateIpAddresses`. All or nothing.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidParameterValue` for what is not on the ENI and
    /// for its primary address, `MissingParameter` for an empty request.
    pub fn unassign_private_ip_addresses(
        &mut self,
        request: &UnassignPrivateIpAddresses,
        now: Time,
    ) -> Result<(), Ec2Error> {
        let twist =
            self.before_call(Ec2Action::UnassignPrivateIpAddresses, &[request.eni.as_str()], now)?;
        self.visible_eni(&request.eni)?;
        let mut request = request.clone();
        if let Some(n) = twist.partly() {
            request.addresses.truncate(n);
            request.prefixes.truncate(n.saturating_sub(request.addresses.len()));
            if request.addresses.is_empty() && request.prefixes.is_empty() {
                return twist.answer(Ok(()));
            }
        }
        let taken = self.unassign(&request);
        twist.answer(taken)
    }

    pub(super) fn unassign(
        &mut self,
        request: &UnassignPrivateIpAddresses,
    ) -> Result<(), Ec2Error> {
        let eni = self.known_eni(&request.eni)?;
        if request.addresses.is_empty() && request.prefixes.is_empty() {
            return Err(Ec2Error::missing_parameter("privateIpAddress"));
        }
        for ip in &request.addresses {
            if eni.primary_ip == Some(*ip) {
                return Err(Ec2Error::invalid_value(format!(
                    "Address {ip} is the primary address of interface {} and cannot be unassigned",
                    eni.id
                )));
            }
            if !eni.secondary_ips.contains(ip) {
                return Err(not_assigned(&ip.to_string(), &eni.id));
            }
        }
        if let Some(prefix) = request.prefixes.iter().find(|p| !eni.prefixes.contains(p)) {
            return Err(not_assigned(&prefix.to_string(), &eni.id));
        }
        let subnet = eni.subnet.clone();
        if let Some(eni) = self.enis.get_mut(&request.eni) {
            eni.secondary_ips.retain(|ip| !request.addresses.contains(ip));
            eni.prefixes.retain(|p| !request.prefixes.contains(p));
        }
        if let Some(subnet) = self.subnet_mut(&subnet) {
            request.addresses.iter().for_each(|ip| subnet.space.release(*ip));
            request.prefixes.iter().for_each(|p| subnet.space.release_prefix(*p));
        }
        self.addresses_changed(&request.eni);
        Ok(())
    }

    /// Slots that the ENI has where it is now.
    pub(super) fn slots_of(&self, eni: &EniId) -> usize {
        let attachment = self.eni(eni).and_then(|e| e.attachment.as_ref());
        attachment
            .and_then(|a| self.instance(&a.instance))
            .map_or(UNATTACHED_SLOTS_MAX, |i| i.instance_type.slots() as usize)
    }

    /// The subnet can give `single` addresses and `ipv4` on top.
    pub(super) fn check_room(
        &self,
        subnet: &SubnetId,
        single: u32,
        ipv4: Option<Ipv4Request>,
        ipv6: bool,
    ) -> Result<(), Ec2Error> {
        let subnet = self.subnet(subnet).ok_or_else(|| Ec2Error::subnet_not_found(subnet))?;
        if ipv6 && subnet.ipv6_space.is_none() {
            return Err(no_ipv6(&subnet.id));
        }
        let (addresses, prefixes) = match ipv4 {
            None => (single, 0),
            Some(Ipv4Request::Secondary(n)) => (single.saturating_add(n), 0),
            Some(Ipv4Request::Prefixes(n)) => (single, n),
        };
        if prefixes as usize > subnet.free_prefixes() {
            return Err(insufficient_blocks());
        }
        let left = subnet.available_ips().saturating_sub(prefixes.saturating_mul(16));
        if addresses > left {
            return Err(Ec2Error::new(
                code::INSUFFICIENT_FREE_ADDRESSES,
                "The specified subnet does not have enough free addresses to satisfy the request.",
            ));
        }
        Ok(())
    }

    /// Takes what [`check_room`](Self::check_room) has allowed. Prefixes come before single addresses, which
    /// fit anywhere.
    pub(super) fn take(&mut self, subnet: &SubnetId, ipv4: Ipv4Request) -> Assigned {
        match ipv4 {
            Ipv4Request::Secondary(n) => {
                Assigned { addresses: self.take_addresses(subnet, n), prefixes: Vec::new() }
            }
            Ipv4Request::Prefixes(n) => {
                Assigned { addresses: Vec::new(), prefixes: self.take_prefixes(subnet, n) }
            }
        }
    }

    pub(super) fn take_addresses(&mut self, subnet: &SubnetId, n: u32) -> Vec<Ipv4Addr> {
        let how = self.allocation;
        let mut random = self.scatter.clone();
        let taken = self.subnet_mut(subnet).map_or_else(Vec::new, |subnet| {
            (0..n).filter_map(|_| subnet.space.take_any(how, &mut random)).collect()
        });
        self.scatter = random;
        taken
    }

    fn take_prefixes(&mut self, subnet: &SubnetId, n: u32) -> Vec<Prefix> {
        let how = self.allocation;
        let mut random = self.scatter.clone();
        let taken = self.subnet_mut(subnet).map_or_else(Vec::new, |subnet| {
            (0..n).filter_map(|_| subnet.space.take_prefix(how, &mut random)).collect()
        });
        self.scatter = random;
        taken
    }
}

pub(super) fn no_ipv6(subnet: &SubnetId) -> Ec2Error {
    Ec2Error::invalid_value(format!("The subnet '{subnet}' has no IPv6 CIDR block"))
}

pub(super) fn not_assigned(what: &str, eni: &EniId) -> Ec2Error {
    Ec2Error::invalid_value(format!("[{what}] is not assigned to interface {eni}"))
}

pub(super) fn insufficient_blocks() -> Ec2Error {
    Ec2Error::new(
        code::INSUFFICIENT_CIDR_BLOCKS,
        "The specified subnet does not have enough free cidr blocks to satisfy the request.",
    )
}
