//! The pool: which addresses the node holds, who has them, and what to do next.

mod action;

use thiserror::Error;

pub use self::action::{Action, Assign, Assignment, Event, Release, Reply};
use crate::{
    checkpoint::Checkpoint,
    config::PoolConfig,
    id::{PodRef, SandboxKey},
    stats::Stats,
    time::Time,
};

/// Why an ADD or DEL could not be served.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AssignError {
    /// No address, and none came in time. The text says why in numbers and what is under way.
    #[error("no free address: {0}")]
    NoAddress(String),
    /// The record could not be made durable, so the address was taken back.
    #[error("the allocation could not be recorded and was undone: {0}")]
    NotDurable(String),
    /// Too many ADDs are waiting already.
    #[error("{0} pods are waiting for an address already; try again later")]
    QueueFull(usize),
}

/// See the crate documentation for the contract.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
}

impl Pool {
    /// An empty pool; its first action lists the attached ENIs.
    pub fn new(config: PoolConfig, _now: Time) -> Self {
        Self { config }
    }

    /// A pool with the leases of `checkpoint`. They are kept, and never given to anyone else,
    /// whether or not the cloud shows their ENI.
    pub fn restore(config: PoolConfig, _checkpoint: &Checkpoint, _now: Time) -> Self {
        Self { config }
    }

    /// Gives the sandbox an address, the same one however often it asks.
    ///
    /// # Errors
    ///
    /// If the queue of waiting pods is full.
    pub fn assign(
        &mut self,
        _key: SandboxKey,
        _pod: PodRef,
        _now: Time,
    ) -> Result<Assign, AssignError> {
        todo!()
    }

    /// Takes the sandbox's address back.
    ///
    /// # Errors
    ///
    /// If the queue of waiting requests is full.
    pub fn release(&mut self, _key: &SandboxKey, _now: Time) -> Result<Release, AssignError> {
        todo!()
    }

    /// Learns of something that happened.
    pub fn handle(&mut self, _event: Event, _now: Time) {
        todo!()
    }

    /// What to do next; drain after every call that takes `&mut self`.
    pub fn poll_action(&mut self, _now: Time) -> Option<Action> {
        todo!()
    }

    /// Answers that have become ready; drain after every call that takes `&mut self`.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        todo!()
    }

    /// When to feed [`Event::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }

    /// The leases as they are now.
    pub fn checkpoint(&self) -> Checkpoint {
        todo!()
    }

    /// Counts, per pool, ENI and prefix.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Current settings.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }
}
