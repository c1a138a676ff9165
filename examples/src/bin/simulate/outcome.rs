//! What came of one policy, summed over nodes. Sums of whole numbers only, so that the order in which
//! nodes finish does not show.

use std::collections::BTreeMap;

use vpc_ipam_core::testkit::sim::{CloudFailures, Level, Waits};

/// One moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) level: Level,
    /// Pods without an address.
    pub(crate) starting: u64,
    /// EC2 calls since the sample before.
    pub(crate) calls: u64,
}

/// One node, or several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    pub(crate) failures: CloudFailures,
    pub(crate) waits: Waits,
    pub(crate) failed_adds: u64,
    pub(crate) never_started: u64,
    /// Pods that still had no address at the end.
    pub(crate) left_waiting: u64,
    pub(crate) pod_events: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, node: &Self) {
        if self.samples.len() < node.samples.len() {
            self.samples.resize(node.samples.len(), Sample::default());
        }
        for (sum, sample) in self.samples.iter_mut().zip(&node.samples) {
            sum.level.add(sample.level);
            sum.starting += sample.starting;
            sum.calls += sample.calls;
        }
        for (action, count) in &node.calls {
            *self.calls.entry(action).or_default() += count;
        }
        self.failures.add(node.failures);
        self.waits.add(&node.waits);
        self.failed_adds += node.failed_adds;
        self.never_started += node.never_started;
        self.left_waiting += node.left_waiting;
        self.pod_events += node.pod_events;
    }

    pub(crate) fn mean(&self, what: impl Fn(&Sample) -> u64) -> f64 {
        let sum: u64 = self.samples.iter().map(what).sum();
        sum as f64 / self.samples.len().max(1) as f64
    }

    pub(crate) fn peak(&self, what: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(what).max().unwrap_or(0)
    }

    pub(crate) fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}
