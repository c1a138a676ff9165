//! What instance metadata shows, late in both directions.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{eni::Eni, instance::Version, world::World};
use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId, VpcId},
    time::Time,
};

/// One ENI as metadata shows it, perhaps out of date.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ImdsEni {
    /// `interface-id`.
    pub id: EniId,
    /// The directory's name.
    pub mac: MacAddr,
    /// `device-number`.
    pub device: u32,
    /// `network-card`; only types with several cards have it.
    pub card: Option<u32>,
    /// `subnet-id`.
    pub subnet: SubnetId,
    /// `subnet-ipv4-cidr-block`.
    pub subnet_cidr: Prefix,
    /// `subnet-ipv6-cidr-blocks`.
    pub subnet_ipv6_cidr: Option<Prefix>,
    /// `vpc-id`.
    pub vpc: VpcId,
    /// `security-group-ids`.
    pub groups: Vec<SecurityGroupId>,
    /// `security-groups`: the names, in the same order.
    pub group_names: Vec<String>,
    /// `local-ipv4s`: the primary address first, then the secondary ones.
    pub local_ipv4s: Vec<Ipv4Addr>,
    /// `ipv4-prefix`.
    pub ipv4_prefixes: Vec<Prefix>,
    /// `ipv6s`.
    pub ipv6s: Vec<Ipv6Addr>,
    /// `ipv6-prefix`.
    pub ipv6_prefixes: Vec<Prefix>,
}

/// All that metadata shows to one instance at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ImdsView {
    /// The instance.
    pub instance: InstanceId,
    /// Its type's name.
    pub instance_type: String,
    /// For example `us-west-2`.
    pub region: String,
    /// For example `us-west-2a`.
    pub availability_zone: String,
    /// Twelve digits.
    pub account: String,
    /// When it was started.
    pub launched: Time,
    /// MAC of the primary ENI.
    pub primary_mac: MacAddr,
    /// Primary address of the primary ENI.
    pub primary_ip: Ipv4Addr,
    /// IPv4 blocks of the VPC; never late.
    pub vpc_cidrs: Vec<Prefix>,
    /// IPv6 blocks of the VPC; never late.
    pub vpc_ipv6_cidrs: Vec<Prefix>,
    /// ENIs, by id.
    pub enis: Vec<ImdsEni>,
}

impl World {
    /// What metadata shows to `instance` at `now`, [faults](super::ImdsFault) included, but for the
    /// [status](Self::imds_status); `None` for an unknown instance.
    pub fn imds_view(&self, instance: &InstanceId, now: Time) -> Option<ImdsView> {
        let instance = self.instance(instance)?;
        let vpc = self.vpc(&instance.vpc)?;
        let primary = self.eni(&instance.primary_eni)?;
        let now = instance.imds.shown_at(now);
        let enis = instance
            .metadata
            .values()
            .filter_map(|versions| {
                let current = versions.iter().rfind(|(from, _)| *from <= now)?;
                current.1.clone()
            })
            .collect();
        Some(instance.distort(ImdsView {
            instance: instance.id.clone(),
            instance_type: instance.instance_type.name.to_owned(),
            region: self.region().to_owned(),
            availability_zone: instance.availability_zone.clone(),
            account: self.account().to_owned(),
            launched: instance.launched,
            primary_mac: primary.mac,
            primary_ip: primary.primary_ip?,
            vpc_cidrs: vpc.cidrs.clone(),
            vpc_ipv6_cidrs: vpc.ipv6_cidrs.clone(),
            enis,
        }))
    }

    /// Lets metadata show the ENI's present state after `delay`, if it is attached.
    pub(super) fn publish(&mut self, eni: &EniId, delay: Duration) {
        let Some(eni) = self.eni(eni) else { return };
        let Some(attachment) = &eni.attachment else { return };
        let instance = attachment.instance.clone();
        if let Some(snapshot) = self.snapshot(eni) {
            self.publish_version(&instance, &snapshot.id.clone(), Some(snapshot), delay);
        }
    }

    /// Lets metadata forget the ENI after `delay`.
    pub(super) fn publish_gone(&mut self, instance: &InstanceId, eni: &EniId, delay: Duration) {
        self.publish_version(instance, eni, None, delay);
    }

    fn publish_version(
        &mut self,
        instance: &InstanceId,
        eni: &EniId,
        snapshot: Option<ImdsEni>,
        delay: Duration,
    ) {
        let now = self.now();
        let Some(instance) = self.instance_mut(instance) else { return };
        let shown = instance.imds.shown_at(now);
        let versions = instance.metadata.entry(eni.clone()).or_default();
        // Changes reach metadata in order: a quick one does not overtake a slow one before it.
        let from = versions.back().map_or(now + delay, |(last, _)| (now + delay).max(*last));
        versions.push_back((from, snapshot));
        while versions.get(1).is_some_and(|(from, _)| *from <= shown) {
            versions.pop_front();
        }
        instance.metadata.retain(|_, v| !is_forgotten(v.make_contiguous(), shown));
    }

    fn snapshot(&self, eni: &Eni) -> Option<ImdsEni> {
        let attachment = eni.attachment.as_ref()?;
        let subnet = self.subnet(&eni.subnet)?;
        let cards = self.instance(&attachment.instance)?.instance_type.card_enis.len();
        Some(ImdsEni {
            id: eni.id.clone(),
            mac: eni.mac,
            device: attachment.device,
            card: (cards > 1).then_some(attachment.card),
            subnet: subnet.id.clone(),
            subnet_cidr: subnet.cidr,
            subnet_ipv6_cidr: subnet.ipv6_cidr,
            vpc: eni.vpc.clone(),
            groups: eni.groups.clone(),
            group_names: eni
                .groups
                .iter()
                .filter_map(|id| self.security_group(id).map(|g| g.name.clone()))
                .collect(),
            local_ipv4s: eni.primary_ip.into_iter().chain(eni.secondary_ips.clone()).collect(),
            ipv4_prefixes: eni.prefixes.clone(),
            ipv6s: eni.ipv6_addresses.clone(),
            ipv6_prefixes: eni.ipv6_prefixes.clone(),
        })
    }
}

fn is_forgotten(versions: &[Version], now: Time) -> bool {
    matches!(versions, [(from, None)] if *from <= now)
}
