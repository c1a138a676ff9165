//! ADDs that wait: for any address, or for the ENI of the address that they own to be ready.

use std::collections::{BTreeMap, BTreeSet};

use super::share::Terms;
use crate::{
    id::{OpId, PodRef, SandboxKey},
    time::Time,
};

/// Most ADDs that may wait at once. No instance type runs more than 737 pods with VPC addresses;
/// beyond that, callers are retrying and should be told to back off.
pub(super) const WAITING_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) key: SandboxKey,
    pub(super) pod: PodRef,
    pub(super) terms: Terms,
    pub(super) deadline: Time,
    pub(super) since: Time,
    /// It owns an address already, which no ENI of the pool serves yet.
    pub(super) owner: bool,
}

/// First come, first served.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    queue: BTreeMap<OpId, Waiter>,
    ops: BTreeMap<SandboxKey, OpId>,
    deadlines: BTreeSet<(Time, OpId)>,
    owners: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// ADDs that any address would serve.
    pub(super) fn anyone(&self) -> usize {
        self.queue.len().saturating_sub(self.owners)
    }

    pub(super) fn op_of(&self, key: &SandboxKey) -> Option<OpId> {
        self.ops.get(key).copied()
    }

    pub(super) fn push(&mut self, op: OpId, waiter: Waiter) {
        self.owners += usize::from(waiter.owner);
        self.ops.insert(waiter.key.clone(), op);
        self.deadlines.insert((waiter.deadline, op));
        self.queue.insert(op, waiter);
    }

    pub(super) fn remove(&mut self, op: OpId) -> Option<Waiter> {
        let waiter = self.queue.remove(&op)?;
        self.ops.remove(&waiter.key);
        self.deadlines.remove(&(waiter.deadline, op));
        self.owners = self.owners.saturating_sub(usize::from(waiter.owner));
        Some(waiter)
    }

    /// True for an ADD that any address would serve.
    pub(super) fn is_anyone(&self, op: OpId) -> bool {
        self.queue.get(&op).is_some_and(|waiter| !waiter.owner)
    }

    /// The oldest ADD that any address would serve.
    pub(super) fn first(&self) -> Option<OpId> {
        self.queue.iter().find(|(_, w)| !w.owner).map(|(op, _)| *op)
    }

    /// ADDs that any address would serve, oldest first.
    pub(super) fn all(&self) -> Vec<(OpId, Time)> {
        self.queue.iter().filter(|(_, w)| !w.owner).map(|(op, w)| (*op, w.deadline)).collect()
    }

    /// ADDs that wait for their own address, oldest first.
    pub(super) fn owners(&self) -> Vec<(OpId, SandboxKey)> {
        if self.owners == 0 {
            return Vec::new();
        }
        let owners = self.queue.iter().filter(|(_, w)| w.owner);
        owners.map(|(op, w)| (*op, w.key.clone())).collect()
    }

    /// An ADD whose time is up.
    pub(super) fn expired(&self, now: Time) -> Option<OpId> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, op)| *op)
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
