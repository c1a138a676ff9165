//! The plots of the report.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use vpc_ipam_core::testkit::sim::Waits;

use crate::{
    fleet::Fleet,
    number::{grouped, rough, wait},
    outcome::{Outcome, Sample},
    summary::{PolicySummary, Summary},
    svg::{Axis, Piece, Plot, bars, escape},
};

/// Colours of the style sheet.
pub(crate) const COLOURS: usize = 8;
/// Shortest wait that the plots tell apart.
const WAIT_MIN_S: f64 = 0.001;

/// What each pool held and what pods used of it, on one scale.
pub(crate) fn pools(fleet: &Fleet, outcomes: &[Outcome]) -> String {
    let high = outcomes.iter().map(|o| o.peak(|s| s.level.held)).max().unwrap_or(0) as f64 * 1.05;
    let mut text = String::new();
    for (policy, outcome) in fleet.policies.iter().zip(outcomes) {
        let (x, y) = (Axis::linear(fleet.hours()), Axis::linear(high));
        let mut plot = Plot::new(460.0, 260.0, x, y);
        let hours = Some(hour_ticks(fleet.hours()));
        let label = |y: f64| grouped(y as u64);
        plot.axes(("hours", hours), "addresses, all nodes", short, label);
        let step = fleet.step.as_secs_f64() / 3600.0;
        let points = |what: fn(&Sample) -> u64| {
            (1..).zip(&outcome.samples).map(move |(n, s)| (f64::from(n) * step, what(s) as f64))
        };
        let used: Vec<_> = points(|s| s.level.assigned).collect();
        let held: Vec<_> = points(|s| s.level.held).collect();
        let idle: Vec<_> = used.iter().zip(&held).map(|((x, u), (_, h))| (*x, *u, *h)).collect();
        let base: Vec<_> = used.iter().map(|(x, used)| (*x, 0.0, *used)).collect();
        plot.band("used", &base);
        plot.band("idle", &idle);
        plot.line("used", used);
        plot.line("idle", held);
        let name = escape(policy.name());
        let svg = plot.finish(&format!("addresses over time under {name}"));
        let caption = name.replace(',', ",<wbr>");
        let _ = write!(text, "<figure><figcaption>{caption}</figcaption>{svg}</figure>");
    }
    text
}

/// What a policy costs against what it does for pods.
pub(crate) fn trade(summary: &Summary) -> String {
    let policies = &summary.policies;
    let idle = policies.iter().map(|p| p.idle_per_node).fold(0.0, f64::max) * 1.15;
    let longest = policies.iter().map(|p| seconds(p.pod_wait.max_ms)).fold(0.1, f64::max) * 1.5;
    let mut plot = Plot::new(560.0, 330.0, Axis::linear(idle), Axis::log(WAIT_MIN_S, longest));
    plot.axes(
        ("idle addresses per node, mean over time", None),
        "wait of pods: p99, and up to p99.9",
        short,
        wait_label,
    );
    for (n, p) in policies.iter().enumerate() {
        let (p99, p999) = (seconds(p.pod_wait.p99_ms), seconds(p.pod_wait.p999_ms));
        plot.span(&format!("s{}", n % COLOURS), p.idle_per_node, (p99, p999));
    }
    for (n, p) in policies.iter().enumerate() {
        let time = |ms| wait(Duration::from_millis(ms));
        let title = format!(
            "{}: {} idle addresses per node, p99 {}, p99.9 {}",
            p.policy,
            rough(p.idle_per_node),
            time(p.pod_wait.p99_ms),
            time(p.pod_wait.p999_ms)
        );
        let at = (p.idle_per_node, seconds(p.pod_wait.p99_ms));
        plot.dot(&format!("s{}", n % COLOURS), at, &p.policy, &title);
    }
    plot.finish("idle addresses against wait, per policy")
}

/// Which share of the pods waited longer than a given time.
pub(crate) fn waits(outcomes: &[Outcome]) -> String {
    let longest = outcomes.iter().map(|o| o.waits.per_mille(1000)).max().unwrap_or_default();
    let pods = outcomes.iter().map(|o| o.waits.len()).max().unwrap_or(1).max(10);
    let x = Axis::log(WAIT_MIN_S, longest.as_secs_f64().max(0.1) * 1.5);
    let mut plot = Plot::new(560.0, 330.0, x, Axis::log(0.5 / pods as f64, 1.0));
    let percent = |y: f64| format!("{} %", short(y * 100.0));
    plot.axes(("longer than", None), "share of pods that waited", wait_label, percent);
    for (n, outcome) in outcomes.iter().enumerate() {
        let points = survivors(&outcome.waits);
        plot.line(&format!("s{}", n % COLOURS), points);
    }
    plot.finish("distribution of waits")
}

/// For each wait in seconds the share of the pods that waited longer, as the corners of a staircase.
fn survivors(waits: &Waits) -> Vec<(f64, f64)> {
    let total = waits.len().max(1) as f64;
    let (mut left, mut drawn) = (waits.len(), 1.0);
    let mut points = vec![(WAIT_MIN_S, drawn)];
    for (ms, pods) in waits.counts() {
        left -= pods;
        let (x, longer) = (seconds(ms), left as f64 / total);
        // Steps too small to see would make the page large.
        if longer < drawn * 0.97 || left == 0 {
            points.extend([(x, drawn), (x, longer)]);
            drawn = longer;
        }
    }
    points
}

/// EC2 calls per node and hour by action.
pub(crate) fn calls(summary: &Summary) -> (String, String) {
    let actions = actions(summary);
    let nodes = f64::from(summary.nodes);
    let part = |p: &PolicySummary, (n, action): (usize, &&str)| {
        let value = p.ec2_calls_per_hour.get(*action).unwrap_or(&0.0) / nodes;
        let title = format!("{action}: {} per node and hour", rough(value));
        Piece { colour: n % COLOURS, value, title }
    };
    let rows: Vec<_> = summary
        .policies
        .iter()
        .map(|p| (p.policy.clone(), actions.iter().enumerate().map(|a| part(p, a)).collect()))
        .collect();
    (bars(1160.0, &rows, "per node and hour"), key(actions.iter().copied()))
}

/// Names with their colours.
pub(crate) fn key<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let items: String = names
        .enumerate()
        .map(|(n, name)| format!(r#"<li><i class="s{}"></i>{}</li>"#, n % COLOURS, escape(name)))
        .collect();
    format!(r#"<ul class="key">{items}</ul>"#)
}

fn actions(summary: &Summary) -> Vec<&'static str> {
    let all: BTreeSet<&str> =
        summary.policies.iter().flat_map(|p| p.ec2_calls_per_hour.keys().copied()).collect();
    all.into_iter().collect()
}

fn seconds(ms: u64) -> f64 {
    (ms as f64 / 1000.0).max(WAIT_MIN_S)
}

/// Every three hours of a day, every day of a week.
fn hour_ticks(hours: f64) -> Vec<f64> {
    let steps = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 48.0, 168.0];
    let step = steps.into_iter().find(|step| hours / step <= 9.0).unwrap_or(336.0);
    (0..).map(|n| f64::from(n) * step).take_while(|x| *x <= hours * 1.0001).collect()
}

/// No more digits than needed.
fn short(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn wait_label(seconds: f64) -> String {
    if seconds < 0.9999 {
        format!("{} ms", short(seconds * 1000.0))
    } else {
        format!("{} s", short(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_waits_falls_where_pods_stop_waiting_and_not_where_the_next_one_does() {
        let mut waits = Waits::default();
        for ms in [10, 10, 10, 2000] {
            waits.note(Duration::from_millis(ms));
        }
        let expected = [(0.001, 1.0), (0.01, 1.0), (0.01, 0.25), (2.0, 0.25), (2.0, 0.0)];
        assert_eq!(survivors(&waits), expected);
    }
}
