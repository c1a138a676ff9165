#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::testkit::{
    Reach,
    sim::{Detail, SimConfig},
    workload::{Span, Workload},
};

fn seconds(n: u64) -> Time {
    Time::from_millis(1000 * n)
}

fn event(at: u64, pod: u32, change: PodChange) -> PodEvent {
    PodEvent { at: seconds(at), change, pod }
}

#[test]
fn every_workload_runs_with_every_step_checked() {
    for workload in Workload::ALL {
        let config = SimConfig::new("m5.large", 3).unwrap();
        let duration = Duration::from_secs(3600);
        let span = Span { seed: 3, node: 1, nodes: 2, duration, pods_max: 27 };
        let load = workload.events(&span);
        let starts = load.iter().filter(|e| e.change == PodChange::Starts).count() as u64;
        let mut sim = Sim::new(&config).unwrap();
        let mut kubelet = Kubelet::new(load.clone());
        kubelet.run_until(&mut sim, seconds(3600)).unwrap();
        assert_eq!(kubelet.events(), load.len() as u64, "{workload}");
        let seen = kubelet.waits().len() + kubelet.never_started() + kubelet.starting();
        assert_eq!(seen, starts, "{workload}: every pod is counted once");
        assert_eq!(sim.level().assigned as usize, sim.running().len(), "{workload}");
    }
}

#[test]
fn a_closer_look_changes_nothing() {
    let run = |detail| {
        let mut config = SimConfig::new("m5.large", 5).unwrap();
        config.detail = detail;
        let duration = Duration::from_secs(1800);
        let span = Span { seed: 5, node: 0, nodes: 1, duration, pods_max: 27 };
        let mut sim = Sim::new(&config).unwrap();
        let mut kubelet = Kubelet::new(Workload::Bursts.events(&span));
        kubelet.run_until(&mut sim, seconds(1800)).unwrap();
        sim.check().unwrap();
        let calls = sim.world().calls().clone();
        (kubelet.waits().clone(), sim.level(), calls, sim.running().clone())
    };
    assert_eq!(run(Detail::FULL), run(Detail::LIGHT));
}

#[test]
fn a_pod_waits_from_its_scheduling_through_failed_attempts() {
    let config = SimConfig::new("m5.large", 1).unwrap();
    let mut sim = Sim::new(&config).unwrap();
    sim.cloud().set_reach(Reach::Nothing);
    let mut kubelet = Kubelet::new(vec![
        event(60, 0, PodChange::Starts),
        event(61, 1, PodChange::Starts),
        event(90, 1, PodChange::Stops),
    ]);
    kubelet.run_until(&mut sim, seconds(120)).unwrap();
    assert_eq!((kubelet.waits().len(), kubelet.starting(), kubelet.never_started()), (0, 1, 1));
    assert!(kubelet.failed_adds() >= 1);
    sim.cloud().set_reach(Reach::All);
    kubelet.run_until(&mut sim, seconds(400)).unwrap();
    assert_eq!((kubelet.waits().len(), kubelet.starting()), (1, 0));
    assert!(kubelet.waits().per_mille(1000) > Duration::from_secs(60));
}

#[test]
fn pods_survive_a_kill_and_those_that_were_starting_start_again() {
    let mut config = SimConfig::new("m5.large", 2).unwrap();
    config.detail = Detail { state_file: true, ..Detail::LIGHT };
    let mut sim = Sim::new(&config).unwrap();
    let load = (0..12).map(|pod| event(60, pod, PodChange::Starts)).collect();
    let mut kubelet = Kubelet::new(load);
    kubelet.run_until(&mut sim, seconds(60)).unwrap();
    sim.crash().unwrap();
    kubelet.run_until(&mut sim, seconds(180)).unwrap();
    assert_eq!((kubelet.waits().len(), kubelet.starting()), (12, 0));
    assert_eq!(sim.running().len(), 12);
    sim.check().unwrap();
}
