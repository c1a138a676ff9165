//! Ordinary pods on a node with several cards.

use super::bench::*;
use crate::{
    node::{Assign, Node, NodeError},
    pool::{Action, AssignError},
};

#[test]
fn cards_are_used_in_order_whatever_their_numbers() {
    for cards in [[0, 1, 2], [0, 2, 3], [0, 1, 7]] {
        let mut bench = Bench::new(&cards);
        bench.run();
        let got: Vec<u32> = (0..6).map(|n| bench.add(n).0).collect();
        let [a, b, c] = cards;
        assert_eq!(got, [a, a, b, b, c, c], "the last card of {cards:?} is the last of the list");
        let op = bench.ask(6);
        let AssignError::NoAddress(text) = bench.reply(op).unwrap_err() else { panic!("full") };
        for card in cards {
            assert!(text.contains(&format!("network card {card}: 2 of 2 addresses")), "{text}");
        }
        assert!(bench.on_file(6).is_empty());
    }
}

#[test]
fn a_pod_that_waits_moves_to_the_card_that_has_an_address_first() {
    let mut bench = Bench::new(&[0, 2]);
    bench.run();
    assert_eq!((bench.add(0).0, bench.add(1).0), (0, 0));
    // What card 0 had comes back, but rests; card 2 grows, slowly.
    bench.del(0).unwrap();
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    assert_eq!(bench.add(2).0, 2);
    let op = bench.ask(3);
    assert!(bench.replies.is_empty(), "it waits: {:?}", bench.replies);
    bench.answer_held();
    assert_eq!(bench.reply(op).unwrap().first().card, 2);
    // And the other way round: card 2 is full, the rest on card 0 ends.
    bench.hold = |_| false;
    let op = bench.ask(4);
    assert!(bench.replies.is_empty(), "it waits: {:?}", bench.replies);
    bench.pass_s(31);
    assert_eq!(bench.reply(op).unwrap().first().card, 0);
}

#[test]
fn a_pod_does_not_wait_on_card_0_while_another_card_has_an_address() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    assert_eq!(bench.add(0).0, 0);
    assert_eq!(bench.add(1).0, 1, "card 0 is about to get its second address");
    let op = bench.ask(2);
    // The oldest is served first, wherever an address turns up.
    let last = bench.ask(3);
    let of_card_1 = bench.held.pop().unwrap();
    bench.answer(of_card_1);
    bench.run();
    assert_eq!(bench.reply(op).unwrap().first().card, 1);
    bench.answer_held();
    assert_eq!(bench.reply(last).unwrap().first().card, 0);
}

#[test]
fn only_for_lack_of_an_address_the_next_card_is_asked() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    bench.full_disks = [(0, 1)].into();
    let op = bench.ask(0);
    assert!(matches!(bench.reply(op), Err(AssignError::NotDurable(_))));
    assert!(bench.on_file(0).is_empty());
    bench.pass_s(40);
    assert_eq!(bench.add(0).0, 0);
}

#[test]
fn a_card_that_cannot_grow_is_passed_over_and_the_reasons_are_told() {
    let mut bench = Bench::new(&[0, 1, 2]);
    bench.dry = [0, 1].into();
    bench.pass_s(1);
    assert_eq!((bench.add(0).0, bench.add(1).0), (2, 2));
    let op = bench.ask(2);
    let error = bench.reply(op).unwrap_err().to_string();
    assert_eq!(error.matches("the subnet has no free address").count(), 2, "{error}");
    assert_eq!(error.matches("network card").count(), 3, "{error}");
}

#[test]
fn a_repeated_add_gets_the_same_answer_and_one_reply() {
    let mut bench = Bench::new(&[0, 2]);
    bench.run();
    bench.add(0);
    bench.add(1);
    bench.hold = |a| matches!(a, Action::Persist { .. });
    let op = bench.ask(2);
    assert_eq!(bench.ask(2), op);
    bench.answer_held();
    let got = bench.reply(op).unwrap();
    assert_eq!(got.first().card, 2);
    let before = bench.count(|a| matches!(a, Action::Persist { .. }));
    let again = bench.node.assign(key(2), pod(2), bench.now).unwrap();
    assert_eq!(again, Assign::Ready(got), "on the card that it is on");
    assert_eq!(bench.count(|a| matches!(a, Action::Persist { .. })), before);
}

#[test]
fn a_del_ends_a_wait_on_any_card() {
    let mut bench = Bench::new(&[0, 1]);
    bench.run();
    for n in 0..3 {
        bench.add(n);
    }
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    bench.add(3);
    bench.del(0).unwrap();
    let op = bench.ask(4);
    assert_eq!(bench.del(4).unwrap(), [0; 0]);
    assert!(matches!(bench.reply(op), Err(AssignError::Released)));
    bench.pass_s(60);
    assert!(bench.on_file(4).is_empty());
}

#[test]
fn a_node_has_its_cards_in_order_and_the_first_one() {
    let node = |cards: &[u32]| Node::new(configs(cards, 2), START).map(|node| node.cards().count());
    assert_eq!(node(&[0, 1, 5]), Ok(3));
    assert_eq!(node(&[1, 2]), Err(NodeError::NoFirstCard));
    assert_eq!(node(&[0, 2, 1]), Err(NodeError::OutOfOrder(1)));
    assert_eq!(node(&[0, 0]), Err(NodeError::OutOfOrder(0)));
    assert_eq!(Node::new(Vec::new(), START).unwrap_err(), NodeError::NoFirstCard);
}

#[test]
fn a_node_with_one_card_is_its_pool() {
    let config = configs(&[0], 2).remove(0);
    let mut node = Bench::with(Node::from(crate::pool::Pool::new(config.clone(), START)));
    let mut pool = crate::pool::Pool::new(config, START);
    node.hold = |_| true;
    node.run();
    let actions: Vec<Action> = std::iter::from_fn(|| pool.poll_action(START)).collect();
    assert_eq!(node.log, actions, "numbers included");
    let every = node.node.assign_on_every_card(key(0), pod(0), START).unwrap();
    assert_eq!(every, super::super::alone(pool.assign(key(0), pod_of(0), START).unwrap()));
}

fn pod_of(n: u32) -> crate::id::PodRef {
    pod(n)
}
