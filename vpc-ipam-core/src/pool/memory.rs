//! The ENI view that outlives the daemon: see [`hint`](crate::hint).

use std::time::Duration;

use super::Pool;
use crate::{
    backoff::{Backoff, Jitter},
    cloud::{Authority, CloudEni},
    id::OpId,
    store::StoreError,
    time::Time,
};

/// First delay before a failed write is repeated.
const RETRY: Duration = Duration::from_millis(500);
/// Longest such delay: a full disk is looked at twice a minute.
const RETRY_CAP: Duration = Duration::from_secs(30);

/// Whether the stored view is what it should be.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    dirty: bool,
    writing: Option<OpId>,
    retry_at: Option<Time>,
    backoff: Backoff,
    error: Option<String>,
    recalled: bool,
    /// Addresses are given to pods on the word of an earlier life's view.
    pub(super) vouching: bool,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            dirty: false,
            writing: None,
            retry_at: None,
            backoff: Backoff::new(RETRY, RETRY_CAP),
            error: None,
            recalled: false,
            vouching: false,
        }
    }

    pub(super) fn changed(&mut self) {
        self.dirty = true;
    }

    /// A restart would find what the pool knows.
    fn is_current(&self) -> bool {
        !self.dirty && self.writing.is_none()
    }

    pub(super) fn wants_write(&self, now: Time) -> bool {
        self.dirty && self.writing.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    pub(super) fn start(&mut self, op: OpId) {
        self.writing = Some(op);
        self.dirty = false;
        self.retry_at = None;
    }

    /// Ends the write `op`; false if it is not the one under way.
    fn finish(&mut self, op: OpId, error: Option<String>, jitter: &mut Jitter, now: Time) -> bool {
        if self.writing.take_if(|writing| *writing == op).is_none() {
            return false;
        }
        if error.is_some() {
            self.dirty = true;
            self.retry_at = Some(now + self.backoff.fail(jitter));
        } else {
            self.backoff.reset();
        }
        self.error = error;
        true
    }

    fn timeout(&self) -> Option<Time> {
        if self.dirty && self.writing.is_none() { self.retry_at } else { None }
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

impl Pool {
    /// Takes in what an earlier life of the node [remembered](Self::remembered) of its ENIs; to be
    /// called before anything else.
    ///
    /// Leases find their ENIs at once. Free addresses are given to pods only after the cloud has failed
    /// to answer. EC2's view replaces all of it; nothing is given up on its word.
    pub fn recall(&mut self, enis: &[CloudEni], now: Time) {
        let card = self.config.card;
        for cloud in enis.iter().filter(|eni| eni.card == card) {
            self.adopt(cloud, Authority::Imds, now);
            let Some(eni) = self.enis.get_mut(&cloud.id) else { continue };
            eni.edit_all(|_, cidr| cidr.remembered = true);
        }
        for eni in self.enis.values_mut() {
            eni.unsaved = false;
        }
        self.memory.recalled = !self.enis.is_empty();
        if self.memory.recalled {
            self.doubt_what_comes(now);
        }
        self.settle(now);
    }

    /// What a later life should know of the ENIs: what EC2 has vouched for, by itself or through
    /// metadata that has aged.
    pub fn remembered(&self) -> Vec<CloudEni> {
        // A later life could not tell that an ENI is somebody else's by now.
        let enis = self.enis.values().filter(|eni| !eni.missing && !eni.traits.disowned);
        enis.map(|eni| {
            let cidrs = eni.cidrs().iter();
            let vouched =
                cidrs.filter(|(_, c)| c.confirmed && (c.hinted.is_none() || c.remembered));
            eni.cloud(vouched.map(|(cidr, _)| *cidr).collect())
        })
        .collect()
    }

    /// The cloud does not answer: if it never has, what is remembered has to do.
    pub(super) fn rely_on_memory(&mut self) {
        if self.describing.described || !self.memory.recalled {
            return;
        }
        self.memory.vouching = true;
        for eni in self.enis.values_mut() {
            eni.edit_all(|_, cidr| cidr.hinted = cidr.hinted.filter(|_| !cidr.remembered));
        }
    }

    /// Notes what has changed since the view was stored.
    pub(super) fn note_view(&mut self) {
        if self.enis.sums().unsaved == 0 {
            return;
        }
        for eni in self.enis.values_mut() {
            self.memory.dirty |= std::mem::take(&mut eni.unsaved);
        }
    }

    pub(super) fn on_remembered(&mut self, op: OpId, result: Result<(), StoreError>, now: Time) {
        let error = result.err().map(|e| e.to_string());
        if !self.memory.finish(op, error, &mut self.jitter, now) {
            self.unexpected_events = self.unexpected_events.saturating_add(1);
        }
    }

    /// True if something may be given back to EC2: no later life will think that it is still here. While
    /// a write of the state file has failed, the file may have a lease that was undone with it.
    pub(super) fn may_give_back(&self) -> bool {
        let remembered = !self.config.remember || self.memory.is_current();
        remembered && self.journal.error().is_none()
    }

    pub(super) fn memory_timeout(&self) -> Option<Time> {
        self.config.remember.then(|| self.memory.timeout()).flatten()
    }
}
