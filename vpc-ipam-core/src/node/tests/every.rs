//! Pods with an address on every card: all or nothing.

use super::bench::*;
use crate::{
    node::Assign,
    pool::{Action, AssignError, Release},
};

fn is_persist(action: &Action) -> bool {
    matches!(action, Action::Persist { .. })
}

#[test]
fn one_address_per_managed_card_in_card_order_and_all_files_say_so() {
    for cards in [vec![0, 2], vec![0, 2, 3], vec![0, 1]] {
        let mut bench = Bench::new(&cards);
        bench.run();
        assert_eq!(bench.add_every(0), cards);
        let files = bench.on_file(0);
        let count = u32::try_from(cards.len()).unwrap();
        assert_eq!(files, cards.iter().map(|card| (*card, count)).collect::<Vec<_>>());
        assert_eq!(bench.del(0).unwrap(), cards);
        assert!(bench.on_file(0).is_empty());
    }
}

#[test]
fn a_card_without_an_address_fails_the_add_and_the_others_give_back() {
    let mut bench = Bench::new(&[0, 2, 3]);
    bench.dry = [2].into();
    bench.pass_s(1);
    let op = bench.ask_every(0);
    let error = bench.reply(op).unwrap_err().to_string();
    assert!(error.contains("network card 2: ") && error.contains("subnet"), "{error}");
    assert!(bench.on_file(0).is_empty());
    let stats = bench.node.stats();
    assert_eq!((stats.assigned, stats.waiting), (0, 0), "{stats:?}");
    assert_eq!(bench.del(0).unwrap(), [0; 0], "nothing is left to release");
}

#[test]
fn the_failure_is_told_only_once_what_was_taken_is_back() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    bench.full_disks = [(1, 1)].into();
    bench.hold = is_persist;
    let op = bench.ask_every(0);
    bench.answer_held();
    assert!(bench.replies.is_empty(), "card 0 has yet to write that it is free");
    assert_eq!(bench.on_file(0), []);
    bench.hold = |_| false;
    bench.answer_held();
    let AssignError::NotDurable(text) = bench.reply(op).unwrap_err() else { panic!("full") };
    assert!(text.starts_with("network card 1: "), "{text}");
    assert_eq!(bench.node.stats().assigned, 0);
}

#[test]
fn giving_back_is_tried_again_and_in_the_end_left_to_the_del() {
    for (failures, left) in [(2, false), (30, true)] {
        let mut bench = Bench::new(&[0, 1]);
        bench.run();
        bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
        assert_eq!(bench.add_every(0), [0, 1]);
        let of_card_0 = bench.held.remove(0);
        bench.answer(of_card_0);
        let op = bench.ask_every(1);
        assert_eq!(bench.on_file(1), [(0, 2)], "card 1 has yet to grow");
        bench.dry = [1].into();
        bench.full_disks = [(0, failures)].into();
        bench.answer_held();
        bench.reply(op).unwrap_err();
        assert_eq!(!bench.on_file(1).is_empty(), left, "after {failures} failures");
        bench.full_disks.clear();
        bench.pass_s(60);
        assert_eq!(bench.del(1).unwrap().len(), usize::from(left));
        assert!(bench.on_file(1).is_empty());
    }
}

#[test]
fn a_sandbox_keeps_what_it_had_before_an_add_that_fails() {
    let mut bench = Bench::new(&[0, 2]);
    bench.run();
    assert_eq!(bench.add_every(0), [0, 2]);
    let mut bench = bench.restarted(&[0, 2, 3]);
    bench.dry = [3].into();
    let op = bench.ask_every(0);
    bench.pass_s(50);
    bench.reply(op).unwrap_err();
    let cards: Vec<u32> = bench.on_file(0).into_iter().map(|(card, _)| card).collect();
    assert_eq!(cards, [0, 2], "its pod runs with these");
    bench.dry.clear();
    bench.pass_s(130);
    assert_eq!(bench.add_every(0), [0, 2, 3]);
}

#[test]
fn a_repeated_add_gets_the_same_addresses() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    bench.hold = is_persist;
    let op = bench.ask_every(0);
    assert_eq!(bench.ask_every(0), op);
    bench.hold = |_| false;
    bench.answer_held();
    let got = bench.reply(op).unwrap();
    let again = bench.node.assign_on_every_card(key(0), pod(0), bench.now).unwrap();
    assert_eq!(again, Assign::Ready(got));
}

#[test]
fn a_crash_between_two_cards_is_mended_by_a_repeated_add_or_by_the_del() {
    for repeat in [true, false] {
        let mut bench = Bench::new(&[0, 2]);
        bench.run();
        bench.full_disks = [(2, u32::MAX)].into();
        bench.hold = is_persist;
        bench.ask_every(0);
        let first = bench.held.remove(0);
        assert!(matches!(first, Action::Persist { card: 0, .. }));
        bench.answer(first);
        // Card 2 was never written.
        let file = bench.node.checkpoint(0);
        let configs = configs(&[0, 2], 2);
        let files = configs.into_iter().zip([file, Default::default()]).collect();
        bench.node = crate::node::Node::restore(files, bench.now).unwrap();
        bench.held.clear();
        bench.full_disks.clear();
        bench.hold = |_| false;
        bench.run();
        assert_eq!(bench.on_file(0), [(0, 2)]);
        if repeat {
            assert_eq!(bench.add_every(0), [0, 2]);
        }
        assert_eq!(bench.del(0).unwrap(), if repeat { vec![0, 2] } else { vec![0] });
        assert!(bench.on_file(0).is_empty());
    }
}

#[test]
fn a_del_cancels_the_add_and_leaves_nothing() {
    for answered in 0..3 {
        let mut bench = Bench::new(&[0, 1]);
        bench.run();
        bench.hold = is_persist;
        let op = bench.ask_every(0);
        for _ in 0..answered.min(bench.held.len()) {
            let action = bench.held.remove(0);
            bench.answer(action);
            bench.run();
        }
        let release = bench.node.release(&key(0), bench.now).unwrap();
        bench.hold = |_| false;
        bench.run();
        bench.answer_held();
        if answered < 2 {
            assert!(matches!(bench.reply(op), Err(AssignError::Released)));
        } else {
            bench.reply(op).unwrap();
        }
        if let Release::Pending(op) = release {
            bench.reply(op).unwrap();
        }
        assert!(bench.on_file(0).is_empty());
        assert_eq!(bench.node.stats().assigned, 0);
        assert!(bench.replies.is_empty());
    }
}

#[test]
fn an_abandoned_add_leaves_nothing_whether_or_not_it_was_answered() {
    for answered in [true, false] {
        let mut bench = Bench::new(&[0, 1]);
        bench.run();
        bench.hold = is_persist;
        let op = bench.ask_every(0);
        bench.hold = |_| false;
        if answered {
            bench.answer_held();
            bench.reply(op).unwrap();
        }
        bench.node.abandon(&key(0), op, bench.now);
        bench.run();
        bench.answer_held();
        assert!(bench.on_file(0).is_empty());
        assert_eq!(bench.node.stats().assigned, 0);
        // Another ADD's lease stays.
        assert_eq!(bench.add_every(0), [0, 1]);
        assert_eq!(bench.node.abandon(&key(0), op, bench.now), Release::Absent);
        assert_eq!(bench.on_file(0).len(), 2);
    }
}

#[test]
fn two_pods_that_want_the_last_addresses_do_not_block_each_other() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    assert_eq!(bench.add_every(0), [0, 1]);
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    let (first, second) = (bench.ask_every(1), bench.ask_every(2));
    bench.hold = |_| false;
    bench.answer_held();
    bench.pass_s(50);
    assert_eq!(bench.reply(first).unwrap().iter().count(), 2);
    bench.reply(second).unwrap_err();
    assert!(bench.on_file(2).is_empty());
}
