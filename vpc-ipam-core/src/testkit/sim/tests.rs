#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use super::*;
use crate::testkit::ec2::{Ec2Action, Ec2Error, Fault, Rate, RequestRates};

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

#[test]
fn a_fleet_throttles_itself_and_still_gets_its_addresses() {
    let run = |rates: &RequestRates| {
        let mut fleet = Fleet::new(&SimConfig::new("t3.small", 1).unwrap(), 12).unwrap();
        fleet.world().set_request_rates(rates);
        for node in fleet.nodes_mut() {
            (0..5).for_each(|n| node.add(n).unwrap());
        }
        fleet.run_for(minutes(5)).unwrap();
        let running: usize = fleet.nodes().iter().map(|node| node.running().len()).sum();
        let throttled: u64 = fleet.nodes().iter().map(|node| node.failures().throttled).sum();
        let refused: u64 = fleet.world().throttled().values().sum();
        (running, throttled > 0, refused > 0)
    };
    assert_eq!(run(&RequestRates::documented()), (60, false, false));
    let tight = Ec2Action::ALL.iter().fold(RequestRates::unlimited(), |rates, action| {
        rates.with(*action, Rate { size: 2, refill: 1 })
    });
    assert_eq!(run(&tight), (60, true, true));
}

#[test]
fn a_creation_that_is_cut_short_leaves_nothing_behind() {
    let faults = [
        (Ec2Action::CreateNetworkInterface, Fault::AnswerLost(Ec2Error::no_answer()), 2),
        (Ec2Action::AttachNetworkInterface, Fault::AnswerLost(Ec2Error::no_answer()), 1),
        (Ec2Action::AttachNetworkInterface, Fault::Refused(Ec2Error::throttled()), 1),
        (Ec2Action::ModifyNetworkInterfaceAttribute, Fault::Refused(Ec2Error::internal()), 1),
    ];
    for (action, fault, times) in faults {
        let mut sim = Sim::new(&SimConfig::new("t3.small", 1).unwrap()).unwrap();
        {
            let mut world = sim.world();
            world.faults_mut().meet(action, fault.clone(), times);
            // What it cleans up with fails too, at first.
            world.faults_mut().fail(Ec2Action::DeleteNetworkInterface, Ec2Error::throttled(), 2);
        }
        (0..5).for_each(|n| sim.add(n).unwrap());
        sim.quiesce(minutes(60)).unwrap_or_else(|e| panic!("{action} {fault:?}: {e}"));
        assert_eq!(sim.running().len(), 5, "{action} {fault:?}");
        assert!(sim.world().enis().all(|eni| eni.attachment.is_some()), "{action} {fault:?}");
    }
}
