//! A node that is killed at any step of any write, and goes back and forth between this daemon and the
//! reference. The kernel's own knowledge of the pods is left out: the files alone must do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod disk;
mod node;

use vpc_ipam_core::checkpoint::{Checkpoint, encode};

use self::{
    disk::FakeDisk,
    node::{FILE, Node, Step, Who, key},
};
use super::*;

/// Sandboxes that come, go and come again.
fn busy(from: u32) -> Vec<Step> {
    let mut steps: Vec<Step> = (from..from + 4).map(Step::Add).collect();
    steps.extend((from..from + 2).map(Step::Del));
    steps.extend([from + 4, from + 5, from].map(Step::Add));
    steps
}

/// Every step of the first life, of the second and of both is the last one, once.
fn stop_everywhere(lives: [Who; 3]) {
    let run = |first: Option<usize>, second: Option<usize>| {
        let mut node = Node::new();
        // The first life makes addresses.
        node.live(Who::Whole, &[], None);
        let steps = node.live(lives[0], &busy(0), first);
        let steps = steps.max(node.live(lives[1], &busy(20), second));
        node.live(lives[2], &busy(40), None);
        assert!(node.live.len() >= 5, "{lives:?} serves nobody");
        steps
    };
    let steps = run(None, None);
    assert!(steps > 10, "{lives:?} needed {steps} operations");
    for stop in (0..=steps).map(Some) {
        run(stop, None);
        run(None, stop);
        run(stop, stop);
    }
}

#[test]
fn an_address_that_is_used_again_is_in_the_file_before_its_pod_has_it() {
    let mut steps: Vec<Step> = (0..15).map(Step::Add).collect();
    steps.extend([Step::Del(0), Step::Add(20), Step::Add(21), Step::Del(1), Step::Add(22)]);
    for stop in 0..100 {
        let mut node = Node::scarce();
        node.live(Who::Whole, &[], None);
        node.live(Who::Journaled, &steps, Some(stop));
        node.live(Who::Reference, &[Step::Add(40), Step::Add(41)], None);
        node.live(Who::Journaled, &[Step::Add(60)], None);
    }
}

#[test]
fn ours_and_the_reference_take_turns_and_no_address_is_given_twice() {
    use Who::{Journaled as J, Reference as R, Whole as W};
    for lives in [[J, R, J], [R, J, R], [J, J, J], [J, W, J], [W, R, W]] {
        stop_everywhere(lives);
    }
}

#[test]
fn a_pod_costs_one_append_and_one_sync() {
    let operations = |pods| {
        let mut node = Node::new();
        node.live(Who::Whole, &[], None);
        let steps: Vec<Step> = (0..pods).map(Step::Add).collect();
        node.live(Who::Journaled, &steps, None)
    };
    assert_eq!(operations(20) - operations(2), 2 * 18);
}

#[test]
fn what_was_answered_outlives_the_machine() {
    for stop in 0..60 {
        let mut node = Node::new();
        node.live(Who::Whole, &[], None);
        node.live(Who::Journaled, &busy(0), Some(stop));
        node.disk.lose_power();
        node.live(Who::Journaled, &busy(20), None);
        assert!(node.live.len() >= 5);
    }
}

#[test]
fn a_journal_that_has_become_long_or_failed_is_replaced() {
    let disk = FakeDisk::default();
    let books = Books::open(disk.clone(), FILE, true).unwrap();
    assert_eq!(books.takes(), Takes::WholeWithReserve);
    let content = encode(&Checkpoint::default());
    let changes = Changes { put: Vec::new(), removed: vec![key(1)] }.encode();
    books.save(&content).unwrap();
    let mut appends = 0;
    while books.takes() == Takes::Changes {
        books.append(&changes).unwrap();
        appends += 1;
    }
    assert!((500..2000).contains(&appends), "{appends}");
    assert!(books.append(&changes).is_ok(), "it is for the caller to save");
    books.save(&content).unwrap();
    disk.stop_after(Some(1));
    books.append(&changes).unwrap_err();
    disk.stop_after(None);
    assert_eq!(books.takes(), Takes::WholeWithReserve);
    books.append(&changes).unwrap_err();
    books.save(&content).unwrap();
    assert_eq!(disk.names().unwrap().len(), 2, "the file and one journal");
}

#[test]
fn the_journal_of_another_file_is_set_aside() {
    let disk = FakeDisk::default();
    let books = Books::open(disk.clone(), FILE, true).unwrap();
    books.save(&encode(&Checkpoint::default())).unwrap();
    let other = encode(&Checkpoint { leases: Vec::new(), ..Checkpoint::default() });
    let other = [b" ", other.as_slice()].concat();
    disk.put(FILE, other.clone());
    assert_eq!(books.load().unwrap().unwrap(), other);
    assert_eq!(disk.names().unwrap(), [FILE, "ipam.json.set-aside-journal"]);
}
