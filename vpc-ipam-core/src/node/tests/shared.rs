//! One read of the cloud and one hint for all cards.

use super::bench::*;
use crate::{
    cloud::{CloudError, CloudErrorKind},
    pool::{Action, Event},
};

fn is_read(action: &Action) -> bool {
    matches!(action, Action::Describe { .. })
}

fn is_hint(action: &Action) -> bool {
    matches!(action, Action::Remember { .. })
}

#[test]
fn one_read_per_round_serves_all_cards() {
    let mut bench = Bench::new(&[0, 1, 2]);
    bench.run();
    assert_eq!(bench.count(is_read), 1);
    assert_eq!(bench.node.stats().enis.len(), 3, "each card has seen it, and has its ENI");
    bench.pass_s(3600);
    let reads = bench.count(is_read);
    assert!((12..=16).contains(&reads), "{reads} reads in an hour of a quiet node");
}

#[test]
fn a_failed_read_is_repeated_once_not_once_per_card() {
    let mut bench = Bench::new(&[0, 1, 2]);
    bench.hold = is_read;
    bench.run();
    for round in 1..4 {
        let Action::Describe { op } = bench.held.remove(0) else { panic!("a read") };
        let error = CloudError::new(CloudErrorKind::Unreachable, "DescribeNetworkInterfaces", "");
        bench.node.handle(Event::Described { op, result: Err(error) }, bench.now);
        bench.pass_s(30);
        assert_eq!(bench.held.len(), 1);
        assert_eq!(bench.count(is_read), round + 1);
    }
}

#[test]
fn a_view_that_is_older_than_a_card_s_change_proves_nothing_there() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    bench.pass_s(1);
    bench.hold = is_read;
    bench.pass_s(80);
    // The read has begun; what it will say is known now, but card 1 grows before it is heard.
    let Action::Describe { op } = bench.held.remove(0) else { panic!("a read") };
    let enis = bench.enis.values().cloned().collect();
    for n in 0..3 {
        bench.add(n);
    }
    assert_eq!(bench.add(3).0, 1);
    let view = crate::cloud::CloudView { enis, authority: crate::cloud::Authority::Ec2 };
    bench.node.handle(Event::Described { op, result: Ok(view) }, bench.now);
    bench.run();
    assert_eq!(bench.node.stats().orphaned, 0, "an old view took what is new");
    assert_eq!(bench.node.pool(1).unwrap().stats().assigned, 2);
}

#[test]
fn the_hint_names_all_cards_and_is_written_one_at_a_time() {
    let configs = configs(&[0, 1], 2).into_iter();
    let configs = configs.map(|config| crate::config::PoolConfig { remember: true, ..config });
    let mut bench = Bench::with(crate::node::Node::new(configs.collect(), START).unwrap());
    bench.hold = is_hint;
    bench.run();
    assert_eq!(bench.held.len(), 1, "two writes of one file could end in either order");
    for _ in 0..3 {
        bench.answer_held();
        assert!(bench.held.len() <= 1);
    }
    bench.hold = |_| false;
    bench.answer_held();
    bench.pass_s(1);
    let cards: Vec<u32> = bench.remembered.iter().map(|eni| eni.card).collect();
    assert_eq!(cards, [0, 1]);
    assert_eq!(bench.remembered, bench.node.remembered());
    // What is remembered serves the next life, each card its own.
    let mut again = Bench::new(&[0, 1]);
    again.node.recall(&bench.remembered, START);
    let enis: Vec<u32> = again.node.stats().enis.iter().map(|eni| eni.card).collect();
    assert_eq!(enis, [0, 1]);
}

#[test]
fn what_answers_nothing_is_counted_and_settings_reach_the_card_that_they_name() {
    let mut bench = Bench::new(&[0, 2]);
    bench.run();
    for op in [3, 4, 5, 3_000, 3_001, 3_002] {
        let result = Ok(());
        bench.node.handle(Event::Remembered { op: crate::id::OpId(op), result }, bench.now);
    }
    assert_eq!(bench.node.stats().unexpected_events, 6);
    let config = crate::config::PoolConfig { max_pods: 7, ..configs(&[0, 2], 2).remove(1) };
    bench.node.handle(Event::Reconfigured(Box::new(config)), bench.now);
    let max_pods = |card| bench.node.pool(card).unwrap().config().max_pods;
    assert_eq!((max_pods(0), max_pods(2)), (110, 7));
}
