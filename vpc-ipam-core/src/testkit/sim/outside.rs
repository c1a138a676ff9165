//! What others do to the node's ENIs behind its back. Where something of that number is not there,
//! nothing happens.

use std::{collections::BTreeMap, net::IpAddr};

use super::Sim;
use crate::{
    addr::Prefix,
    class::NO_MANAGE_TAG,
    config::AllocationMode,
    id::EniId,
    subnet::ROLE_TAG,
    testkit::ec2::{Eni, ForeignEni, ImdsFault, InterfaceType, Ipv4Request},
};

impl Sim {
    /// Somebody attaches an ENI with `slots` addresses, or prefixes in prefix mode; `theirs`: with the
    /// tag that keeps the node from using it.
    pub fn attach_from_outside(&mut self, kind: InterfaceType, theirs: bool, slots: u32) {
        let tags = if theirs {
            BTreeMap::from([(NO_MANAGE_TAG.to_owned(), "true".to_owned())])
        } else {
            BTreeMap::new()
        };
        let takes = slots > 0 && kind != InterfaceType::EfaOnly;
        let ipv4 = takes.then(|| self.slots(slots));
        let foreign = ForeignEni { kind, ipv4, tags, ..ForeignEni::default() };
        // A full node or subnet has no place for it.
        let _ = self.world().attach_foreign(&self.instance, &foreign, self.now);
    }

    /// Somebody adds `n` addresses, or prefixes in prefix mode, to the node's last ENI.
    pub fn assign_from_outside(&mut self, n: u32) {
        let ipv4 = self.slots(n);
        let mut world = self.world();
        let Some(eni) = world.enis_of(&self.instance).last().map(|eni| eni.id.clone()) else {
            return;
        };
        // A full ENI or subnet has no room.
        let _ = world.assign_foreign(&eni, ipv4, self.now);
    }

    /// Somebody excludes the `n`-th subnet for pods, or admits it.
    pub fn exclude(&mut self, n: usize, excluded: bool) {
        let now = self.now;
        let mut world = self.world();
        let Some(subnet) = world.subnets().get(n).map(|subnet| subnet.id.to_string()) else {
            return;
        };
        let value = if excluded { "0" } else { "1" };
        // A subnet that is full of tags stays as it is.
        let _ = world.tag_foreign(&subnet, ROLE_TAG, value, now);
    }

    pub(super) fn exclude_none(&mut self) {
        let count = self.world().subnets().len();
        (0..count).for_each(|n| self.exclude(n, false));
    }

    /// Somebody takes the `n`-th block that no pod uses. Pods that get an address of it before the
    /// pool can know are not the pool's fault.
    pub fn unassign_from_outside(&mut self, n: usize) {
        self.take_block(n, false);
    }

    /// Somebody takes the `n`-th block of those that pods use. The pods keep their leases.
    pub fn unassign_used_from_outside(&mut self, n: usize) {
        self.take_block(n, true);
    }

    /// Somebody detaches the `n`-th secondary ENI, pods or no pods, and leaves it lying around.
    pub fn detach_from_outside(&mut self, n: usize) {
        let Some(eni) = self.secondary_eni(n) else { return };
        let now = self.now;
        self.world().detach_foreign(&eni.id, now);
        self.lost_enis.insert(eni.id.clone());
        self.note_blocks_taken(&eni.owned());
    }

    /// Somebody detaches and deletes the `n`-th secondary ENI, pods or no pods.
    pub fn evict_from_outside(&mut self, n: usize) {
        let Some(eni) = self.secondary_eni(n) else { return };
        let now = self.now;
        self.world().evict_eni(&eni.id, now);
        self.note_blocks_taken(&eni.owned());
    }

    /// Somebody tags the `n`-th secondary ENI as theirs, or takes that back.
    pub fn disown(&mut self, n: usize, theirs: bool) {
        let Some(eni) = self.secondary_eni(n) else { return };
        let value = if theirs { "true" } else { "false" };
        let now = self.now;
        // An ENI that is full of tags cannot be disowned.
        let _ = self.world().tag_foreign(eni.id.as_str(), NO_MANAGE_TAG, value, now);
    }

    pub(super) fn disown_none(&mut self) {
        let count = self.world().enis_of(&self.instance).len();
        for n in 0..count {
            self.disown(n, false);
        }
    }

    /// Metadata no longer lists the `n`-th secondary ENI.
    pub fn omit_from_metadata(&mut self, n: usize) {
        if let Some(eni) = self.secondary_eni(n) {
            self.break_metadata(ImdsFault::Omits(eni.id));
        }
    }

    /// The node's metadata breaks, until [`heal`](Self::heal).
    pub fn break_metadata(&mut self, fault: ImdsFault) {
        let (instance, now) = (self.instance.clone(), self.now);
        self.world().break_imds(&instance, fault, now);
    }

    /// Others take addresses all over the node's subnet, so that no prefix and no more than `singles`
    /// addresses are free.
    pub fn fragment_subnet(&mut self, singles: u32) {
        let mut world = self.world();
        if let Some(subnet) = world.instance(&self.instance).map(|i| i.subnet.clone()) {
            // The instance's subnet is there.
            let _ = world.fragment_subnet(&subnet, singles);
        }
    }

    /// Others leave again, until so many more prefixes are free.
    pub fn defragment_subnet(&mut self, blocks: usize) {
        let mut world = self.world();
        if let Some(subnet) = world.instance(&self.instance).map(|i| i.subnet.clone()) {
            // The instance's subnet is there.
            let _ = world.defragment_subnet(&subnet, blocks);
        }
    }

    fn slots(&self, n: u32) -> Ipv4Request {
        match self.driver.pool().config().mode {
            AllocationMode::Prefix => Ipv4Request::Prefixes(n),
            AllocationMode::Secondary => Ipv4Request::Secondary(n),
        }
    }

    fn take_block(&mut self, n: usize, used: bool) {
        let leases = self.driver.pool().checkpoint().leases;
        let mut blocks: Vec<(EniId, Prefix)> = Vec::new();
        for eni in self.world().enis_of(&self.instance) {
            blocks.extend(eni.owned().into_iter().map(|cidr| (eni.id.clone(), cidr)));
        }
        blocks.retain(|(_, cidr)| leases.iter().any(|lease| cidr.contains(lease.ip)) == used);
        let Some((eni, cidr)) = blocks.get(n).cloned() else { return };
        let now = self.now;
        let taken = self.world().unassign_foreign(&eni, &[cidr], now).is_ok();
        if taken {
            self.note_blocks_taken(&[cidr]);
        }
    }

    fn note_blocks_taken(&mut self, blocks: &[Prefix]) {
        let ips = |cidr: &Prefix| {
            let cidr = *cidr;
            (0..cidr.size()).filter_map(move |n| cidr.nth(n))
        };
        let all: Vec<IpAddr> = blocks.iter().flat_map(ips).collect();
        self.note_taken(all);
    }

    fn secondary_eni(&self, n: usize) -> Option<Eni> {
        let world = self.world();
        let enis = world.enis_of(&self.instance);
        enis.into_iter().filter(|eni| !eni.is_primary()).nth(n).cloned()
    }
}
