//! Group commit: one write of the state file at a time, and what waits for it.

use std::time::Duration;

use crate::{
    backoff::{Backoff, Jitter},
    id::{OpId, SandboxKey},
    time::Time,
};

/// First delay before a failed write is repeated when nobody asks for a new one.
const RETRY: Duration = Duration::from_millis(500);
/// Longest such delay: a full disk is looked at twice a minute.
const RETRY_CAP: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Writing {
    op: OpId,
    generation: u64,
    keys: Vec<SandboxKey>,
    /// More has changed than the leases of these.
    more: bool,
}

/// Leases that changed since the last write was issued, and the write under way.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    generation: u64,
    changed: Vec<SandboxKey>,
    more: bool,
    dirty: bool,
    writing: Option<Writing>,
    retry_at: Option<Time>,
    backoff: Backoff,
    error: Option<String>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            generation: 0,
            changed: Vec::new(),
            more: false,
            dirty: false,
            writing: None,
            retry_at: None,
            backoff: Backoff::new(RETRY, RETRY_CAP),
            error: None,
        }
    }

    /// Notes a change and returns the generation of the write that will contain it. Somebody waits
    /// for it, so it is not delayed by earlier failures.
    pub(super) fn note(&mut self, key: &SandboxKey) -> u64 {
        self.changed.push(key.clone());
        self.want()
    }

    /// Notes that the write which follows a failed one must contain this lease. Nobody waits for it.
    pub(super) fn note_again(&mut self, key: &SandboxKey) -> u64 {
        self.changed.push(key.clone());
        self.generation
    }

    /// Asks for a write although no lease waits for it.
    pub(super) fn rewrite(&mut self) {
        self.more = true;
        self.want();
    }

    fn want(&mut self) -> u64 {
        self.dirty = true;
        self.retry_at = None;
        self.generation
    }

    /// Whose leases the write under way changes; `None` if it changes more.
    pub(super) fn writing(&self) -> Option<&[SandboxKey]> {
        self.writing.as_ref().filter(|writing| !writing.more).map(|writing| writing.keys.as_slice())
    }

    /// Generation of the write that will contain what changes now.
    pub(super) fn next_generation(&self) -> u64 {
        self.generation
    }

    /// True if a change of `generation` is in no write yet.
    pub(super) fn is_unwritten(&self, generation: u64) -> bool {
        generation == self.generation
    }

    /// True if a write should start.
    pub(super) fn wants_write(&self, now: Time) -> bool {
        self.dirty && self.writing.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Starts a write of all that has changed.
    pub(super) fn start(&mut self, op: OpId) {
        let keys = std::mem::take(&mut self.changed);
        let more = std::mem::take(&mut self.more);
        self.writing = Some(Writing { op, generation: self.generation, keys, more });
        self.generation = self.generation.saturating_add(1);
        self.dirty = false;
        self.retry_at = None;
    }

    /// Ends the write `op`; `None` if it is not the one under way. On failure the file may hold the
    /// new content or the old one, so another write is due.
    pub(super) fn finish(
        &mut self,
        op: OpId,
        error: Option<String>,
        jitter: &mut Jitter,
        now: Time,
    ) -> Option<(u64, Vec<SandboxKey>)> {
        let writing = self.writing.take_if(|w| w.op == op)?;
        if error.is_some() {
            // The file may hold this write or the one before.
            self.more = true;
            let delay = self.backoff.fail(jitter);
            if !self.dirty {
                self.retry_at = Some(now + delay);
            }
            self.dirty = true;
        } else {
            self.backoff.reset();
        }
        self.error = error;
        Some((writing.generation, writing.keys))
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        if self.dirty && self.writing.is_none() { self.retry_at } else { None }
    }

    /// Why the last write failed.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
