//! Creating, attaching, changing, detaching and deleting ENIs.

use super::{
    action::Ec2Action,
    catalog::InstanceType,
    delays::Delays,
    eni::{Attachment, AttachmentStatus, Eni},
    error::{Ec2Error, code},
    instance::Instance,
    request::{AttachNetworkInterface, DetachNetworkInterface, ModifyNetworkInterfaceAttribute},
    world::World,
};
use crate::{
    id::{EniId, SecurityGroupId, VpcId},
    time::Time,
};

/// Security groups per ENI, EC2's default quota.
const GROUPS_MAX: usize = 5;

impl World {
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
        let twist = self
            .before_call(
                Ec2Action::AttachNetworkInterface,
                &[request.eni.as_str(), request.instance.as_str()],
                now,
            )?
            .whole()?;
        self.visible_eni(&request.eni)?;
        let delays = self.delays;
        let attached = self.attach(request, delays);
        twist.answer(attached)
    }

    pub(super) fn attach(
        &mut self,
        request: &AttachNetworkInterface,
        delays: Delays,
    ) -> Result<String, Ec2Error> {
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
        let twist = self
            .before_call(
                Ec2Action::ModifyNetworkInterfaceAttribute,
                &[request.eni().as_str()],
                now,
            )?
            .whole()?;
        let modified = self.modify(request);
        twist.answer(modified)
    }

    fn modify(&mut self, request: &ModifyNetworkInterfaceAttribute) -> Result<(), Ec2Error> {
        match request {
            ModifyNetworkInterfaceAttribute::DeleteOnTermination { eni, attachment, value } => {
                self.visible_eni(eni)?;
                let current = self.enis.get_mut(eni).and_then(|e| e.attachment.as_mut());
                match current.filter(|a| a.id == *attachment) {
                    Some(current) => current.delete_on_termination = *value,
                    None => return Err(Ec2Error::attachment_not_found(attachment)),
                }
                self.touch(eni);
            }
            ModifyNetworkInterfaceAttribute::Groups { eni, groups } => {
                self.visible_eni(eni)?;
                self.set_groups(eni, groups)?;
            }
        }
        Ok(())
    }

    pub(super) fn set_groups(
        &mut self,
        eni: &EniId,
        groups: &[SecurityGroupId],
    ) -> Result<(), Ec2Error> {
        let vpc = self.known_eni(eni)?.vpc.clone();
        if groups.is_empty() {
            return Err(Ec2Error::invalid_value("At least one security group is required"));
        }
        self.check_groups(groups, &vpc)?;
        if let Some(eni) = self.enis.get_mut(eni) {
            eni.groups = groups.to_vec();
        }
        self.touch(eni);
        let delay = self.delays.address_to_imds;
        self.publish(eni, delay);
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
        let eni = self.attached_as(&request.attachment).map(|eni| eni.id.clone());
        let eni = eni.as_ref().map_or("", |eni| eni.as_str());
        let names = [eni, request.attachment.as_str()];
        let twist = self.before_call(Ec2Action::DetachNetworkInterface, &names, now)?.whole()?;
        let detached = self.detach(request);
        twist.answer(detached)
    }

    fn detach(&mut self, request: &DetachNetworkInterface) -> Result<(), Ec2Error> {
        let eni = self
            .attached_as(&request.attachment)
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
        let twist =
            self.before_call(Ec2Action::DeleteNetworkInterface, &[eni.as_str()], now)?.whole()?;
        self.visible_eni(eni)?;
        let deleted = self.delete(eni);
        twist.answer(deleted)
    }

    fn delete(&mut self, eni: &EniId) -> Result<(), Ec2Error> {
        if self.known_eni(eni)?.attachment.is_some() {
            return Err(Ec2Error::invalid_value(format!(
                "Network interface '{eni}' is currently in use."
            )));
        }
        self.remove_eni(eni);
        Ok(())
    }

    fn attached_as(&self, attachment: &str) -> Option<&Eni> {
        let is = |a: &Attachment| a.id == attachment;
        self.enis.values().find(|e| e.attachment.as_ref().is_some_and(is))
    }

    pub(super) fn known_eni(&self, eni: &EniId) -> Result<&Eni, Ec2Error> {
        self.eni(eni).ok_or_else(|| Ec2Error::eni_not_found(eni))
    }

    pub(super) fn check_groups(
        &self,
        groups: &[SecurityGroupId],
        vpc: &VpcId,
    ) -> Result<(), Ec2Error> {
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

    pub(super) fn remove_eni(&mut self, id: &EniId) {
        let Some(eni) = self.enis.remove(id) else { return };
        self.touch(id);
        self.unheard.remove(id);
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
        self.instance_type.check_prefixes()
    }
}

impl InstanceType {
    pub(super) fn check_prefixes(&self) -> Result<(), Ec2Error> {
        if self.takes_prefixes() {
            return Ok(());
        }
        Err(Ec2Error::new(
            code::UNSUPPORTED_OPERATION,
            format!("Prefix delegation is not supported on instance type {}", self.name),
        ))
    }
}
