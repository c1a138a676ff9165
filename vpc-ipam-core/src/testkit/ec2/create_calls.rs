//! Creating ENIs.

use super::{
    action::Ec2Action,
    address_calls::UNATTACHED_SLOTS_MAX,
    eni::{ConnectionTracking, Eni, InterfaceType},
    error::{Ec2Error, code},
    faults::Twist,
    request::{CreateNetworkInterface, Ipv4Request},
    tag_calls::check_tags,
    world::{CLIENT_TOKENS_MAX, World},
};
use crate::{
    id::{EniId, MacAddr, SecurityGroupId, SubnetId, VpcId},
    time::Time,
};

impl World {
    /// `CreateNetworkInterface`. All that was asked for, or nothing.
    ///
    /// # Errors
    ///
    /// `InvalidSubnetID.NotFound`, `InvalidGroup.NotFound`, `InsufficientFreeAddressesInSubnet`,
    /// `InsufficientCidrBlocks`, `PrivateIpAddressLimitExceeded`, `IdempotentParameterMismatch`.
    pub fn create_network_interface(
        &mut self,
        request: &CreateNetworkInterface,
        now: Time,
    ) -> Result<Eni, Ec2Error> {
        let twist = self
            .before_call(Ec2Action::CreateNetworkInterface, &[request.subnet.as_str()], now)?
            .whole()?;
        let created = self.create_or_replay(request, &twist);
        twist.answer(created)
    }

    fn create_or_replay(
        &mut self,
        request: &CreateNetworkInterface,
        twist: &Twist,
    ) -> Result<Eni, Ec2Error> {
        if let Some(eni) = self.replayed(request)? {
            if !twist.is_lost() {
                self.unheard.remove(&eni.id);
            }
            return Ok(eni);
        }
        let ipv4 = request.ipv4.map(|ipv4| ipv4.fewer(twist));
        let id = self.create_eni(&CreateNetworkInterface { ipv4, ..request.clone() })?;
        self.hide_for_a_while(&id);
        if twist.is_lost() {
            self.unheard.insert(id.clone());
        }
        if request.client_token.is_some() {
            if self.client_tokens.len() >= CLIENT_TOKENS_MAX {
                self.client_tokens.pop_front();
            }
            self.client_tokens.push_back((request.clone(), id.clone()));
        }
        self.eni(&id).cloned().ok_or_else(|| Ec2Error::eni_not_found(&id))
    }

    pub(super) fn create_eni(
        &mut self,
        request: &CreateNetworkInterface,
    ) -> Result<EniId, Ec2Error> {
        self.create_eni_as(request, None, None)
    }

    /// With an id and a MAC that are free, where they are given.
    pub(super) fn create_eni_as(
        &mut self,
        request: &CreateNetworkInterface,
        id: Option<EniId>,
        mac: Option<MacAddr>,
    ) -> Result<EniId, Ec2Error> {
        let (vpc, zone, default_group) = self.home_of(&request.subnet)?;
        self.check_groups(&request.groups, &vpc)?;
        check_tags(&request.tags)?;
        request.connection_tracking.iter().try_for_each(ConnectionTracking::check)?;
        let no_ip = request.kind == InterfaceType::EfaOnly;
        if no_ip && (request.ipv4.is_some() || request.ipv6_addresses > 0) {
            return Err(Ec2Error::invalid_combination(
                "An efa-only network interface cannot have IP addresses",
            ));
        }
        let slots = request.ipv4.map_or(0, Ipv4Request::slots);
        if slots > UNATTACHED_SLOTS_MAX
            || request.ipv6_addresses as usize > UNATTACHED_SLOTS_MAX + 1
        {
            return Err(Ec2Error::address_limit());
        }
        let primary = u32::from(!no_ip);
        self.check_room(&request.subnet, primary, request.ipv4, request.ipv6_addresses > 0)?;
        let prefixes = request.ipv4.filter(|r| matches!(r, Ipv4Request::Prefixes(_)));
        let mut taken = prefixes.map(|r| self.take(&request.subnet, r)).unwrap_or_default();
        let primary_ip = self.take_addresses(&request.subnet, primary).into_iter().next();
        if let Some(Ipv4Request::Secondary(n)) = request.ipv4 {
            taken.addresses = self.take_addresses(&request.subnet, n);
        }
        let groups =
            if request.groups.is_empty() { vec![default_group] } else { request.groups.clone() };
        let id: EniId = id.unwrap_or_else(|| self.ids.id("eni-"));
        let eni = Eni {
            id: id.clone(),
            mac: mac.unwrap_or_else(|| self.free_mac()),
            vpc,
            subnet: request.subnet.clone(),
            availability_zone: zone,
            primary_ip,
            secondary_ips: taken.addresses,
            prefixes: taken.prefixes,
            ipv6_addresses: self.take_ipv6_addresses(&request.subnet, request.ipv6_addresses),
            ipv6_prefixes: Vec::new(),
            groups,
            description: request.description.clone(),
            tags: request.tags.clone(),
            kind: request.kind,
            connection_tracking: request.connection_tracking,
            attachment: None,
        };
        self.enis.insert(id.clone(), eni);
        self.touch(&id);
        Ok(id)
    }

    /// What a call with the same client token made, if there was one.
    fn replayed(&self, request: &CreateNetworkInterface) -> Result<Option<Eni>, Ec2Error> {
        let Some(token) = &request.client_token else { return Ok(None) };
        let former =
            self.client_tokens.iter().find(|(r, _)| r.client_token.as_ref() == Some(token));
        match former {
            None => Ok(None),
            Some((former, eni)) if former == request => self.known_eni(eni).cloned().map(Some),
            Some(_) => Err(Ec2Error::new(
                code::IDEMPOTENT_PARAMETER_MISMATCH,
                "The client token you have provided has already been used with different parameters.",
            )),
        }
    }

    fn home_of(&self, id: &SubnetId) -> Result<(VpcId, String, SecurityGroupId), Ec2Error> {
        let subnet = self.subnet(id).ok_or_else(|| Ec2Error::subnet_not_found(id))?;
        let vpc = self.vpc(&subnet.vpc).ok_or_else(|| Ec2Error::subnet_not_found(id))?;
        Ok((vpc.id.clone(), subnet.availability_zone.clone(), vpc.default_group.clone()))
    }

    fn free_mac(&mut self) -> MacAddr {
        loop {
            let mac = self.ids.mac();
            if self.enis.values().all(|e| e.mac != mac) {
                return mac;
            }
        }
    }
}
