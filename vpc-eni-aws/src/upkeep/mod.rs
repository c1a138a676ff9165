//! What is done in EC2 beside the pool, now and then: security groups are kept alike, ENIs that were left
//! behind are swept, and those that would be are kept from it.

mod adopt;
mod groups;
mod record;
mod rfc3339;
mod sweep;
mod termination;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;
mod verdict;

use std::{
    hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{adopt::Adopted, groups::GroupSync, record::UpkeepStatus, sweep::Swept};
pub(crate) use self::{
    groups::Seen,
    verdict::{Scope, TAGS_READ, Unattached},
};
use crate::backend::AwsBackend;

/// What is looked after.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UpkeepConfig {
    /// Give the node's ENIs the security groups of the primary one. Off where ENIs have groups of their own
    /// (custom networking), and where nothing may be changed.
    pub security_groups: bool,
    /// Delete ENIs that nodes of the cluster have left behind. Off on IPv6 nodes, which do not make ENIs,
    /// and where nothing may be changed.
    pub leaked_enis: bool,
    /// Let the ENIs that this node has made vanish with its instance, also those whose maker was stopped
    /// before it could say so. Off where nothing may be changed.
    pub termination: bool,
    /// Tag ENIs that the node uses but has not made. Off where nothing may be changed.
    pub tags: bool,
    /// ENIs without our tags are ours (`MANAGE_UNTAGGED_ENI`).
    pub manage_untagged: bool,
    /// ENIs on other network cards than card 0 are ours (`ENABLE_MULTI_NIC`).
    pub multi_nic: bool,
    /// Decides when sweeps begin, for tests; each node has to have its own. `None`: chance decides.
    pub seed: Option<u64>,
}

impl Default for UpkeepConfig {
    /// Everything, on the ENIs that are managed by default.
    fn default() -> Self {
        Self {
            security_groups: true,
            leaked_enis: true,
            termination: true,
            tags: true,
            manage_untagged: true,
            multi_nic: false,
            seed: None,
        }
    }
}

/// The periodic work of one node in EC2. [`run`](Self::run) does it for ever; its parts can be called one
/// by one as well, by who has a schedule of their own.
#[derive(Debug)]
pub struct Upkeep {
    backend: Arc<AwsBackend>,
    config: UpkeepConfig,
    pushes: Mutex<groups::Pushes>,
    tried: Mutex<adopt::Tried>,
    record: Mutex<UpkeepStatus>,
    drawn: AtomicU64,
}

impl AwsBackend {
    /// The periodic work on this backend. Does nothing until it is run.
    pub fn upkeep(self: &Arc<Self>, config: UpkeepConfig) -> Arc<Upkeep> {
        Arc::new(Upkeep {
            backend: Arc::clone(self),
            config,
            pushes: Mutex::default(),
            tried: Mutex::default(),
            record: Mutex::default(),
            drawn: AtomicU64::new(0),
        })
    }
}

impl Upkeep {
    /// Runs for ever. Can be dropped at any time: what was under way is found again the next time.
    ///
    /// Needs a tokio runtime with time and IO.
    pub async fn run(self: Arc<Self>) {
        let groups = async {
            if self.config.security_groups {
                self.watch_groups().await;
            }
        };
        let leaks = async {
            if self.config.leaked_enis {
                self.watch_leaks().await;
            }
        };
        let marks = async {
            if self.config.termination {
                self.watch_termination().await;
            }
        };
        let tags = async {
            if self.config.tags {
                self.watch_tags().await;
            }
        };
        // None must wait for another: a sweep may take most of an hour.
        tokio::join!(groups, leaks, marks, tags);
        std::future::pending().await
    }

    /// What was done, and what is wrong.
    pub fn status(&self) -> UpkeepStatus {
        self.record().clone()
    }

    fn random(&self) -> u64 {
        // The standard library's only source of randomness.
        let chance = || RandomState::new().build_hasher().finish();
        let mut hasher = DefaultHasher::new();
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        (self.config.seed.unwrap_or_else(chance), drawn).hash(&mut hasher);
        hasher.finish()
    }

    fn record(&self) -> MutexGuard<'_, UpkeepStatus> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tried(&self) -> MutexGuard<'_, adopt::Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pushes(&self) -> MutexGuard<'_, groups::Pushes> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
