//! Famous failures of the reference, replayed: each test is named after the symptom that users saw.
//!
//! The driver and the pool that ship run on the model of EC2 in virtual time. After every step the
//! simulation checks that no address belongs to two pods, that no live pod's address is given back or lost
//! from the state file, and that whoever is told an address can use it; see `testkit::check`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bursts;
#[path = "../common/mod.rs"]
mod common;
mod fragments;
mod metadata;
mod rollouts;
mod waste;

use std::time::Duration;

use vpc_ipam_core::{
    config::{AllocationMode, WarmTargets},
    pool::{Action, Event},
    testkit::{
        check::Violation,
        sim::{Sim, SimConfig},
    },
};

type Tested = Result<(), Violation>;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn minutes(n: u64) -> Duration {
    seconds(60 * n)
}

fn node(type_name: &str, mode: AllocationMode, targets: WarmTargets) -> Sim {
    Sim::new(&SimConfig::with(type_name, mode, targets, 7).unwrap()).unwrap()
}

fn warm_ips(ips: u32, minimum_ips: u32) -> WarmTargets {
    WarmTargets { ips, minimum_ips, ..WarmTargets::default() }
}

fn retarget(sim: &mut Sim, targets: WarmTargets) -> Tested {
    let mut config = sim.pool().config().clone();
    config.targets = targets;
    sim.inject(Event::Reconfigured(Box::new(config)))
}

fn add_all(sim: &mut Sim, pods: impl IntoIterator<Item = u32>) -> Tested {
    pods.into_iter().try_for_each(|n| sim.add(n))
}

fn release_all(sim: &mut Sim, pods: impl IntoIterator<Item = u32>) -> Tested {
    pods.into_iter().try_for_each(|n| sim.release(n))
}

fn grows(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. })
}

/// Addresses that the node holds in EC2.
fn held_in_ec2(sim: &Sim) -> u128 {
    let world = sim.world();
    world.enis_of(sim.instance()).iter().flat_map(|eni| eni.owned()).map(|cidr| cidr.size()).sum()
}
