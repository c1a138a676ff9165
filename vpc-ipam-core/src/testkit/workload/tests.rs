#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn span(node: u32, hours: u32) -> Span {
    Span { seed: 7, node, nodes: 4, duration: HOUR * hours, pods_max: 56 }
}

/// Running pods after each event.
fn levels(load: &[PodEvent]) -> Vec<(Time, usize)> {
    let mut running = BTreeSet::new();
    let step = |event: &PodEvent| {
        let fresh = match event.change {
            PodChange::Starts => running.insert(event.pod),
            PodChange::Stops => running.remove(&event.pod),
        };
        assert!(fresh, "{event:?} comes twice or out of order");
        (event.at, running.len())
    };
    load.iter().map(step).collect()
}

fn level_at(load: &[PodEvent], at: Duration) -> usize {
    let levels = levels(load);
    levels.iter().rev().find(|(t, _)| *t <= Time::ZERO + at).map_or(0, |(_, n)| *n)
}

#[test]
fn every_load_is_by_time_fits_the_node_and_ends_in_time() {
    for workload in Workload::ALL {
        for node in 0..4 {
            let span = span(node, 24);
            let load = workload.events(&span);
            assert!(load.len() > 40, "{workload}: {} events", load.len());
            assert!(load.is_sorted(), "{workload}");
            assert!(load.last().unwrap().at < Time::ZERO + span.duration, "{workload}");
            assert!(levels(&load).iter().all(|(_, n)| *n <= 56), "{workload} overfills the node");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_load_and_nodes_differ() {
    for workload in Workload::ALL {
        assert_eq!(workload.events(&span(1, 6)), workload.events(&span(1, 6)), "{workload}");
        assert_ne!(workload.events(&span(1, 6)), workload.events(&span(2, 6)), "{workload}");
        let other = Span { seed: 8, ..span(1, 6) };
        assert_ne!(workload.events(&span(1, 6)), workload.events(&other), "{workload}");
    }
}

#[test]
fn a_day_of_a_thousand_nodes_is_five_million_events() {
    let events: usize = (0..20).map(|node| daily(&span(node, 24)).len()).sum();
    let per_node = events / 20;
    assert!((4_500..5_500).contains(&per_node), "{per_node} events per node and day");
}

#[test]
fn the_day_is_busy_and_the_night_is_quiet() {
    let at = |hour: u32| -> usize {
        (0..20).map(|node| level_at(&daily(&span(node, 24)), HOUR * hour)).sum::<usize>() / 20
    };
    assert!(at(3) < 16, "{} at night", at(3));
    assert!(at(15) > 34, "{} in the afternoon", at(15));
}

#[test]
fn a_rollout_brings_the_new_pod_before_the_old_one_goes() {
    let load = rollout(&span(0, 6));
    let after_fill = levels(&load).into_iter().filter(|(at, _)| *at > Time::from_millis(60_000));
    let lowest = after_fill.map(|(_, n)| n).min().unwrap();
    assert!(lowest >= 39, "only {lowest} of 39 pods");
    assert!(load.len() > 39 * 5, "{} events in six hours", load.len());
}

#[test]
fn cron_jobs_come_at_the_full_hour() {
    let load = cron(&span(0, 3));
    let before = level_at(&load, HOUR - Duration::from_secs(2));
    let after = level_at(&load, HOUR + Duration::from_secs(10));
    assert!(after >= before + 19, "{before} before, {after} after");
}

#[test]
fn a_drained_node_is_empty_and_fills_again_and_nodes_take_turns() {
    let span = span(0, 8);
    let load = drain(&span);
    assert_eq!(level_at(&load, HOUR - Duration::from_secs(1)), 42);
    assert_eq!(level_at(&load, HOUR + Duration::from_secs(120)), 0);
    assert_eq!(level_at(&load, HOUR * 2), 42);
    let next = drain(&Span { node: 1, ..span });
    assert_eq!(level_at(&next, HOUR + Duration::from_secs(120)), 42);
}

#[test]
fn bursts_come_within_seconds() {
    let load = bursts(&span(0, 12));
    let levels = levels(&load);
    let jump = levels
        .windows(12)
        .any(|w| w[11].1 >= w[0].1 + 11 && w[11].0.since(w[0].0) <= Duration::from_secs(5));
    assert!(jump, "no batch in twelve hours");
}

#[test]
fn a_trace_is_read_and_its_mistakes_are_named() {
    let trace =
        Trace::parse("seconds,node,pod,change\n# a comment\n2.5,1,b,start\n0,0,a,start\n9,0,a,stop\n9,0,a,start\n")
            .unwrap();
    assert_eq!(trace.nodes(), BTreeSet::from([0, 1]));
    assert_eq!(trace.end(), Time::from_millis(9_000));
    let pods: Vec<_> = trace.events(0).iter().map(|e| (e.pod, e.change)).collect();
    assert_eq!(pods, [(0, PodChange::Starts), (0, PodChange::Stops), (1, PodChange::Starts)]);
    assert_eq!(trace.events(1)[0].at, Time::from_millis(2_500));
    for (bad, words) in [
        ("0,0,a", "line 1: \"0,0,a\" is not"),
        ("-1,0,a,start", "is not"),
        ("NaN,0,a,start", "is not"),
        ("0,0,a,start,x", "is not"),
        ("0,0,a,stop", "stops, but does not run"),
        ("0,0,a,start\n1,0,a,start", "line 2: pod \"a\" of node 0 starts while it runs"),
    ] {
        let error = Trace::parse(bad).unwrap_err().to_string();
        assert!(error.contains(words), "{bad:?}: {error}");
    }
}

#[test]
fn names_are_read_back() {
    for workload in Workload::ALL {
        assert_eq!(workload.as_str().parse(), Ok(workload));
    }
    let error = "weekly".parse::<Workload>().unwrap_err().to_string();
    assert!(error.contains("daily"), "{error}");
}
