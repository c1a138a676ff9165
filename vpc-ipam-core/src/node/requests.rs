//! Requests that have not been answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{OpId, PodRef, SandboxKey},
    pool::{AssignError, Assignment},
    time::Time,
};

/// An ordinary pod's ADD.
#[derive(Clone, Debug)]
pub(super) struct One {
    pub(super) key: SandboxKey,
    pub(super) pod: PodRef,
    pub(super) deadline: Time,
    /// The pool that it waits for.
    pub(super) at: usize,
    /// The node's number of what it waits for there.
    pub(super) part: OpId,
    /// Pools that had nothing for it, with what they said.
    pub(super) refused: BTreeMap<usize, String>,
}

/// A step of an ADD on every card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// An address of this pool.
    Add(usize),
    /// Giving it back.
    Undo(usize),
}

/// An ADD on every card.
#[derive(Clone, Debug)]
pub(super) struct Every {
    pub(super) key: SandboxKey,
    /// Steps that have not ended, by the node's number of each.
    pub(super) open: BTreeMap<OpId, Part>,
    pub(super) got: BTreeMap<usize, Assignment>,
    /// Why it fails; then what it has taken is given back.
    pub(super) failed: Option<AssignError>,
    /// Failed attempts to give something back.
    pub(super) failures: u32,
}

impl Every {
    pub(super) fn new(key: SandboxKey) -> Self {
        Self { key, open: BTreeMap::new(), got: BTreeMap::new(), failed: None, failures: 0 }
    }
}

/// A DEL.
#[derive(Clone, Debug, Default)]
pub(super) struct Released {
    pub(super) open: BTreeMap<OpId, usize>,
    pub(super) got: BTreeMap<usize, Assignment>,
    pub(super) failed: Option<AssignError>,
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    One(One),
    Every(Every),
    Release(SandboxKey, Released),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    by_op: BTreeMap<OpId, Request>,
    adds: BTreeMap<SandboxKey, OpId>,
    releases: BTreeMap<SandboxKey, OpId>,
    /// Ordinary pods' ADDs, oldest first.
    ones: BTreeSet<OpId>,
    /// Which request an operation of a pool is part of.
    routes: BTreeMap<OpId, OpId>,
}

impl Requests {
    pub(super) fn add_of(&self, key: &SandboxKey) -> Option<OpId> {
        self.adds.get(key).copied()
    }

    pub(super) fn release_of(&self, key: &SandboxKey) -> Option<OpId> {
        self.releases.get(key).copied()
    }

    pub(super) fn ones(&self) -> impl Iterator<Item = (OpId, &One)> {
        self.ones.iter().filter_map(|op| match self.by_op.get(op) {
            Some(Request::One(one)) => Some((*op, one)),
            _ => None,
        })
    }

    /// The answer to `part` is for `op`.
    pub(super) fn route(&mut self, part: OpId, op: OpId) {
        self.routes.insert(part, op);
    }

    /// Nobody waits for the answer to `part` any more.
    pub(super) fn forget_route(&mut self, part: OpId) {
        self.routes.remove(&part);
    }

    /// Takes the request that waits for `part`, if there is one.
    pub(super) fn take_routed(&mut self, part: OpId) -> Option<(OpId, Request)> {
        let op = self.routes.remove(&part)?;
        Some((op, self.take(op)?))
    }

    /// Takes a request out; its routes stay.
    pub(super) fn take(&mut self, op: OpId) -> Option<Request> {
        let request = self.by_op.remove(&op)?;
        self.ones.remove(&op);
        match &request {
            Request::One(One { key, .. }) | Request::Every(Every { key, .. }) => {
                self.adds.remove(key);
            }
            Request::Release(key, _) => {
                self.releases.remove(key);
            }
        }
        Some(request)
    }

    pub(super) fn put(&mut self, op: OpId, request: Request) {
        match &request {
            Request::One(one) => {
                self.adds.insert(one.key.clone(), op);
                self.ones.insert(op);
            }
            Request::Every(every) => {
                self.adds.insert(every.key.clone(), op);
            }
            Request::Release(key, _) => {
                self.releases.insert(key.clone(), op);
            }
        }
        self.by_op.insert(op, request);
    }
}
