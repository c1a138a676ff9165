//! Results for spreadsheets and notebooks.

use std::fmt::Write as _;

use crate::{fleet::Fleet, outcome::Outcome, summary::Summary};

/// One line per policy.
pub(crate) fn summary(summary: &Summary) -> String {
    let mut text = "policy,held_per_node,used_per_node,idle_per_node,idle_percent,wait_p50_ms,\
        wait_p99_ms,wait_p999_ms,wait_max_ms,pods_started,pods_never_started,failed_adds,\
        ec2_calls_per_node_hour,throttled_calls,subnet_exhausted_calls,unreachable_calls,\
        other_failed_calls,subnet_addresses_mean,subnet_addresses_peak\n"
        .to_owned();
    for p in &summary.policies {
        let w = &p.pod_wait;
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            quoted(&p.policy),
            p.held_per_node,
            p.used_per_node,
            p.idle_per_node,
            p.idle_percent,
            w.p50_ms,
            w.p99_ms,
            w.p999_ms,
            w.max_ms,
            p.pods_started,
            p.pods_never_started,
            p.failed_adds,
            p.ec2_calls_per_node_hour,
            p.throttled_calls,
            p.subnet_exhausted_calls,
            p.unreachable_calls,
            p.other_failed_calls,
            p.subnet_addresses_mean,
            p.subnet_addresses_peak,
        );
    }
    text
}

/// One line per policy and moment, all nodes together.
pub(crate) fn pool(fleet: &Fleet, outcomes: &[Outcome]) -> String {
    let mut text =
        "policy,seconds,held,assigned,idle,cooling,enis,pods_starting,ec2_calls\n".to_owned();
    for (policy, outcome) in fleet.policies.iter().zip(outcomes) {
        let name = quoted(policy.name());
        for (n, s) in (1..).zip(&outcome.samples) {
            let seconds = fleet.step.as_secs() * n;
            let (level, idle) = (s.level, s.level.idle());
            let _ = writeln!(
                text,
                "{name},{seconds},{},{},{idle},{},{},{},{}",
                level.held, level.assigned, level.cooling, level.enis, s.starting, s.calls
            );
        }
    }
    text
}

/// How many pods waited how long.
pub(crate) fn waits(fleet: &Fleet, outcomes: &[Outcome]) -> String {
    let mut text = "policy,wait_ms,pods\n".to_owned();
    for (policy, outcome) in fleet.policies.iter().zip(outcomes) {
        let name = quoted(policy.name());
        for (ms, pods) in outcome.waits.counts() {
            let _ = writeln!(text, "{name},{ms},{pods}");
        }
    }
    text
}

pub(crate) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
