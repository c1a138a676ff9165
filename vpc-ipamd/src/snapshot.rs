//! The daemon at one moment: what introspection, health and metrics show.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use vpc_ipam_core::{cloud::InstanceFacts, config::PoolConfig, stats::Stats};

/// A reason why the daemon is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Degraded {
    /// A word out of a small set, for metrics and alerts.
    pub reason: &'static str,
    /// One sentence with the cause and, where there is one, the remedy.
    pub message: String,
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// The daemon at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Counts of the pool.
    pub stats: Stats,
    /// What the pool is told.
    pub config: PoolConfig,
    /// The instance, once it is known and the node is set up.
    pub facts: Option<Arc<InstanceFacts>>,
    /// True from the moment the node could serve its first pod.
    pub ready: bool,
    /// Process start to `ready`.
    pub startup: Option<Duration>,
    /// Process start to a node that is set up.
    pub node_init: Option<Duration>,
    /// What is wrong, by reason.
    pub degraded: Vec<Degraded>,
    /// Jobs that are running, by what they are for.
    pub running: BTreeMap<&'static str, u64>,
}
