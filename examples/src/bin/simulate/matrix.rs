//! Workloads beside policies: what each policy costs and does under each load.

use std::{fmt::Write as _, time::Duration};

use crate::{
    number::{grouped, rough, wait},
    summary::{PolicySummary, Summary},
    table::grid,
};

const HEADINGS: [&str; 9] = [
    "workload",
    "policy",
    "idle/node",
    "of the first",
    "wait p50",
    "p99",
    "p99.9",
    "failed ADDs",
    "EC2 calls/node/h",
];

fn row(workload: &str, policy: &PolicySummary, first: Option<&PolicySummary>) -> Vec<String> {
    let time = |ms| wait(Duration::from_millis(ms));
    let idle = first.map_or(0.0, |first| first.idle_per_node);
    let share = if idle > 0.0 { 100.0 * policy.idle_per_node / idle } else { 0.0 };
    vec![
        workload.to_owned(),
        policy.policy.clone(),
        rough(policy.idle_per_node),
        format!("{share:.0} %"),
        time(policy.pod_wait.p50_ms),
        time(policy.pod_wait.p99_ms),
        time(policy.pod_wait.p999_ms),
        grouped(policy.failed_adds),
        rough(policy.ec2_calls_per_node_hour),
    ]
}

fn rows(summaries: &[Summary]) -> impl Iterator<Item = Vec<String>> + '_ {
    summaries.iter().flat_map(|summary| {
        let first = summary.policies.first();
        summary.policies.iter().map(move |policy| row(&summary.workload, policy, first))
    })
}

/// What all runs have in common.
fn title(summaries: &[Summary]) -> String {
    summaries.first().map_or_else(String::new, |s| {
        let nodes = if s.nodes == 1 { "node" } else { "nodes" };
        format!(
            "{} {nodes} ({}, {} pods each), {} simulated hours, seed {}",
            grouped(s.nodes.into()),
            s.instance_type,
            s.max_pods,
            s.hours,
            s.seed
        )
    })
}

/// For a terminal.
pub(crate) fn render(summaries: &[Summary]) -> String {
    let rows: Vec<_> = rows(summaries).collect();
    format!("{}\n\n{}", title(summaries), grid(&HEADINGS, &rows))
}

/// For documents.
pub(crate) fn markdown(summaries: &[Summary]) -> String {
    let mut text = format!("{}\n\n| {} |\n", title(summaries), HEADINGS.join(" | "));
    text.push_str("|---|---|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows(summaries) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// For spreadsheets: numbers without units.
pub(crate) fn csv(summaries: &[Summary]) -> String {
    let mut text =
        "workload,policy,idle_per_node,wait_p50_ms,wait_p99_ms,wait_p999_ms,failed_adds,\
        ec2_calls_per_node_hour\n"
            .to_owned();
    for summary in summaries {
        for p in &summary.policies {
            let w = &p.pod_wait;
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{}",
                summary.workload,
                crate::csv::quoted(&p.policy),
                p.idle_per_node,
                w.p50_ms,
                w.p99_ms,
                w.p999_ms,
                p.failed_adds,
                p.ec2_calls_per_node_hour,
            );
        }
    }
    text
}
