//! DEL on a node with several cards.

use super::bench::*;
use crate::pool::{Action, AssignError, Release};

#[test]
fn a_sandbox_that_no_card_knows_is_absent_and_a_second_del_is_too() {
    let mut bench = Bench::new(&[0, 2]);
    bench.run();
    assert_eq!(bench.node.release(&key(9), bench.now).unwrap(), Release::Absent);
    for n in 0..3 {
        bench.add(n);
    }
    assert_eq!(bench.del(2).unwrap(), [2], "an ordinary pod of the last card");
    assert_eq!(bench.node.release(&key(2), bench.now).unwrap(), Release::Absent);
}

#[test]
fn what_is_found_is_released_although_other_cards_have_lost_it() {
    let mut bench = Bench::new(&[0, 1, 2]);
    bench.run();
    assert_eq!(bench.add_every(0), [0, 1, 2]);
    let mut files: Vec<_> = configs(&[0, 1, 2], 2)
        .into_iter()
        .map(|config| (config.clone(), bench.node.checkpoint(config.card)))
        .collect();
    files[1].1 = Default::default();
    bench.node = crate::node::Node::restore(files, bench.now).unwrap();
    bench.run();
    assert_eq!(bench.del(0).unwrap(), [0, 2]);
    assert!(bench.on_file(0).is_empty());
}

#[test]
fn a_del_that_could_not_be_written_everywhere_fails_and_can_be_repeated() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    assert_eq!(bench.add_every(0), [0, 1]);
    bench.full_disks = [(1, 1)].into();
    assert!(matches!(bench.del(0), Err(AssignError::NotDurable(_))));
    assert_eq!(bench.on_file(0), [(1, 2)]);
    bench.pass_s(60);
    assert_eq!(bench.del(0).unwrap(), [1]);
}

#[test]
fn a_del_is_answered_when_the_last_card_has_written_it() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    assert_eq!(bench.add_every(0), [0, 1]);
    bench.hold = |a| matches!(a, Action::Persist { .. });
    let Release::Pending(op) = bench.node.release(&key(0), bench.now).unwrap() else {
        panic!("it is there")
    };
    bench.run();
    assert_eq!(bench.node.release(&key(0), bench.now).unwrap(), Release::Pending(op));
    let action = bench.held.remove(0);
    bench.answer(action);
    bench.run();
    assert!(bench.replies.is_empty());
    bench.answer_held();
    assert_eq!(bench.reply(op).unwrap().iter().count(), 2);
}

#[test]
fn an_add_that_comes_back_during_the_del_is_released_by_the_next_del() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    assert_eq!(bench.add_every(0), [0, 1]);
    bench.hold = |a| matches!(a, Action::Persist { .. });
    let Release::Pending(del) = bench.node.release(&key(0), bench.now).unwrap() else {
        panic!("it is there")
    };
    bench.run();
    let add = bench.ask(0);
    assert!(!bench.replies.contains_key(&del), "card 1 has not written it yet");
    let Release::Pending(again) = bench.node.release(&key(0), bench.now).unwrap() else {
        panic!("it is there again")
    };
    bench.hold = |_| false;
    bench.run();
    bench.answer_held();
    assert_eq!(again, del, "the same sandbox, the same answer");
    assert!(matches!(bench.reply(add), Err(AssignError::Released)));
    bench.reply(del).unwrap();
    assert!(bench.on_file(0).is_empty());
}
