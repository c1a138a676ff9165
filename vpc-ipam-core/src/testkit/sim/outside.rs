//! What others do to the node's ENIs behind its back.

use std::net::IpAddr;

use super::Sim;
use crate::{
    addr::Prefix,
    config::AllocationMode,
    id::EniId,
    testkit::ec2::{
        AssignPrivateIpAddresses, CreateTags, Eni, Ipv4Request, UnassignPrivateIpAddresses,
    },
};

/// An ENI so tagged belongs to somebody else.
const NO_MANAGE: &str = "node.k8s.amazonaws.com/no_manage";

impl Sim {
    /// Somebody adds `n` addresses, or prefixes in prefix mode, to the node's last ENI, if there is
    /// room.
    pub fn assign_from_outside(&mut self, n: u32) {
        let ipv4 = match self.driver.pool().config().mode {
            AllocationMode::Prefix => Ipv4Request::Prefixes(n),
            AllocationMode::Secondary => Ipv4Request::Secondary(n),
        };
        let now = self.now;
        let mut world = self.world();
        let Some(eni) = world.enis_of(&self.instance).last().map(|eni| eni.id.clone()) else {
            return;
        };
        // A full ENI or subnet is no concern of the node.
        let _ = world.assign_private_ip_addresses(&AssignPrivateIpAddresses { eni, ipv4 }, now);
    }

    /// Somebody takes the `n`-th block that no pod uses. Pods that get an address of it before the
    /// pool can know are not the pool's fault.
    pub fn unassign_from_outside(&mut self, n: usize) {
        let used: Vec<IpAddr> =
            self.driver.pool().checkpoint().leases.iter().map(|l| l.ip).collect();
        let mut blocks: Vec<(EniId, Prefix)> = Vec::new();
        for eni in self.world().enis_of(&self.instance) {
            blocks.extend(eni.owned().into_iter().map(|cidr| (eni.id.clone(), cidr)));
        }
        blocks.retain(|(_, cidr)| !used.iter().any(|ip| cidr.contains(*ip)));
        let Some((eni, cidr)) = blocks.get(n).cloned() else { return };
        let mut request =
            UnassignPrivateIpAddresses { eni, addresses: Vec::new(), prefixes: Vec::new() };
        match cidr.base() {
            IpAddr::V4(ip) if cidr.is_host() => request.addresses.push(ip),
            _ => request.prefixes.push(cidr),
        }
        let now = self.now;
        let taken = self.world().unassign_private_ip_addresses(&request, now).is_ok();
        if taken {
            self.note_taken((0..cidr.size()).filter_map(|n| cidr.nth(n)));
        }
    }

    /// Somebody detaches and deletes the `n`-th secondary ENI, pods or no pods.
    pub fn evict_from_outside(&mut self, n: usize) {
        let Some(eni) = self.secondary_eni(n) else { return };
        let now = self.now;
        self.world().evict_eni(&eni.id, now);
        let owned = eni.owned();
        self.note_taken(owned.iter().flat_map(|cidr| (0..cidr.size()).filter_map(|n| cidr.nth(n))));
    }

    /// Somebody tags the `n`-th secondary ENI as theirs, or takes that back.
    pub fn disown(&mut self, n: usize, theirs: bool) {
        let Some(eni) = self.secondary_eni(n) else { return };
        let value = if theirs { "true" } else { "false" };
        let request = CreateTags {
            resources: vec![eni.id.to_string()],
            tags: [(NO_MANAGE.to_owned(), value.to_owned())].into(),
        };
        let now = self.now;
        // The tags of an ENI that leaves at this moment matter to nobody.
        let _ = self.world().create_tags(&request, now);
    }

    pub(super) fn disown_none(&mut self) {
        let count = self.world().enis_of(&self.instance).len();
        for n in 0..count {
            self.disown(n, false);
        }
    }

    fn secondary_eni(&self, n: usize) -> Option<Eni> {
        let world = self.world();
        let enis = world.enis_of(&self.instance);
        enis.into_iter().filter(|eni| !eni.is_primary()).nth(n).cloned()
    }
}
