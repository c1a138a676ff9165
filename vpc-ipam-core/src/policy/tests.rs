#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{AllocationMode, WarmTargets};

const MAX_PODS: u32 = 58;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn config() -> PoolConfig {
    let mut config =
        PoolConfig::new(AllocationMode::Secondary, WarmTargets::default(), 4, 14).unwrap();
    config.max_pods = MAX_PODS;
    config
}

fn pods(assigned: u32) -> Demand {
    Demand { assigned, ..Demand::default() }
}

/// A policy whose clock a test moves.
#[derive(Debug)]
struct Node {
    policy: Adaptive,
    now: Time,
}

impl Node {
    fn new(bounds: Bounds) -> Self {
        Self { policy: Adaptive::new(bounds), now: Time::from_millis(20_000 * DAY_MS) }
    }

    /// One that has run five pods for seven hours.
    fn known() -> Self {
        let mut node = Self::new(Bounds::default());
        node.see(5);
        node.pass(minutes(7 * 60 + 7), 5);
        node
    }

    fn see(&mut self, assigned: u32) -> Band {
        self.policy.observe(pods(assigned), &config(), self.now);
        self.policy.band().unwrap()
    }

    /// Lets time pass as a pool does: the policy is asked whenever it wants to be.
    fn pass(&mut self, time: Duration, assigned: u32) -> Band {
        let end = self.now + time;
        while let Some(at) = self.policy.revisit().filter(|at| *at < end) {
            assert!(at > self.now, "{at} is not later than {}", self.now);
            self.now = at;
            self.see(assigned);
        }
        self.now = end;
        self.see(assigned)
    }

    fn until_full_hour(&self) -> Duration {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        Duration::from_millis(HOUR_MS - self.now.as_millis() % HOUR_MS)
    }

    fn burst(&mut self, from: u32, to: u32, life: Duration) {
        for level in from..=to {
            self.see(level);
            self.pass(Duration::from_millis(100), level);
        }
        self.pass(life, to);
        self.see(from);
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[test]
fn memory_is_fixed_and_none_of_it_is_on_the_heap() {
    assert!(!std::mem::needs_drop::<Adaptive>());
    assert_eq!(Adaptive::MEMORY_BYTES, size_of::<Adaptive>());
    println!("{} bytes", Adaptive::MEMORY_BYTES);
}

#[test]
fn a_new_node_is_ready_for_a_first_burst_and_then_only_for_what_it_has_seen() {
    let mut node = Node::new(Bounds::default());
    let new = node.see(0);
    assert_eq!(new.low, 10);
    assert_eq!(
        new.to_string(),
        "10 to 12 should be free: too little is known yet, so a burst of 10 is expected"
    );
    let quiet = node.pass(minutes(70), 0);
    assert_eq!((quiet.low, quiet.fill), (1, 2));
}

#[test]
fn what_runs_when_the_daemon_starts_is_no_burst() {
    let mut node = Node::new(Bounds::default());
    node.see(30);
    assert_eq!(node.pass(minutes(70), 30).low, 1);
}

#[test]
fn a_peak_is_held_for_half_a_minute_and_a_burst_is_remembered_for_hours() {
    let mut node = Node::known();
    node.burst(5, 13, minutes(1));
    assert_eq!(node.see(5).low, 8);
    // No longer because of the peak, but because eight pods may come again.
    let later = node.pass(minutes(30), 5);
    assert_eq!(later.low, 8);
    let Basis::Learned { recent: 5, day: 13, burst: 8, .. } = later.basis else {
        panic!("{later}");
    };
    assert_eq!(
        later.to_string(),
        "8 to 10 should be free: pods take 5, took up to 5 within 30 s and 13 within a day, and \
         bursts went 8 beyond"
    );
    assert_eq!(node.pass(minutes(60 * 48), 5).low, 1);
}

#[test]
fn a_burst_is_not_expected_on_top_of_itself() {
    let mut node = Node::known();
    for _ in 0..4 {
        node.burst(5, 13, minutes(1));
        node.pass(minutes(47), 5);
    }
    for level in 6..=13 {
        node.see(level);
    }
    assert_eq!(node.pass(minutes(1), 13).low, 1);
}

#[test]
fn a_rare_burst_among_many_pods_is_not_worth_its_addresses() {
    let mut node = Node::known();
    node.burst(5, 13, minutes(1));
    for _ in 0..2000 {
        node.see(6);
        node.pass(Duration::from_secs(2), 6);
        node.see(5);
        node.pass(Duration::from_secs(2), 5);
    }
    node.pass(minutes(11), 5);
    let band = node.see(5);
    assert!(band.low < 8, "{band}");
}

#[test]
fn the_job_of_every_hour_is_expected_two_minutes_before() {
    let mut node = Node::new(Bounds::default());
    node.see(5);
    for _ in 0..4 {
        node.pass(node.until_full_hour(), 5);
        node.burst(5, 17, Duration::from_secs(30));
    }
    let before = node.pass(node.until_full_hour() - minutes(10), 5);
    let due = node.pass(minutes(9), 5);
    assert!(due.low >= 12, "{due}");
    // It is known now, and no longer feared at any other time.
    assert!(before.low < 4, "{before}");
}

#[test]
fn the_job_of_every_day_is_expected_too() {
    let mut node = Node::new(Bounds::default());
    node.see(5);
    for _ in 0..3 {
        node.pass(minutes(24 * 60) - Duration::from_millis(node.now.as_millis() % DAY_MS), 5);
        node.burst(5, 17, minutes(20));
    }
    let rest = DAY_MS - node.now.as_millis() % DAY_MS;
    let before = node.pass(Duration::from_millis(rest) - minutes(30), 5);
    let due = node.pass(minutes(29), 5);
    assert!(due.low >= 12, "{due}");
    assert!(before.low < 12, "{before}");
    assert!(due.to_string().contains("are expected to take 17 at this time of day"), "{due}");
}

#[test]
fn unless_it_is_told_otherwise_it_keeps_no_more_than_an_eni_holds() {
    for (max, low) in [(None, 14), (Some(20), 20), (Some(40), 30)] {
        let mut node = Node::new(Bounds { min: 1, max });
        node.see(5);
        node.pass(minutes(67), 5);
        node.burst(5, 35, minutes(1));
        assert_eq!(node.pass(minutes(30), 5).low, low);
    }
}

/// One pod every three seconds, eight times, on a cloud that takes `lead` to answer.
fn low_after_a_slow_series(lead: Duration) -> u32 {
    let mut node = Node::known();
    for level in (5..=13).chain([5]) {
        let demand = Demand { assigned: level, lead, ..Demand::default() };
        node.policy.observe(demand, &config(), node.now);
        node.pass(Duration::from_secs(3), level);
    }
    node.pass(minutes(5), 5).low
}

#[test]
fn a_burst_is_what_comes_before_the_cloud_has_answered() {
    let quick = low_after_a_slow_series(Duration::from_millis(500));
    let slow = low_after_a_slow_series(Duration::from_secs(10));
    let slower = low_after_a_slow_series(Duration::from_secs(600));
    assert_eq!((quick, slow, slower), (2, 7, 8));
    // Nothing has been fetched yet: reckon with an ENI.
    assert_eq!(low_after_a_slow_series(Duration::ZERO), 5);
}

#[test]
fn a_burst_that_is_under_way_is_fetched_at_once_and_not_pod_by_pod() {
    let mut node = Node::known();
    for _ in 0..3 {
        node.burst(5, 29, minutes(1));
        node.pass(minutes(47), 5);
    }
    let before = node.see(5);
    assert_eq!((before.low, before.fill), (14, 15));
    node.see(6);
    let begun = node.see(7);
    assert!(begun.fill >= 20, "{begun}");
}

#[test]
fn what_is_due_may_be_more_than_an_eni_holds() {
    let mut node = Node::new(Bounds::default());
    node.see(5);
    for _ in 0..3 {
        node.pass(node.until_full_hour(), 5);
        node.burst(5, 25, Duration::from_secs(30));
    }
    let before = node.pass(node.until_full_hour() - minutes(10), 5);
    let due = node.pass(minutes(9), 5);
    assert!(before.low <= 14 && due.low == 20, "{before}\n{due}");
}

#[test]
fn in_prefix_mode_it_keeps_no_more_than_a_prefix_holds() {
    let targets = WarmTargets { prefixes: 1, ..WarmTargets::default() };
    let mut config = PoolConfig::new(AllocationMode::Prefix, targets, 4, 14).unwrap();
    config.max_pods = 200;
    let mut node = Node::known();
    node.burst(5, 40, minutes(1));
    node.pass(minutes(30), 5);
    node.policy.observe(pods(5), &config, node.now);
    assert_eq!(node.policy.band().unwrap().low, 16);
}

#[test]
fn bounds_of_zero_keep_nothing() {
    let mut node = Node::new(Bounds { min: 0, max: Some(0) });
    for level in [0, 9, 3] {
        let band = node.see(level);
        assert_eq!((band.low, band.fill, band.high), (0, 0, 0));
        node.pass(minutes(1), level);
    }
}

fn steps() -> impl Strategy<Value = Vec<(u32, u64)>> {
    // Mostly seconds, sometimes hours, so that all windows end within a history.
    let time = prop_oneof![4 => 0..20_000u64, 1 => 0..600_000u64, 1 => 0..DAY_MS / 4];
    prop::collection::vec((0..70u32, time), 1..60)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (0..20u32, prop::option::of(0..40u32)).prop_map(|(min, max)| Bounds { min, max })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bound_is_ever_passed(bounds in bounds(), steps in steps()) {
        let mut node = Node::new(bounds);
        for (level, time) in steps {
            let band = node.see(level);
            prop_assert!(band.low <= band.fill && band.fill <= band.high, "{band}");
            let (top, most) = bounds.max.map_or_else(
                || (bounds.min.max(14), 2 * bounds.min.max(14)),
                |max| (max, max),
            );
            // Above the top only what is due at this time of the hour or day.
            let due = match band.basis {
                Basis::Learned { expected, .. } => expected.saturating_sub(level),
                _ => 0,
            };
            prop_assert!(band.low <= top.max(due), "{band}");
            prop_assert!(band.fill <= most && band.high <= most, "{band}");
            let room = MAX_PODS.saturating_sub(level);
            prop_assert!(band.high <= room, "{band} at {level}");
            prop_assert!(band.low >= bounds.min.min(top).min(room), "{band}");
            prop_assert!(node.policy.revisit().is_some_and(|at| at > node.now));
            node.pass(Duration::from_millis(time), level);
        }
    }

    #[test]
    fn the_same_history_gives_the_same_bands(bounds in bounds(), steps in steps()) {
        let play = || {
            let mut node = Node::new(bounds);
            steps.iter().map(|(level, time)| {
                node.pass(Duration::from_millis(*time), *level)
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(play(), play());
    }

    #[test]
    fn to_be_asked_more_often_changes_nothing(steps in steps()) {
        let (mut often, mut once) = (Node::new(Bounds::default()), Node::new(Bounds::default()));
        for (level, time) in steps {
            often.see(level);
            for _ in 0..3 {
                often.pass(Duration::from_millis(time / 4), level);
            }
            let rest = time - 3 * (time / 4);
            once.see(level);
            let expected = once.pass(Duration::from_millis(time), level);
            prop_assert_eq!(often.pass(Duration::from_millis(rest), level), expected);
        }
    }

    #[test]
    fn the_band_comes_to_rest_when_pods_stop_changing(steps in steps(), last in 0..60u32) {
        let mut node = Node::new(Bounds::default());
        for (level, time) in steps {
            node.see(level);
            node.pass(Duration::from_millis(time), level);
        }
        // The longest memory: the rises of a day, halved day by day.
        let settled = node.pass(Duration::from_millis(10 * DAY_MS), last);
        for _ in 0..96 {
            let band = node.pass(minutes(15), last);
            prop_assert_eq!(band, settled);
        }
    }
}
