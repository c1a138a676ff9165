//! Tables for a terminal.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use crate::{
    number::{grouped, rough, wait},
    summary::{PolicySummary, Summary},
};

/// One line about the run, the comparison, and the calls behind it.
pub(crate) fn render(summary: &Summary) -> String {
    let mut text = format!("{}\n\n", title(summary));
    text.push_str(&grid(&HEADINGS, &summary.policies.iter().map(row).collect::<Vec<_>>()));
    text.push_str("\nEC2 calls per hour, all nodes\n\n");
    text.push_str(&calls(summary));
    text
}

/// What was simulated, in one line.
pub(crate) fn title(summary: &Summary) -> String {
    let nodes = if summary.nodes == 1 { "node" } else { "nodes" };
    let mut text = format!(
        "{} {nodes} ({}, {} pods each), {} simulated hours of {}, {} pod events, seed {}",
        grouped(summary.nodes.into()),
        summary.instance_type,
        summary.max_pods,
        summary.hours,
        summary.workload,
        grouped(summary.pod_events),
        summary.seed,
    );
    if !summary.faults.is_empty() {
        let _ = write!(text, ", faults: {}", summary.faults.join(", "));
    }
    text
}

pub(crate) const HEADINGS: [&str; 12] = [
    "policy",
    "held/node",
    "idle/node",
    "idle",
    "wait p50",
    "p99",
    "p99.9",
    "max",
    "failed ADDs",
    "EC2 calls/node/h",
    "throttled",
    "subnet peak",
];

pub(crate) fn row(policy: &PolicySummary) -> Vec<String> {
    let time = |ms| wait(Duration::from_millis(ms));
    vec![
        policy.policy.clone(),
        rough(policy.held_per_node),
        rough(policy.idle_per_node),
        format!("{:.0} %", policy.idle_percent),
        time(policy.pod_wait.p50_ms),
        time(policy.pod_wait.p99_ms),
        time(policy.pod_wait.p999_ms),
        time(policy.pod_wait.max_ms),
        grouped(policy.failed_adds),
        rough(policy.ec2_calls_per_node_hour),
        grouped(policy.throttled_calls),
        grouped(policy.subnet_addresses_peak),
    ]
}

fn calls(summary: &Summary) -> String {
    let actions: BTreeSet<&str> =
        summary.policies.iter().flat_map(|p| p.ec2_calls_per_hour.keys().copied()).collect();
    let mut headings = vec!["action"];
    headings.extend(summary.policies.iter().map(|p| p.policy.as_str()));
    let rows: Vec<Vec<String>> = actions
        .into_iter()
        .map(|action| {
            let count =
                |p: &PolicySummary| rough(*p.ec2_calls_per_hour.get(action).unwrap_or(&0.0));
            std::iter::once(action.to_owned()).chain(summary.policies.iter().map(count)).collect()
        })
        .collect();
    grid(&headings, &rows)
}

/// The first column to the left, numbers to the right.
pub(crate) fn grid(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain(headings.get(n).map(|h| h.chars().count())).max().unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (n, cell) in cells.enumerate() {
            let width = width(n);
            let _ = match n {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
        text
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}
