//! Loads: when pods start and stop on each node of a fleet. Seeded, so the same again whenever asked.
//!
//! ```
//! use std::time::Duration;
//! use vpc_ipam_core::testkit::workload::{Span, Workload};
//!
//! let span = Span { seed: 7, node: 0, nodes: 1, duration: Duration::from_secs(3600), pods_max: 27 };
//! let load = Workload::Steady.events(&span);
//! assert!(load.len() > 100);
//! assert_eq!(load, Workload::Steady.events(&span));
//! ```

mod bursts;
mod cron;
mod daily;
mod drain;
mod draw;
mod life;
mod rollout;
mod steady;
#[cfg(test)]
mod tests;
mod trace;

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

pub use self::{
    bursts::bursts,
    cron::cron,
    daily::daily,
    drain::drain,
    rollout::rollout,
    steady::steady,
    trace::{TRACE_EVENTS_MAX, Trace, TraceError},
};
use crate::time::Time;

/// The part of a fleet's load that one node gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// The fleet's seed; what happens to all nodes at once depends on nothing else.
    pub seed: u64,
    /// This node, from 0.
    pub node: u32,
    /// Nodes of the fleet.
    pub nodes: u32,
    /// How long, from [`Time::ZERO`] on.
    pub duration: Duration,
    /// Most pods that the scheduler puts on the node at a time.
    pub pods_max: u32,
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PodChange {
    /// The pod is deleted.
    Stops,
    /// The pod is scheduled.
    Starts,
}

/// One line of a load. A pod starts once and stops at most once.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PodEvent {
    /// When.
    pub at: Time,
    /// What.
    pub change: PodChange,
    /// The pod's number on its node.
    pub pod: u32,
}

/// The loads that come with the test kit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Workload {
    /// [`steady`].
    Steady,
    /// [`bursts`].
    Bursts,
    /// [`rollout`].
    Rollout,
    /// [`cron`].
    Cron,
    /// [`daily`].
    Daily,
    /// [`drain`].
    Drain,
}

/// A name that no workload has.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("there is no workload {0:?}; known: steady, bursts, rollout, cron, daily, drain")]
pub struct UnknownWorkload(pub String);

impl Workload {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Steady, Self::Bursts, Self::Rollout, Self::Cron, Self::Daily, Self::Drain];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursts => "bursts",
            Self::Rollout => "rollout",
            Self::Cron => "cron",
            Self::Daily => "daily",
            Self::Drain => "drain",
        }
    }

    /// One line about it.
    pub fn about(self) -> &'static str {
        match self {
            Self::Steady => "a node 70 % full whose pods live ten minutes on average",
            Self::Bursts => {
                "few long-lived pods, and batches that come within seconds and go in minutes"
            }
            Self::Rollout => "every pod is replaced every two hours, the new one first",
            Self::Cron => {
                "jobs at every full hour and every five minutes on a node that is 40 % full"
            }
            Self::Daily => {
                "from 20 % full at night to 70 % in the afternoon; pods live a quarter of an hour on average"
            }
            Self::Drain => "nodes are emptied one after the other, stay empty and fill again",
        }
    }

    /// The load of one node, by time.
    pub fn events(self, span: &Span) -> Vec<PodEvent> {
        match self {
            Self::Steady => steady(span),
            Self::Bursts => bursts(span),
            Self::Rollout => rollout(span),
            Self::Cron => cron(span),
            Self::Daily => daily(span),
            Self::Drain => drain(span),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, UnknownWorkload> {
        let found = Self::ALL.into_iter().find(|w| w.as_str() == name);
        found.ok_or_else(|| UnknownWorkload(name.chars().take(64).collect()))
    }
}
