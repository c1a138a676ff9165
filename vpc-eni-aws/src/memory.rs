//! What the backend remembers between calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudEni, CloudError, CloudView, EniKind},
    id::{EniId, InstanceId, SecurityGroupId, SubnetId},
};

use crate::{
    api::{Ec2Eni, Tracking},
    attachments::Attachments,
    subnets::Subnets,
    upkeep::Seen,
};

/// How long a listing may lack an ENI that we attached. EC2's listings lag behind its single
/// lookups by seconds; a minute is the reference's age below which an ENI is left alone.
const RECENT_MAX: Duration = Duration::from_secs(60);

/// An ENI that was attached a moment ago.
#[derive(Clone, Copy, Debug)]
struct Recent {
    since: Instant,
    card: u32,
    device: u32,
}

/// Mutable state of a backend; behind one lock that is never held across a call.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Blocks of subnets; they never change.
    blocks: BTreeMap<SubnetId, Prefix>,
    /// IPv6 blocks of subnets.
    ipv6_blocks: BTreeMap<SubnetId, Prefix>,
    /// What only EC2 can say of an ENI, for the times when it cannot be asked.
    known: BTreeMap<EniId, (EniKind, BTreeMap<String, String>)>,
    recent: BTreeMap<EniId, Recent>,
    /// The node's attachments.
    pub(crate) attachments: Attachments,
    /// ENIs of EC2's last view; `None` before the first.
    seen: Option<Vec<Seen>>,
    /// Subnets of the VPC and zone.
    pub(crate) subnets: Subnets,
    /// Timeouts of the primary ENI, which new ENIs get too.
    pub(crate) tracking: Tracking,
    /// ENIs that were warned of.
    warned: BTreeSet<EniId>,
    /// Why the last view had to come from instance metadata.
    pub(crate) ec2_failure: Option<CloudError>,
}

impl Memory {
    pub(crate) fn block(&self, subnet: &SubnetId) -> Option<Prefix> {
        let listed = || self.subnets.find(subnet).and_then(|listed| listed.block);
        self.blocks.get(subnet).copied().or_else(listed)
    }

    pub(crate) fn learn_block(&mut self, subnet: SubnetId, block: Prefix) {
        self.blocks.insert(subnet, block);
    }

    pub(crate) fn ipv6_block(&self, subnet: &SubnetId) -> Option<Prefix> {
        let listed = || self.subnets.find(subnet).and_then(|listed| listed.ipv6_block);
        self.ipv6_blocks.get(subnet).copied().or_else(listed)
    }

    pub(crate) fn learn_ipv6_block(&mut self, subnet: SubnetId, block: Prefix) {
        self.ipv6_blocks.insert(subnet, block);
    }

    pub(crate) fn attached(&mut self, eni: EniId, attachment: String, card: u32, device: u32) {
        self.recent.insert(eni.clone(), Recent { since: Instant::now(), card, device });
        self.attachments.attached(eni, attachment, card, device);
    }

    /// EC2 has listed the ENIs of this instance.
    pub(crate) fn learn_attachments(&mut self, me: &InstanceId, listed: &[Ec2Eni]) {
        let recent = self.recent();
        self.attachments.learn(me, listed, &recent);
    }

    pub(crate) fn deleted(&mut self, eni: &EniId) {
        self.recent.remove(eni);
        self.attachments.deleted(eni);
        self.known.remove(eni);
        if let Some(seen) = &mut self.seen {
            seen.retain(|seen| seen.eni.id != *eni);
        }
    }

    /// True the first time that an ENI is to be warned of.
    pub(crate) fn is_news(&mut self, eni: &EniId) -> bool {
        self.warned.insert(eni.clone())
    }

    /// ENIs as EC2 showed them last, security groups as they were set since; `None` before the first view.
    pub(crate) fn seen(&self) -> Option<Vec<Seen>> {
        self.seen.clone()
    }

    pub(crate) fn learn_seen(&mut self, seen: Vec<Seen>) {
        self.seen = Some(seen);
    }

    /// The node has this ENI now. It must not be overlooked until the next view.
    pub(crate) fn learn_new(&mut self, eni: &CloudEni, groups: &[SecurityGroupId]) {
        let Some(seen) = &mut self.seen else { return };
        seen.retain(|seen| seen.eni.id != eni.id);
        seen.push(Seen { eni: eni.clone(), groups: groups.to_vec(), stays: None });
    }

    /// The ENI vanishes with its instance now.
    pub(crate) fn learn_marked(&mut self, eni: &EniId) {
        let seen = self.seen.iter_mut().flatten().find(|seen| seen.eni.id == *eni);
        if let Some(seen) = seen {
            seen.stays = None;
        }
    }

    /// The ENI has these security groups now.
    pub(crate) fn learn_groups(&mut self, eni: &EniId, groups: &[SecurityGroupId]) {
        let seen = self.seen.iter_mut().flatten().find(|seen| seen.eni.id == *eni);
        if let Some(seen) = seen {
            seen.groups = groups.to_vec();
        }
    }

    /// ENIs that a listing may not show yet.
    pub(crate) fn recent(&mut self) -> BTreeSet<EniId> {
        self.recent.retain(|_, recent| recent.since.elapsed() < RECENT_MAX);
        self.recent.keys().cloned().collect()
    }

    /// Device indexes of a card that a listing may not show yet.
    pub(crate) fn recent_devices(&self, card: u32) -> BTreeSet<u32> {
        self.recent.values().filter(|r| r.card == card).map(|r| r.device).collect()
    }

    /// EC2 has answered.
    pub(crate) fn learn_view(&mut self, view: &CloudView) {
        self.ec2_failure = None;
        self.known = view.enis.iter().map(|e| (e.id.clone(), (e.kind, e.tags.clone()))).collect();
        self.warned.retain(|eni| self.known.contains_key(eni));
        // Only blocks that are in use: nodes may see many subnets over the years.
        let used: BTreeSet<_> = view.enis.iter().map(|eni| &eni.subnet).collect();
        self.blocks.retain(|subnet, _| used.contains(subnet));
        self.ipv6_blocks.retain(|subnet, _| used.contains(subnet));
    }

    /// What EC2 said last of an ENI.
    pub(crate) fn known(&self, eni: &EniId) -> Option<(EniKind, BTreeMap<String, String>)> {
        self.known.get(eni).cloned()
    }
}
