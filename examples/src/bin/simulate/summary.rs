//! The figures of a run: what the table, the JSON object and the report show.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    fleet::Fleet,
    outcome::{Outcome, Sample},
};

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) nodes: u32,
    pub(crate) hours: f64,
    pub(crate) workload: String,
    pub(crate) instance_type: String,
    pub(crate) max_pods: u32,
    pub(crate) faults: Vec<&'static str>,
    pub(crate) seed: u64,
    pub(crate) pod_events: u64,
    pub(crate) policies: Vec<PolicySummary>,
}

/// One policy. Addresses are means over time and nodes unless they say otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct PolicySummary {
    pub(crate) policy: String,
    pub(crate) held_per_node: f64,
    pub(crate) used_per_node: f64,
    pub(crate) idle_per_node: f64,
    /// Share of the held addresses.
    pub(crate) idle_percent: f64,
    /// ENIs' own addresses included, all nodes together.
    pub(crate) subnet_addresses_peak: u64,
    pub(crate) subnet_addresses_mean: f64,
    pub(crate) pods_started: u64,
    pub(crate) pod_wait: WaitSummary,
    pub(crate) failed_adds: u64,
    /// Pods that were deleted, or met the end of the run, without an address.
    pub(crate) pods_never_started: u64,
    pub(crate) ec2_calls_per_node_hour: f64,
    /// All nodes together.
    pub(crate) ec2_calls_per_hour: BTreeMap<&'static str, f64>,
    pub(crate) throttled_calls: u64,
    pub(crate) subnet_exhausted_calls: u64,
    pub(crate) unreachable_calls: u64,
    pub(crate) other_failed_calls: u64,
}

/// From the scheduling of a pod to its address, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct WaitSummary {
    pub(crate) p50_ms: u64,
    pub(crate) p99_ms: u64,
    pub(crate) p999_ms: u64,
    pub(crate) max_ms: u64,
}

impl Summary {
    pub(crate) fn new(fleet: &Fleet, outcomes: &[Outcome]) -> Self {
        let policies = fleet.policies.iter().zip(outcomes);
        Self {
            nodes: fleet.nodes,
            hours: round(fleet.hours(), 1000.0),
            workload: fleet.load.name().to_owned(),
            instance_type: fleet.instance_type.clone(),
            max_pods: fleet.pods_max,
            faults: fleet.faults.iter().map(|fault| fault.as_str()).collect(),
            seed: fleet.seed,
            pod_events: outcomes.first().map_or(0, |outcome| outcome.pod_events),
            policies: policies.map(|(p, o)| PolicySummary::new(fleet, p.name(), o)).collect(),
        }
    }
}

impl PolicySummary {
    fn new(fleet: &Fleet, policy: &str, outcome: &Outcome) -> Self {
        let nodes = f64::from(fleet.nodes);
        let per_node = |what: fn(&Sample) -> u64| outcome.mean(what) / nodes;
        let held = per_node(|s| s.level.held);
        let idle = per_node(|s| s.level.idle());
        let taken = |s: &Sample| s.level.held + s.level.enis;
        let hours = fleet.hours();
        let failures = outcome.failures;
        Self {
            policy: policy.to_owned(),
            held_per_node: round(held, 100.0),
            used_per_node: round(per_node(|s| s.level.assigned), 100.0),
            idle_per_node: round(idle, 100.0),
            idle_percent: round(if held > 0.0 { 100.0 * idle / held } else { 0.0 }, 10.0),
            subnet_addresses_peak: outcome.peak(taken),
            subnet_addresses_mean: round(outcome.mean(taken), 10.0),
            pods_started: outcome.waits.len(),
            pod_wait: WaitSummary {
                p50_ms: ms(outcome.waits.per_mille(500)),
                p99_ms: ms(outcome.waits.per_mille(990)),
                p999_ms: ms(outcome.waits.per_mille(999)),
                max_ms: ms(outcome.waits.per_mille(1000)),
            },
            failed_adds: outcome.failed_adds,
            pods_never_started: outcome.never_started + outcome.left_waiting,
            ec2_calls_per_node_hour: round(outcome.total_calls() as f64 / hours / nodes, 100.0),
            ec2_calls_per_hour: outcome
                .calls
                .iter()
                .map(|(action, count)| (*action, round(*count as f64 / hours, 100.0)))
                .collect(),
            throttled_calls: failures.throttled,
            subnet_exhausted_calls: failures.exhausted,
            unreachable_calls: failures.unreachable,
            other_failed_calls: failures.other,
        }
    }
}

fn round(x: f64, unit: f64) -> f64 {
    (x * unit).round() / unit
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
