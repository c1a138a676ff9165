//! Laying out a world: instances and ENIs as they are when it begins, with ids of one's choice.

use std::collections::{BTreeMap, VecDeque};

use super::{
    catalog::{InstanceType, instance_type, instance_types},
    delays::Delays,
    eni::{Attachment, AttachmentStatus},
    error::{Ec2Error, WorldError},
    imds_faults::ImdsFaults,
    instance::Instance,
    request::{AttachNetworkInterface, CreateNetworkInterface, Ipv4Request},
    world::{World, check_free},
};
use crate::{
    id::{EniId, InstanceId, MacAddr, SubnetId},
    time::Time,
};

/// An ENI that is simply there: no call is counted and no delay passes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewEni {
    /// Its id; `None` for one of the world's choice.
    pub id: Option<EniId>,
    /// Its link-layer address; `None` for one of the world's choice.
    pub mac: Option<MacAddr>,
    /// Everything else. A client token is ignored.
    pub request: CreateNetworkInterface,
    /// Where it is attached; `None` for an ENI that is available.
    pub place: Option<Place>,
}

impl NewEni {
    /// An ordinary ENI with nothing but a primary address, attached nowhere.
    pub fn new(subnet: SubnetId) -> Self {
        Self { id: None, mac: None, request: CreateNetworkInterface::new(subnet), place: None }
    }
}

/// Where an ENI is attached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The instance.
    pub instance: InstanceId,
    /// Network card index.
    pub card: u32,
    /// Device index on the card; `None` for the lowest that is free.
    pub device: Option<u32>,
    /// Whether the ENI dies with the instance.
    pub delete_on_termination: bool,
}

/// An instance that is simply there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewInstance {
    /// Its id; `None` for one of the world's choice.
    pub id: Option<InstanceId>,
    /// For example `m5.large`.
    pub type_name: String,
    /// The ENI it is born with; its `place` is ignored. Where no IPv6 address is asked for it gets one
    /// if the subnet has an IPv6 block.
    pub primary: NewEni,
    /// Tags of the instance.
    pub tags: BTreeMap<String, String>,
}

impl NewInstance {
    /// An instance with an ordinary primary ENI in `subnet`.
    pub fn new(subnet: SubnetId, type_name: &str) -> Self {
        Self {
            id: None,
            type_name: type_name.to_owned(),
            primary: NewEni::new(subnet),
            tags: BTreeMap::new(),
        }
    }
}

impl World {
    /// Starts an instance with its primary ENI, attached and visible at once. It has an IPv6 address if
    /// the subnet has an IPv6 block.
    ///
    /// # Errors
    ///
    /// If the type is unknown or the subnet does not exist or is full.
    pub fn add_instance(
        &mut self,
        subnet: &SubnetId,
        type_name: &str,
        now: Time,
    ) -> Result<InstanceId, WorldError> {
        self.start_instance(&NewInstance::new(subnet.clone(), type_name), now)
    }

    /// Starts an instance; its primary ENI is attached and visible at once.
    ///
    /// # Errors
    ///
    /// If the type is unknown or cannot hold so many addresses, an id is taken, or the subnet does not
    /// exist or is full.
    pub fn start_instance(
        &mut self,
        new: &NewInstance,
        now: Time,
    ) -> Result<InstanceId, WorldError> {
        self.advance(now);
        let found = instance_type(&new.type_name).ok_or_else(|| unknown_type(&new.type_name))?;
        let mut request = new.primary.request.clone();
        check_birth(found, request.ipv4)?;
        if let Some(id) = &new.id {
            check_free(id.as_str(), self.instance(id).is_none())?;
        }
        let has_ipv6 = self.subnet(&request.subnet).is_some_and(|s| s.ipv6_cidr.is_some());
        request.ipv6_addresses = request.ipv6_addresses.max(u32::from(has_ipv6));
        let eni = self.new_eni(&NewEni { request, ..new.primary.clone() })?;
        let home = self.eni(&eni).ok_or_else(|| WorldError::NoSuchId { id: eni.to_string() })?;
        let (vpc, subnet, availability_zone) =
            (home.vpc.clone(), home.subnet.clone(), home.availability_zone.clone());
        let id: InstanceId = new.id.clone().unwrap_or_else(|| self.ids.id("i-"));
        self.instances.push(Instance {
            id: id.clone(),
            instance_type: found,
            vpc,
            subnet,
            availability_zone,
            primary_eni: eni.clone(),
            launched: self.now(),
            tags: new.tags.clone(),
            metadata: BTreeMap::<_, VecDeque<_>>::new(),
            imds: ImdsFaults::default(),
        });
        let attachment = Attachment {
            id: self.ids.id_text("eni-attach-"),
            instance: id.clone(),
            device: 0,
            card: 0,
            delete_on_termination: true,
            status: AttachmentStatus::Attached,
            link: false,
        };
        self.start_attachment(&eni, attachment, Delays::NONE);
        Ok(id)
    }

    /// Puts an ENI into the world, attached and visible at once where it has a place.
    ///
    /// # Errors
    ///
    /// If the id or the MAC is taken, and those of `CreateNetworkInterface` and
    /// `AttachNetworkInterface`; nothing is left behind.
    pub fn place_eni(&mut self, new: &NewEni, now: Time) -> Result<EniId, WorldError> {
        self.advance(now);
        let eni = self.new_eni(new)?;
        let Some(place) = &new.place else { return Ok(eni) };
        let attach = AttachNetworkInterface {
            eni: eni.clone(),
            instance: place.instance.clone(),
            device: place.device.unwrap_or_else(|| self.free_device(&place.instance, place.card)),
            card: place.card,
        };
        if let Err(error) = self.attach(&attach, Delays::NONE) {
            self.remove_eni(&eni);
            return Err(error.into());
        }
        if let Some(attachment) = self.enis.get_mut(&eni).and_then(|e| e.attachment.as_mut()) {
            attachment.delete_on_termination = place.delete_on_termination;
        }
        self.touch(&eni);
        Ok(eni)
    }

    fn new_eni(&mut self, new: &NewEni) -> Result<EniId, WorldError> {
        if let Some(id) = &new.id {
            check_free(id.as_str(), self.eni(id).is_none())?;
        }
        if let Some(mac) = new.mac {
            check_free(&mac.to_string(), self.enis().all(|e| e.mac != mac))?;
        }
        Ok(self.create_eni_as(&new.request, new.id.clone(), new.mac)?)
    }
}

/// A primary ENI that is born with addresses must fit the type.
fn check_birth(found: &InstanceType, ipv4: Option<Ipv4Request>) -> Result<(), Ec2Error> {
    if matches!(ipv4, Some(Ipv4Request::Prefixes(_))) {
        found.check_prefixes()?;
    }
    if ipv4.map_or(0, Ipv4Request::slots) > found.slots() as usize {
        return Err(Ec2Error::address_limit());
    }
    Ok(())
}

fn unknown_type(name: &str) -> WorldError {
    let known: Vec<&str> = instance_types().iter().map(|t: &InstanceType| t.name).collect();
    WorldError::UnknownInstanceType { name: name.to_owned(), known: known.join(", ") }
}
