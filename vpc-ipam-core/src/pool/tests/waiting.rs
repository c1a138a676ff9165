use std::time::Duration;

use super::bench::*;
use crate::{
    cloud::{AddressCount, CloudErrorKind},
    config::AllocationMode::{Prefix, Secondary},
    pool::{Action, Assign, AssignError, Release, waiting::WAITING_MAX},
};

fn grows(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. })
}

#[test]
fn an_add_waits_for_the_growth_under_way_and_is_served_when_it_arrives() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.add(1);
    bench.hold = grows;
    bench.add(2);
    assert_eq!(bench.held.len(), 1, "the target asks for one more");
    let op = bench.ask(3);
    bench.pass_s(20);
    assert_eq!(bench.pool.stats().waiting, 1);
    assert_eq!(bench.pool.assign(key(3), pod(3), bench.now).unwrap(), Assign::Pending(op));
    bench.answer_held();
    assert!(bench.reply(op).is_ok());
    assert_eq!(bench.pool.stats().waiting, 0);
}

#[test]
fn a_burst_is_met_in_one_step_and_not_asked_for_twice() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.hold = grows;
    bench.add(0);
    let held = bench.held.len();
    assert_eq!(held, 1);
    let ops: Vec<_> = (1..9).map(|n| bench.ask(n)).collect();
    bench.answer_held();
    // One address was under way for the target; the answer brings the rest in one call.
    assert_eq!(bench.held.len(), 1);
    let Action::AssignAddresses { count, .. } = &bench.held[0] else { panic!("{:?}", bench.held) };
    assert_eq!(*count, AddressCount::Secondary(7));
    bench.hold = |_| false;
    bench.answer_held();
    // Eight pods wait, and one address more is wanted: that is another ENI.
    for op in ops {
        assert!(bench.reply(op).is_ok());
    }
    bench.pass_s(1);
    assert_eq!(bench.shape(), (vec![9, 1], 1));
}

#[test]
fn enis_grow_side_by_side_but_are_created_one_by_one() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 1)));
    bench.hold = grows;
    bench.pass_s(1);
    let ops: Vec<_> = (0..25).map(|n| bench.ask(n)).collect();
    let creations =
        |bench: &Bench| bench.held.iter().filter(|a| matches!(a, Action::CreateEni { .. })).count();
    for _ in 0..8 {
        assert!(creations(&bench) <= 1);
        bench.answer_held();
    }
    for op in ops {
        assert!(bench.reply(op).is_ok());
    }
    assert_eq!(bench.shape(), (vec![9, 9, 7], 0), "asked for no more than the pods need");
}

#[test]
fn first_come_first_served() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 1)));
    bench.hold = grows;
    bench.pass_s(1);
    let ops: Vec<_> = (0..5).map(|n| bench.ask(n)).collect();
    bench.answer_held();
    let mut ips = Vec::new();
    while !bench.held.is_empty() {
        bench.answer_held();
    }
    for op in ops {
        ips.push(bench.reply(op).unwrap().ip);
    }
    assert!(ips.is_sorted(), "{ips:?}");
}

#[test]
fn a_full_node_refuses_at_once_with_numbers_and_a_remedy() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    for n in 0..27 {
        bench.add(n);
        // Each takes an EC2 call.
        bench.pass_s(3);
    }
    let op = bench.ask(27);
    let error = bench.reply(op).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free address: 27 of 27 addresses in use on 3 of 3 ENIs, and no ENI can hold more than \
         9 address(es); run fewer pods or use a larger instance type"
    );
    let stats = bench.pool.stats();
    assert_eq!((stats.no_address, stats.waiting), (1, 0));
}

#[test]
fn a_node_with_all_its_pods_refuses_at_once() {
    let mut config = config(Prefix, warm_ips(1, 0));
    config.max_pods = 16;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    for n in 0..16 {
        bench.add(n);
    }
    let op = bench.ask(16);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("16 of 16 addresses in use on 1 ENI(s)"), "{text}");
    assert!(text.contains("16 address(es) cover the 16 pods"), "{text}");
}

#[test]
fn an_add_that_waits_too_long_hears_what_was_tried() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.cloud_fails = Some(CloudErrorKind::Throttled);
    bench.add(0);
    let op = bench.ask(1);
    bench.pass_s(44);
    assert!(bench.replies.is_empty());
    bench.pass_s(2);
    let text = bench.reply(op).unwrap_err().to_string();
    for part in
        ["none within 45 s", "1 of 1 addresses in use", "AssignPrivateIpAddresses: scripted"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn before_the_first_view_an_add_waits_and_says_so() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.cloud_fails = Some(CloudErrorKind::Unreachable);
    let op = bench.ask(1);
    let again = bench.ask(2);
    bench.pass_s(40);
    bench.cloud_fails = None;
    bench.pass_s(4);
    assert!(bench.replies.is_empty(), "backoff has grown past 4 s");
    bench.pass_s(40);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("DescribeNetworkInterfaces: scripted"), "{text}");
    assert!(bench.reply(again).is_err());
    assert!(bench.add(3).is_ipv4(), "served since");
}

#[test]
fn a_del_ends_the_waiting_of_its_add() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.hold = |_| true;
    let op = bench.ask(1);
    assert_eq!(bench.pool.release(&key(1), bench.now).unwrap(), Release::Absent);
    bench.run();
    assert!(matches!(bench.reply(op), Err(AssignError::Released)));
    assert_eq!(bench.pool.stats().waiting, 0);
}

#[test]
fn the_queue_is_bounded() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.hold = |_| true;
    for n in 0..WAITING_MAX {
        bench.pool.assign(key(u32::try_from(n).unwrap()), pod(0), bench.now).unwrap();
    }
    let error = bench.pool.assign(key(9999), pod(0), bench.now).unwrap_err();
    assert!(matches!(error, AssignError::QueueFull(WAITING_MAX)), "{error}");
    // One that waits already may ask again.
    assert!(bench.pool.assign(key(0), pod(0), bench.now).is_ok());
    bench.pass(Duration::from_secs(46));
    assert_eq!(bench.pool.stats().waiting, 0);
}

#[test]
fn an_add_on_a_full_node_waits_for_a_release_that_is_being_written() {
    let mut config = config(Secondary, warm_ips(0, 1));
    config.max_pods = 1;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let ip = bench.add(1);
    bench.hold = |a| matches!(a, Action::Persist { .. });
    bench.pool.release(&key(1), bench.now).unwrap();
    let op = bench.ask(2);
    assert!(bench.replies.is_empty());
    bench.hold = |_| false;
    bench.answer_held();
    bench.pass_s(31);
    assert_eq!(bench.reply(op).unwrap().ip, ip);
}
