use std::time::Duration;

use super::bench::*;
use crate::{
    cloud::{AddressCount, CloudErrorKind},
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    pool::{Action, Event},
};

fn grows(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. })
}

fn describes(action: &Action) -> bool {
    matches!(action, Action::Describe { .. })
}

#[test]
fn the_first_action_lists_the_enis_and_is_retried_until_it_succeeds() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.cloud_fails = Some(CloudErrorKind::Unreachable);
    bench.run();
    assert!(matches!(bench.log[0], Action::Describe { .. }));
    assert!(!bench.pool.stats().ready);
    bench.pass_s(120);
    let tries = bench.count(describes);
    // Half to full delays of 1, 2, 4, 8, 16, 30, 30 s.
    assert!((6..=12).contains(&tries), "{tries} tries");
    assert_eq!(bench.count(grows), 0);
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("DescribeNetworkInterfaces: scripted"), "{degraded}");
    bench.cloud_fails = None;
    bench.pass_s(31);
    assert!(bench.pool.stats().ready);
    assert_eq!(bench.shape(), (vec![1], 1));
}

#[test]
fn growth_stops_at_the_pods_of_the_node() {
    let mut config = config(Secondary, WarmTargets::default());
    config.max_pods = 11;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    for n in 0..11 {
        bench.add(n);
    }
    bench.pass_s(300);
    assert_eq!(bench.shape(), (vec![9, 2], 0));
}

#[test]
fn a_short_subnet_is_asked_for_half_and_then_left_alone_for_two_minutes() {
    let mut bench = Bench::new(config(Secondary, warm_ips(8, 0)));
    bench.cloud_fails = None;
    bench.hold = grows;
    bench.pass_s(1);
    bench.cloud_fails = Some(CloudErrorKind::InsufficientAddresses);
    let mut asked = Vec::new();
    while let Some(action) = bench.held.pop() {
        if let Action::AssignAddresses { count, .. } = &action {
            asked.push(count.slots());
        }
        bench.answer(action);
        bench.run();
    }
    assert_eq!(asked, [8, 4, 2, 1]);
    let stats = bench.pool.stats();
    assert_eq!(stats.growth_paused_until, Some(bench.now + Duration::from_secs(120)));
    assert!(stats.degraded.iter().any(|d| d.contains("subnet is exhausted")), "{stats:?}");
    // Nobody waits for a subnet that is looked at again only after the ADD's time is up.
    let op = bench.ask(1);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("the subnet has no free address left"), "{text}");
    bench.pass_s(119);
    assert!(bench.held.is_empty());
    // Towards the end of the pause an ADD may well be served.
    let late = bench.ask(2);
    bench.cloud_fails = None;
    bench.hold = |_| false;
    bench.pass_s(2);
    assert!(bench.reply(late).is_ok());
    assert_eq!(bench.pool.stats().growth_paused_until, None);
}

#[test]
fn an_exhausted_kind_pauses_only_itself() {
    let mut bench = Bench::new(config(Prefix, warm_ips(1, 0)));
    bench.hold = grows;
    bench.pass_s(1);
    bench.cloud_fails = Some(CloudErrorKind::InsufficientPrefixes);
    let action = bench.held.pop().unwrap();
    bench.answer(action);
    bench.run();
    let asked = |bench: &Bench| match bench.held.as_slice() {
        [Action::AssignAddresses { count, .. }] => *count,
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&bench), AddressCount::Secondary(1), "single addresses are another matter");
    bench.cloud_fails = Some(CloudErrorKind::InsufficientAddresses);
    let action = bench.held.pop().unwrap();
    bench.answer(action);
    bench.run();
    assert!(bench.held.iter().all(|a| matches!(a, Action::CreateEni { .. })), "{:?}", bench.held);
}

#[test]
fn a_throttled_account_is_asked_less_and_less() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.cloud_fails = Some(CloudErrorKind::Throttled);
    bench.add(1);
    bench.pass_s(600);
    let tries = bench.count(grows);
    assert!((10..30).contains(&tries), "{tries} tries in ten minutes");
    bench.cloud_fails = None;
    bench.pass_s(61);
    assert_eq!(bench.shape(), (vec![2], 1));
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
}

#[test]
fn a_limit_that_the_pool_did_not_know_of_makes_it_look_again() {
    for kind in
        [CloudErrorKind::AddressLimit, CloudErrorKind::AttachmentLimit, CloudErrorKind::Gone]
    {
        let mut bench = Bench::new(config(Secondary, warm_ips(3, 0)));
        bench.pass_s(1);
        let before = bench.count(describes);
        // Somebody else has added addresses that the pool does not know.
        let id = bench.enis.keys().next().unwrap().clone();
        bench.assign_in_cloud(&id, AddressCount::Secondary(1));
        bench.hold = grows;
        bench.add(1);
        bench.cloud_fails = Some(kind);
        let action = bench.held.pop().unwrap();
        let event_time = bench.now;
        bench.hold = |a| grows(a) || describes(a);
        bench.answer(action);
        bench.run();
        bench.cloud_fails = None;
        bench.hold = grows;
        bench.answer_held();
        assert_eq!(bench.now, event_time, "without waiting for the next period");
        assert_eq!(bench.count(describes), before + 1, "{kind:?}");
        assert_eq!(bench.pool.stats().total, 4, "{kind:?}");
    }
}

#[test]
fn an_empty_answer_is_no_growth() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.hold = grows;
    bench.pass_s(1);
    for _ in 0..20 {
        let Some(Action::AssignAddresses { op, .. }) = bench.held.pop() else { break };
        bench.pool.handle(Event::AddressesAssigned { op, result: Ok(Vec::new()) }, bench.now);
        bench.run();
    }
    assert!(bench.held.is_empty(), "asks again and again without a pause");
}

#[test]
fn without_provisioning_the_pool_changes_nothing_and_follows() {
    let mut config = config(Secondary, warm_ips(4, 0));
    config.provisioning = false;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(3));
    bench.pass_s(71);
    assert_eq!(bench.shape(), (vec![3], 3));
    bench.add(1);
    bench.pass_s(600);
    let changes = |a: &Action| grows(a) || matches!(a, Action::UnassignAddresses { .. });
    assert_eq!(bench.count(changes), 0);
}

#[test]
fn a_draining_node_serves_but_neither_grows_nor_shrinks() {
    let mut bench = Bench::new(config(Secondary, warm_ips(3, 0)));
    bench.pass_s(1);
    bench.pool.handle(Event::Draining, bench.now);
    let before = bench.log.len();
    for n in 0..3 {
        bench.add(n);
    }
    let op = bench.ask(3);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("draining"), "{text}");
    for n in 0..3 {
        bench.del(n);
    }
    bench.pass_s(600);
    let only_state = |a: &Action| matches!(a, Action::Persist { .. } | Action::Describe { .. });
    assert!(bench.log[before..].iter().all(only_state), "{:?}", &bench.log[before..]);
}

#[test]
fn adds_wait_for_the_eni_that_will_bring_the_node_to_its_pod_limit() {
    let mut config = config(Secondary, WarmTargets::default());
    config.max_pods = 27;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    for n in 0..9 {
        bench.add(n);
    }
    bench.pass_s(1);
    bench.hold = |action| matches!(action, Action::CreateEni { .. });
    for n in 9..20 {
        bench.ask(n);
    }
    bench.pass_s(1);
    let refused = |bench: &Bench| bench.replies.values().filter(|r| r.is_err()).count();
    assert_eq!((refused(&bench), bench.pool.stats().waiting), (0, 2));
    bench.answer_held();
    bench.pass_s(1);
    assert_eq!((refused(&bench), bench.pool.stats().waiting), (0, 0));
}

#[test]
fn a_failed_growth_that_is_no_longer_needed_is_no_reason_to_worry() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.cloud_fails = Some(CloudErrorKind::PermissionDenied);
    bench.add(1);
    bench.pass_s(5);
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("AssignPrivateIpAddresses: scripted"), "{degraded}");
    bench.del(1);
    bench.cloud_fails = None;
    bench.pass_s(120);
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
}

#[test]
fn a_refused_growth_is_not_repeated_at_once_whatever_the_reason() {
    use CloudErrorKind as K;
    let kinds = [
        K::AddressLimit,
        K::AttachmentLimit,
        K::Gone,
        K::InUse,
        K::InsufficientAddresses,
        K::InsufficientPrefixes,
        K::Malformed,
        K::Other,
        K::PermissionDenied,
        K::Throttled,
        K::Unreachable,
    ];
    for (mode, kind) in kinds.into_iter().flat_map(|kind| [(Prefix, kind), (Secondary, kind)]) {
        let mut bench = Bench::new(config(mode, warm_ips(1, 0)));
        bench.hold = grows;
        bench.pass_s(1);
        for _ in 0..10 {
            let Some(action) = bench.held.pop() else { break };
            bench.cloud_fails = Some(kind);
            bench.answer(action);
            bench.cloud_fails = None;
            bench.run();
        }
        // On this ENI, and once with a new one; for lack of blocks also with a single address.
        let tries = bench.count(grows);
        let most = if mode == Prefix { 3 } else { 2 };
        assert!(tries <= most, "{mode:?} after {kind:?}: {tries} tries in no time");
    }
}

#[test]
fn an_eni_that_turns_out_to_be_full_does_not_keep_the_others_from_growing() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    let second = bench.attach_eni();
    bench.next_read();
    let first = bench.primary();
    bench.hold = grows;
    bench.add(1);
    bench.add(2);
    let full = bench.held.remove(0);
    assert!(matches!(&full, Action::AssignAddresses { eni, .. } if *eni == first), "{full:?}");
    bench.cloud_fails = Some(CloudErrorKind::AddressLimit);
    bench.answer(full);
    bench.cloud_fails = None;
    bench.run();
    let next = bench.held.first().expect("without waiting for anything");
    assert!(matches!(next, Action::AssignAddresses { eni, .. } if *eni == second), "{next:?}");
    bench.hold = |_| false;
    bench.answer_held();
    let (shape, free) = bench.shape();
    assert_eq!((shape[0], free), (2, 2), "{shape:?}");
}
