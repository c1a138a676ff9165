#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use super::*;

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[test]
fn a_node_fills_and_empties_and_comes_to_rest() {
    let mut sim = Sim::new(&SimConfig::new("m5.large", 1).unwrap()).unwrap();
    for n in 0..27 {
        sim.add(n).unwrap();
    }
    sim.run_for(minutes(1)).unwrap();
    assert_eq!(sim.running().len(), 27);
    for n in 0..27 {
        sim.release(n).unwrap();
    }
    sim.quiesce(minutes(60)).unwrap();
    assert_eq!(sim.pool().stats().total, 9);
}

#[test]
fn the_same_seed_gives_the_same_actions() {
    let log = |seed| {
        let mut sim = Sim::new(&SimConfig::new("m5.large", seed).unwrap()).unwrap();
        for n in 0..12 {
            sim.add(n).unwrap();
            sim.run_for(Duration::from_millis(700)).unwrap();
        }
        sim.release(3).unwrap();
        sim.run_for(minutes(5)).unwrap();
        sim.actions().to_vec()
    };
    assert_eq!(log(3), log(3));
    assert_ne!(log(3), log(4));
}
