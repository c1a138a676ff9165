//! What a cloud backend says of itself beside its answers.

use std::{collections::BTreeMap, time::Duration};

/// Requests of one EC2 action or for one value of instance metadata, since the start of the process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallCount {
    /// Sent.
    pub requests: u64,
    /// Failed.
    pub errors: u64,
    /// Refused by the service, by its error code.
    pub errors_by_code: BTreeMap<String, u64>,
}

/// Calls that ended alike, and the time they took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallLatency {
    /// EC2 action.
    pub api: String,
    /// True if they failed.
    pub failed: bool,
    /// `200`, the service's error code, or empty if there was no answer.
    pub status: String,
    /// How many.
    pub count: u64,
    /// How long, all together.
    pub total: Duration,
}

/// A bucket that paces requests, and what has passed through it since the start of the process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallPace {
    /// Which requests: for example `mutating`.
    pub class: String,
    /// Requests that could be sent at once.
    pub tokens: u32,
    /// Rate at which it fills, in percent of the full one.
    pub rate_percent: u32,
    /// Requests that wait for their turn.
    pub waiting: u32,
    /// Requests that were let through, retries included.
    pub sent: u64,
    /// How long those waited before, all together.
    pub wait: Duration,
    /// Requests that were given up because their turn did not come.
    pub held_back: u64,
    /// Requests that were not sent again because others waited.
    pub retries_dropped: u64,
}

/// A count of a backend's own, since the start of the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloudCount {
    /// Name of the metric, complete.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How many.
    pub value: u64,
}

/// The state of a cloud backend at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CloudReport {
    /// Counts by EC2 action.
    pub calls: BTreeMap<String, CallCount>,
    /// Reads of instance metadata, by value, and what it has shown that EC2 does not know.
    pub metadata: BTreeMap<String, CallCount>,
    /// Times by EC2 action and outcome.
    pub latencies: Vec<CallLatency>,
    /// What is wrong though calls succeed, as one sentence: for example that instance metadata had
    /// to stand in for EC2.
    pub trouble: Option<String>,
    /// What is wrong beside the pool, as one sentence each: by a word out of a small set, for metrics and
    /// alerts.
    pub troubles: BTreeMap<&'static str, String>,
    /// Steps that failed and left something behind: by the step and the kind of failure.
    pub unfinished: BTreeMap<(&'static str, String), u64>,
    /// The buckets that pace what is sent.
    pub paces: Vec<CallPace>,
    /// What else the backend counts.
    pub counts: Vec<CloudCount>,
}

pub(crate) type ReportCloud = dyn Fn() -> CloudReport + Send + Sync;
