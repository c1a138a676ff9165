//! EC2 calls within the budget, and what is done without while EC2 throttles.

use std::time::Duration;

use super::bench::*;
use crate::{
    budget::{CallLevel, Rate},
    cloud::{CloudError, CloudErrorKind},
    config::{AllocationMode::Secondary, WarmTargets},
    pool::{Action, Event},
    time::Time,
};

fn grows(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. })
}

fn assigns(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { .. })
}

fn releases(action: &Action) -> bool {
    matches!(action, Action::UnassignAddresses { .. })
}

fn deletes(action: &Action) -> bool {
    matches!(action, Action::DeleteEni { .. })
}

fn describes(action: &Action) -> bool {
    matches!(action, Action::Describe { .. })
}

fn calls(action: &Action) -> bool {
    grows(action) || releases(action) || deletes(action) || describes(action)
}

fn retarget(bench: &mut Bench, targets: WarmTargets) {
    let mut config = bench.pool.config().clone();
    config.targets = targets;
    bench.pool.handle(Event::Reconfigured(Box::new(config)), bench.now);
    bench.run();
}

/// EC2 throttles requests for what pod 0 has taken from the pool, until that level is reached.
fn throttle(bench: &mut Bench, level: CallLevel) {
    bench.cloud_fails = Some(CloudErrorKind::Throttled);
    bench.add(0);
    for _ in 0..100 {
        if bench.pool.stats().call_level == level {
            bench.cloud_fails = None;
            return;
        }
        bench.pass(Duration::from_millis(500));
    }
    panic!("no request");
}

#[test]
fn pods_that_find_no_call_are_served_together_by_the_next_one() {
    let mut config = config(Secondary, warm_ips(1, 0));
    config.budget.assign = Rate { capacity: 3, interval: Duration::from_secs(10) };
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let asked: Vec<_> = (0..7).map(|n| bench.ask(n)).collect();
    assert_eq!(bench.count(assigns), 3);
    let text = bench.pool.plan(bench.now).reason.to_string();
    assert!(text.starts_with("the node has made as many EC2 calls as it may"), "{text}");
    bench.pass_s(10);
    assert_eq!(bench.count(assigns), 4, "one for all of them");
    for op in asked {
        assert!(bench.reply(op).is_ok());
    }
}

#[test]
fn a_throttled_node_gives_nothing_back_until_throttling_is_forgotten() {
    let mut bench = Bench::new(config(Secondary, warm_ips(4, 0)));
    bench.pass_s(1);
    throttle(&mut bench, CallLevel::NoReleases);
    bench.pass_s(3);
    assert_eq!(bench.pool.stats().call_level, CallLevel::NoReleases);
    retarget(&mut bench, warm_ips(1, 0));
    assert_eq!((bench.shape(), bench.count(releases)), ((vec![5], 4), 0));
    let text = bench.pool.plan(bench.now).reason.to_string();
    assert!(text.starts_with("EC2 has throttled 1 call(s), so nothing is given back"), "{text}");
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("EC2 throttles this account (1 call(s) so far)"), "{degraded}");
    bench.pass_s(45);
    let stats = bench.pool.stats();
    assert_eq!((stats.call_level, stats.throttled_calls), (CallLevel::Normal, 1));
    assert_eq!((stats.degraded, bench.shape()), (vec![], (vec![2], 1)));
}

#[test]
fn what_had_left_the_pool_waits_as_well_unless_a_pod_needs_its_place() {
    let mut config = config(Secondary, warm_ips(0, 9));
    config.max_enis = 1;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    (0..7).for_each(|n| assert!(bench.add(n).is_ipv4()));
    bench.hold = |a| matches!(a, Action::SetUpEni { .. });
    retarget(&mut bench, warm_ips(0, 7));
    let op = bench.pool.stats().call_level;
    assert_eq!(op, CallLevel::Normal);
    // A read is throttled before the host has forgotten the two that go.
    bench.cloud_fails = Some(CloudErrorKind::Throttled);
    bench.pass_s(71);
    bench.cloud_fails = None;
    assert_eq!(bench.pool.stats().call_level, CallLevel::NoReleases);
    bench.hold = |_| false;
    bench.answer_held();
    assert_eq!(bench.count(releases), 0);
    let op = bench.ask(7);
    assert_eq!(bench.count(releases), 1);
    bench.pass_s(1);
    assert!(bench.reply(op).is_ok());
}

#[test]
fn under_heavy_throttling_only_pods_that_wait_are_worth_a_call() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    throttle(&mut bench, CallLevel::NoMutations);
    assert_eq!(bench.pool.stats().call_level, CallLevel::NoMutations);
    let before = bench.count(grows);
    bench.pass_s(20);
    assert_eq!(bench.count(grows), before, "the warm target can wait");
    bench.add(1);
    bench.add(2);
    let op = bench.ask(3);
    bench.pass_s(20);
    assert!(bench.reply(op).is_ok());
    assert_eq!(bench.pool.stats().call_level, CallLevel::NoReleases, "EC2 takes calls again");
    assert_eq!(bench.shape().1, 2, "so the warm target is met again");
}

#[test]
fn an_eni_that_has_left_the_pool_waits_for_a_call_to_be_deleted() {
    let mut config = config(Secondary, WarmTargets { enis: 3, ..Default::default() });
    config.budget.delete = Rate { capacity: 1, interval: Duration::from_secs(100) };
    let mut bench = Bench::new(config);
    bench.pass_s(100);
    assert_eq!(bench.enis.len(), 3);
    retarget(&mut bench, WarmTargets { enis: 0, ..Default::default() });
    bench.pass_s(60);
    assert_eq!((bench.count(deletes), bench.enis.len()), (1, 2));
    bench.pass_s(60);
    assert_eq!((bench.count(deletes), bench.enis.len()), (2, 1));
}

#[test]
fn a_world_that_throttles_everything_for_an_hour_hears_little_and_is_used_again_afterwards() {
    for pods_wait in [false, true] {
        let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
        bench.pass_s(1);
        bench.cloud_fails = Some(CloudErrorKind::Throttled);
        let before = bench.count(calls);
        bench.add(0);
        bench.add(1);
        for n in 2..62 {
            if pods_wait {
                bench.ask(n);
            }
            bench.pass_s(60);
        }
        let made = bench.count(calls) - before;
        assert!(made < 450, "{made} calls in an hour");
        let degraded = bench.pool.stats().degraded.join("; ");
        assert!(degraded.contains("EC2 throttles this account"), "{degraded}");
        bench.cloud_fails = None;
        let op = bench.ask(100);
        bench.pass_s(35);
        assert!(bench.reply(op).is_ok(), "a pod is served within half a minute");
        bench.pass_s(600);
        let stats = bench.pool.stats();
        assert_eq!((stats.call_level, stats.degraded), (CallLevel::Normal, vec![]));
        assert_eq!(bench.shape(), (vec![5], 2));
    }
}

/// Times of the reads within so many seconds, from now on.
fn reads(bench: &mut Bench, seconds: u64) -> Vec<u64> {
    let start = bench.now;
    let mut times = Vec::new();
    let mut before = bench.count(describes);
    while bench.now < start + Duration::from_secs(seconds) {
        bench.pass_s(1);
        if bench.count(describes) > before {
            before = bench.count(describes);
            times.push(bench.now.since(start).as_secs());
        }
    }
    times
}

#[test]
fn a_quiet_node_is_read_less_and_less_often() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    let times = reads(&mut bench, 3600);
    assert!((12..=16).contains(&times.len()), "{times:?}");
    bench.add(1);
    bench.pass_s(1);
    let times = reads(&mut bench, 300);
    assert!(times[0] <= 70, "{times:?}: what the pool changed is looked at within the minute");
    let second = times[1] - times[0];
    assert!((60..=131).contains(&second), "{times:?}");
}

#[test]
fn what_a_read_shows_or_fails_to_show_brings_the_next_one_sooner() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    reads(&mut bench, 3600);
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, crate::cloud::AddressCount::Secondary(1));
    let times = reads(&mut bench, 700);
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().any(|gap| *gap <= 71), "{times:?}");
    reads(&mut bench, 3600);
    bench.cloud_fails = Some(CloudErrorKind::Unreachable);
    assert!(reads(&mut bench, 700).len() > 15);
    bench.cloud_fails = None;
}

#[test]
fn reads_keep_within_their_budget_whatever_asks_for_them() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.hold = grows;
    let before = bench.count(describes);
    for n in 0..9 {
        bench.ask(n);
        // Each of them makes the pool look again.
        while let Some(action) = bench.held.pop() {
            let error = CloudError::new(CloudErrorKind::Gone, "AssignPrivateIpAddresses", "gone");
            let event = match action {
                Action::AssignAddresses { op, .. } => {
                    Event::AddressesAssigned { op, result: Err(error) }
                }
                Action::CreateEni { op, .. } => Event::EniCreated { op, result: Err(error) },
                other => panic!("{other:?}"),
            };
            bench.pool.handle(event, bench.now);
            bench.run();
        }
        bench.pass_s(2);
    }
    let most = 10 + bench.now.since(START).as_secs() / 10 + 1;
    let made = (bench.count(describes) - before) as u64;
    assert!(made <= most && made > 1, "{made} reads, at most {most}");
    assert!(bench.now > Time::ZERO);
}
