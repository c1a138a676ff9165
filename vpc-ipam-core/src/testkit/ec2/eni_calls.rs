//! Creating, attaching, changing, detaching and deleting ENIs.

use super::{
    action::Ec2Action,
    address_calls::UNATTACHED_SLOTS_MAX,
    delays::Delays,
    eni::{Attachment, AttachmentStatus, Eni, InterfaceType},
    error::{Ec2Error, code},
    instance::Instance,
    request::{
        AttachNetworkInterface, CreateNetworkInterface, DetachNetworkInterface, Ipv4Request,
        ModifyNetworkInterfaceAttribute,
    },
    tag_calls::check_tags,
    world::{CLIENT_TOKENS_MAX, World},
};
use crate::{
    id::{EniId, SecurityGroupId, SubnetId, VpcId},
    time::Time,
};

/// Security groups per ENI, EC2's default quota.
const GROUPS_MAX: usize = 5;

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
        self.before_call(Ec2Action::CreateNetworkInterface, now)?;
        if let Some(eni) = self.replayed(request)? {
            return Ok(eni);
        }
        let id = self.create_eni(request)?;
        if request.client_token.is_some() {
            if self.client_tokens.len() >= CLIENT_TOKENS_MAX {
                self.client_tokens.pop_front();
            }
            self.client_tokens.push_back((request.clone(), id.clone()));
        }
        self.eni(&id).cloned().ok_or_else(|| Ec2Error::eni_not_found(&id))
    }

    /// `AttachNetworkInterface`. Returns the attachment's id.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidInstanceID.NotFound`,
    /// `InvalidNetworkInterface.InUse`, `AttachmentLimitExceeded`, `InvalidParameterValue` for a
    /// device index that is taken, `PrivateIpAddressLimitExceeded`.
    pub fn attach_network_interface(
        &mut self,
        request: &AttachNetworkInterface,
        now: Time,
    ) -> Result<String, Ec2Error> {
        self.before_call(Ec2Action::AttachNetworkInterface, now)?;
        let eni = self.known_eni(&request.eni)?;
        let instance = self
            .instance(&request.instance)
            .ok_or_else(|| Ec2Error::instance_not_found(&request.instance))?;
        check_same_place(eni, instance)?;
        self.check_place(instance, request)?;
        check_fits(eni, instance)?;
        let id = self.ids.id_text("eni-attach-");
        let attachment = Attachment {
            id: id.clone(),
            instance: request.instance.clone(),
            device: request.device,
            card: request.card,
            delete_on_termination: false,
            status: AttachmentStatus::Attaching,
            link: false,
        };
        let delays = self.delays;
        self.start_attachment(&request.eni, attachment, delays);
        Ok(id)
    }

    /// `ModifyNetworkInterfaceAttribute`.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidAttachmentID.NotFound`, `InvalidGroup.NotFound`.
    pub fn modify_network_interface_attribute(
        &mut self,
        request: &ModifyNetworkInterfaceAttribute,
        now: Time,
    ) -> Result<(), Ec2Error> {
        self.before_call(Ec2Action::ModifyNetworkInterfaceAttribute, now)?;
        match request {
            ModifyNetworkInterfaceAttribute::DeleteOnTermination { eni, attachment, value } => {
                self.known_eni(eni)?;
                let current = self.enis.get_mut(eni).and_then(|e| e.attachment.as_mut());
                match current.filter(|a| a.id == *attachment) {
                    Some(current) => current.delete_on_termination = *value,
                    None => return Err(Ec2Error::attachment_not_found(attachment)),
                }
            }
            ModifyNetworkInterfaceAttribute::Groups { eni, groups } => {
                let vpc = self.known_eni(eni)?.vpc.clone();
                if groups.is_empty() {
                    return Err(Ec2Error::invalid_value("At least one security group is required"));
                }
                self.check_groups(groups, &vpc)?;
                if let Some(eni) = self.enis.get_mut(eni) {
                    eni.groups.clone_from(groups);
                }
                let delay = self.delays.address_to_imds;
                self.publish(eni, delay);
            }
        }
        Ok(())
    }

    /// `DetachNetworkInterface`. The ENI is `available` only after a while.
    ///
    /// # Errors
    ///
    /// `InvalidAttachmentID.NotFound`, `OperationNotPermitted` for the primary ENI,
    /// `IncorrectState` while a detachment is under way.
    pub fn detach_network_interface(
        &mut self,
        request: &DetachNetworkInterface,
        now: Time,
    ) -> Result<(), Ec2Error> {
        self.before_call(Ec2Action::DetachNetworkInterface, now)?;
        let eni = self
            .enis
            .values()
            .find(|e| e.attachment.as_ref().is_some_and(|a| a.id == request.attachment))
            .ok_or_else(|| Ec2Error::attachment_not_found(&request.attachment))?;
        if eni.is_primary() {
            return Err(Ec2Error::new(
                code::OPERATION_NOT_PERMITTED,
                "The network interface at device index 0 and networkCard index 0 cannot be detached.",
            ));
        }
        let detaching =
            eni.attachment.as_ref().is_some_and(|a| a.status == AttachmentStatus::Detaching);
        if detaching && !request.force {
            return Err(Ec2Error::new(
                code::INCORRECT_STATE,
                format!("Attachment '{}' is in state 'detaching'", request.attachment),
            ));
        }
        let id = eni.id.clone();
        let delays = if request.force { Delays::NONE } else { self.delays };
        self.start_detachment(&id, delays);
        Ok(())
    }

    /// `DeleteNetworkInterface`. Its addresses are free afterwards.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidParameterValue` while it is attached, be it on
    /// its way out.
    pub fn delete_network_interface(&mut self, eni: &EniId, now: Time) -> Result<(), Ec2Error> {
        self.before_call(Ec2Action::DeleteNetworkInterface, now)?;
        if self.known_eni(eni)?.attachment.is_some() {
            return Err(Ec2Error::invalid_value(format!(
                "Network interface '{eni}' is currently in use."
            )));
        }
        self.remove_eni(eni);
        Ok(())
    }

    /// Detaches and deletes an ENI at once, as if someone else had done it: no EC2 call is counted.
    /// Unknown ids are ignored, and so is a primary ENI, which lives as long as its instance.
    pub fn evict_eni(&mut self, eni: &EniId, now: Time) {
        self.advance(now);
        if self.eni(eni).is_some_and(|e| !e.is_primary()) {
            self.finish_detachment(eni);
            self.remove_eni(eni);
        }
    }

    pub(super) fn create_eni(
        &mut self,
        request: &CreateNetworkInterface,
    ) -> Result<EniId, Ec2Error> {
        let (vpc, zone, default_group) = self.home_of(&request.subnet)?;
        self.check_groups(&request.groups, &vpc)?;
        check_tags(&request.tags)?;
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
        let id: EniId = self.ids.id("eni-");
        let eni = Eni {
            id: id.clone(),
            mac: self.free_mac(),
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
        Ok(id)
    }

    pub(super) fn known_eni(&self, eni: &EniId) -> Result<&Eni, Ec2Error> {
        self.eni(eni).ok_or_else(|| Ec2Error::eni_not_found(eni))
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

    fn check_groups(&self, groups: &[SecurityGroupId], vpc: &VpcId) -> Result<(), Ec2Error> {
        if groups.len() > GROUPS_MAX {
            return Err(Ec2Error::new(
                "SecurityGroupsPerInterfaceLimitExceeded",
                "The maximum number of security groups per interface has been reached.",
            ));
        }
        for id in groups {
            match self.security_group(id) {
                Some(group) if group.vpc == *vpc => {}
                Some(_) => {
                    return Err(Ec2Error::invalid_value(format!(
                        "You have specified two resources that belong to different networks: '{id}' and '{vpc}'."
                    )));
                }
                None => return Err(Ec2Error::group_not_found(id)),
            }
        }
        Ok(())
    }

    /// The card exists and has room, and the device index is free.
    fn check_place(
        &self,
        instance: &Instance,
        request: &AttachNetworkInterface,
    ) -> Result<(), Ec2Error> {
        let type_name = instance.instance_type.name;
        let limit = usize::try_from(request.card)
            .ok()
            .and_then(|card| instance.instance_type.card_enis.get(card).copied())
            .ok_or_else(|| {
                Ec2Error::invalid_value(format!(
                    "Network card index '{}' does not exist on instance type {type_name}",
                    request.card
                ))
            })?;
        let enis = self.enis_of(&instance.id);
        let on_card: Vec<&Attachment> = enis
            .iter()
            .filter_map(|e| e.attachment.as_ref())
            .filter(|a| a.card == request.card)
            .collect();
        if on_card.iter().any(|a| a.device == request.device) {
            return Err(Ec2Error::invalid_value(format!(
                "Instance '{}' already has an interface attached at device index '{}'.",
                instance.id, request.device
            )));
        }
        if on_card.len() >= limit as usize {
            return Err(Ec2Error::new(
                code::ATTACHMENT_LIMIT_EXCEEDED,
                format!("Interface count {} exceeds the limit for {type_name}", on_card.len() + 1),
            ));
        }
        Ok(())
    }

    fn free_mac(&mut self) -> crate::id::MacAddr {
        loop {
            let mac = self.ids.mac();
            if self.enis.values().all(|e| e.mac != mac) {
                return mac;
            }
        }
    }

    fn remove_eni(&mut self, id: &EniId) {
        let Some(eni) = self.enis.remove(id) else { return };
        let Some(subnet) = self.subnet_mut(&eni.subnet) else { return };
        for ip in eni.primary_ip.iter().chain(&eni.secondary_ips) {
            subnet.space.release(*ip);
        }
        for prefix in &eni.prefixes {
            subnet.space.release_prefix(*prefix);
        }
        if let Some(space) = &mut subnet.ipv6_space {
            eni.ipv6_addresses.iter().for_each(|ip| space.release(*ip));
            eni.ipv6_prefixes.iter().for_each(|prefix| space.release_prefix(*prefix));
        }
    }
}

fn check_same_place(eni: &Eni, instance: &Instance) -> Result<(), Ec2Error> {
    if eni.attachment.is_some() {
        return Err(Ec2Error::new(
            code::INVALID_INTERFACE_IN_USE,
            format!("Interface: [{}] in use.", eni.id),
        ));
    }
    if eni.availability_zone != instance.availability_zone {
        return Err(Ec2Error::invalid_combination(
            "You may not attach a network interface to an instance if they are not in the same availability zone",
        ));
    }
    if eni.vpc != instance.vpc {
        return Err(Ec2Error::invalid_combination(format!(
            "Network interface '{}' and instance '{}' are in different VPCs",
            eni.id, instance.id
        )));
    }
    Ok(())
}

/// What the ENI holds is allowed on that instance type.
fn check_fits(eni: &Eni, instance: &Instance) -> Result<(), Ec2Error> {
    if !eni.prefixes.is_empty() {
        instance.check_prefixes()?;
    }
    if eni.slots_used() > instance.instance_type.slots() as usize {
        return Err(Ec2Error::address_limit());
    }
    Ok(())
}

impl Instance {
    pub(super) fn check_prefixes(&self) -> Result<(), Ec2Error> {
        if self.instance_type.takes_prefixes() {
            return Ok(());
        }
        Err(Ec2Error::new(
            code::UNSUPPORTED_OPERATION,
            format!(
                "Prefix delegation is not supported on instance type {}",
                self.instance_type.name
            ),
        ))
    }
}
