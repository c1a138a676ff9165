//! What must be true of a node of several cards at any time, and at rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::CardsSim;
use crate::{
    id::{EniId, SandboxKey},
    node::UNDO_TRIES,
    pool::AssignError,
    testkit::check::{self, Violation},
};

impl CardsSim {
    /// All invariants.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn check(&self) -> Result<(), Violation> {
        for card in self.node().cards() {
            self.node().pool(card).map_or(Ok(()), check::pool)?;
        }
        self.check_pods()
    }

    /// The ENI that holds `ip` in EC2, and its card.
    pub(super) fn owner_of(&self, ip: IpAddr) -> Option<(Option<EniId>, u32)> {
        let world = self.world();
        let enis = world.enis_of(&self.instance);
        let owner =
            enis.into_iter().find(|eni| eni.owned().iter().any(|cidr| cidr.contains(ip)))?;
        Some((Some(owner.id.clone()), owner.attachment.as_ref()?.card))
    }

    /// A pod's addresses are in the state files of their cards, and on no ENI but one of that card.
    fn check_pods(&self) -> Result<(), Violation> {
        let mut files: BTreeMap<u32, BTreeMap<SandboxKey, (IpAddr, u32)>> = BTreeMap::new();
        for card in self.node().cards() {
            let leases = self.node().checkpoint(card).leases.into_iter();
            files.insert(card, leases.map(|l| (l.key, (l.ip, l.interfaces))).collect());
        }
        for (key, pod) in &self.running {
            for (card, ip) in &pod.ips {
                let lease = files.get(card).and_then(|file| file.get(key));
                if lease.map(|(ip, _)| ip) != Some(ip) {
                    return Err(Violation(format!("{key} runs with {ip}, the file has {lease:?}")));
                }
                let interfaces = lease.map_or(0, |(_, n)| *n as usize);
                if interfaces != pod.ips.len() {
                    return Err(Violation(format!(
                        "{key} has {pod:?}, the file says {interfaces}"
                    )));
                }
                if self.owner_of(*ip).map(|(_, on)| on) != Some(*card) {
                    return Err(Violation(format!("{ip} of {key} is not on card {card}")));
                }
            }
        }
        Ok(())
    }

    /// True if an ADD that was asked for when so many saves had failed may leave something until its
    /// DEL: it met what a failed write of an earlier DEL had left, or undoing it failed as often as it
    /// is tried.
    pub(super) fn may_be_torn(&self, error: &AssignError, failed_before: u64) -> bool {
        matches!(error, AssignError::NotDurable(_))
            || self.failed_saves() - failed_before >= UNDO_TRIES.into()
    }

    pub(super) fn failed_saves(&self) -> u64 {
        self.stores.values().map(|store| store.failed_saves()).sum()
    }

    /// All or nothing: a failed ADD leaves no lease behind, unless it could not be undone.
    pub(super) fn check_nothing_left(
        &self,
        key: &SandboxKey,
        every: bool,
    ) -> Result<(), Violation> {
        if !every || self.torn.contains(key) || self.running.contains_key(key) {
            return Ok(());
        }
        for card in self.node().cards() {
            let file = self.node().checkpoint(card);
            if let Some(lease) = file.leases.iter().find(|lease| lease.key == *key) {
                return Err(Violation(format!("the ADD of {key} failed, but left {lease:?}")));
            }
        }
        Ok(())
    }

    /// Nothing has leaked: in the cloud, or as a lease of nobody.
    pub(super) fn check_rest(&self) -> Result<(), Violation> {
        for card in self.node().cards() {
            let Some(pool) = self.node().pool(card) else { continue };
            check::nothing_leaked(pool, &self.world(), &self.instance)?;
            let leases = pool.checkpoint().leases;
            let owners: BTreeSet<_> = leases.iter().map(|lease| &lease.key).collect();
            let of_nobody = |key: &&&SandboxKey| {
                !self.running.contains_key(**key) && !self.torn.contains(**key)
            };
            if let Some(key) = owners.iter().find(of_nobody) {
                return Err(Violation(format!(
                    "card {card} keeps a lease of {key}, which is gone"
                )));
            }
        }
        Ok(())
    }
}
