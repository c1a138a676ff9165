//! What others do with ENIs: users, controllers, and people with a console. At once, not counted as
//! calls of the account's nodes, and not subject to their faults and limits.

use std::collections::BTreeMap;

use super::{
    eni::{Eni, InterfaceType},
    error::Ec2Error,
    request::{
        AssignPrivateIpAddresses, Assigned, AttachNetworkInterface, CreateNetworkInterface,
        CreateTags, Ipv4Request, UnassignPrivateIpAddresses,
    },
    world::World,
};
use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, SecurityGroupId, SubnetId},
    time::Time,
};

/// An ENI that somebody else attaches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ForeignEni {
    /// Purpose.
    pub kind: InterfaceType,
    /// Network card.
    pub card: u32,
    /// Subnet; `None` for that of the instance.
    pub subnet: Option<SubnetId>,
    /// What it holds besides its primary address.
    pub ipv4: Option<Ipv4Request>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl World {
    /// Somebody attaches an ENI to `instance`, at the lowest free device index of the card.
    ///
    /// # Errors
    ///
    /// Those of `CreateNetworkInterface` and `AttachNetworkInterface`; nothing is left behind.
    pub fn attach_foreign(
        &mut self,
        instance: &InstanceId,
        foreign: &ForeignEni,
        now: Time,
    ) -> Result<EniId, Ec2Error> {
        self.advance(now);
        let home = self.instance(instance).ok_or_else(|| Ec2Error::instance_not_found(instance))?;
        let subnet = foreign.subnet.clone().unwrap_or_else(|| home.subnet.clone());
        let request = CreateNetworkInterface {
            kind: foreign.kind,
            ipv4: foreign.ipv4,
            tags: foreign.tags.clone(),
            ..CreateNetworkInterface::new(subnet)
        };
        let eni = self.create_eni(&request)?;
        let attach = AttachNetworkInterface {
            eni: eni.clone(),
            instance: instance.clone(),
            device: self.free_device(instance, foreign.card),
            card: foreign.card,
        };
        let delays = self.delays;
        if let Err(error) = self.attach(&attach, delays) {
            self.remove_eni(&eni);
            return Err(error);
        }
        self.foreign.insert(eni.clone());
        Ok(eni)
    }

    /// Somebody adds addresses or prefixes to an ENI.
    ///
    /// # Errors
    ///
    /// Those of `AssignPrivateIpAddresses`.
    pub fn assign_foreign(
        &mut self,
        eni: &EniId,
        ipv4: Ipv4Request,
        now: Time,
    ) -> Result<Assigned, Ec2Error> {
        self.advance(now);
        self.assign(&AssignPrivateIpAddresses { eni: eni.clone(), ipv4 })
    }

    /// Somebody takes addresses and prefixes from an ENI.
    ///
    /// # Errors
    ///
    /// Those of `UnassignPrivateIpAddresses`.
    pub fn unassign_foreign(
        &mut self,
        eni: &EniId,
        cidrs: &[Prefix],
        now: Time,
    ) -> Result<(), Ec2Error> {
        self.advance(now);
        let mut request =
            UnassignPrivateIpAddresses { eni: eni.clone(), addresses: vec![], prefixes: vec![] };
        for cidr in cidrs {
            match cidr.base() {
                std::net::IpAddr::V4(ip) if cidr.is_host() => request.addresses.push(ip),
                _ => request.prefixes.push(*cidr),
            }
        }
        self.unassign(&request)
    }

    /// Somebody tags an ENI, a subnet or an instance.
    ///
    /// # Errors
    ///
    /// Those of `CreateTags`.
    pub fn tag_foreign(
        &mut self,
        resource: &str,
        key: &str,
        value: &str,
        now: Time,
    ) -> Result<(), Ec2Error> {
        self.advance(now);
        self.tag(&CreateTags {
            resources: vec![resource.to_owned()],
            tags: [(key.to_owned(), value.to_owned())].into(),
        })
    }

    /// Somebody gives an ENI other security groups.
    ///
    /// # Errors
    ///
    /// Those of `ModifyNetworkInterfaceAttribute`.
    pub fn set_groups_foreign(
        &mut self,
        eni: &EniId,
        groups: &[SecurityGroupId],
        now: Time,
    ) -> Result<(), Ec2Error> {
        self.advance(now);
        self.set_groups(eni, groups)
    }

    /// Somebody takes tags off an ENI, a subnet or an instance. Keys that it does not have are ignored.
    ///
    /// # Errors
    ///
    /// The `…NotFound` of the resource's kind, `InvalidID` for other kinds.
    pub fn untag_foreign(
        &mut self,
        resource: &str,
        keys: &[String],
        now: Time,
    ) -> Result<(), Ec2Error> {
        self.advance(now);
        self.untag(resource, keys)
    }

    /// Detaches an ENI at once, as if someone else had done it, and leaves it `available`. Unknown ids
    /// are ignored, and so is a primary ENI, which lives as long as its instance.
    pub fn detach_foreign(&mut self, eni: &EniId, now: Time) {
        self.advance(now);
        if self.eni(eni).is_some_and(|e| !e.is_primary()) {
            self.finish_detachment(eni);
            self.foreign.insert(eni.clone());
        }
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

    /// ENIs that nobody holds and that are no node's to clean up: those that others attached or
    /// detached, and those whose creation took effect without the caller's hearing of it, which only
    /// a sweep over the account can find.
    pub fn is_abandoned(&self, eni: &Eni) -> bool {
        eni.attachment.is_none()
            && (self.foreign.contains(&eni.id) || self.unheard.contains(&eni.id))
    }

    pub(super) fn free_device(&self, instance: &InstanceId, card: u32) -> u32 {
        let enis = self.enis_of(instance);
        let on_card = enis.iter().filter_map(|e| e.attachment.as_ref()).filter(|a| a.card == card);
        let used: Vec<u32> = on_card.map(|a| a.device).collect();
        (0..u32::MAX).find(|device| !used.contains(device)).unwrap_or(u32::MAX)
    }
}
