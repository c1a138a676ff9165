//! The worked examples that are no tables.

use std::time::Duration;

use vpc_ipam_core::{
    config::{AllocationMode::Secondary, PoolConfig},
    plan::{EniView, Shrink, View, plan},
    pool::Event,
    testkit::sim::{Sim, SimConfig},
};

use crate::{
    Shape, node,
    paper::{NOW, Paper},
    rows::warm_ips,
};

fn m5_large(ips: u32, minimum_ips: u32) -> PoolConfig {
    PoolConfig::new(Secondary, warm_ips(ips, minimum_ips), 3, 9).unwrap()
}

/// 14 addresses, 2 pods; W = 1 and M = 5 leave over = min(12 - 1, 14 - 5) = 9 too many.
const SHRUNK: Shape = Shape { enis: Vec::new(), total: 5, available: 3, free: 3 };

#[test]
fn fourteen_addresses_with_two_pods_shrink_to_five_on_paper() {
    let mut paper = Paper { config: m5_large(1, 5), enis: vec![(9, 2), (5, 0)], waiting: 0 };
    paper.settle();
    assert_eq!(paper.shape(), Shape { enis: vec![5], ..SHRUNK });
}

#[test]
fn fourteen_addresses_with_two_pods_shrink_to_five_in_a_simulation() {
    let mut sim = Sim::new(&SimConfig::with("m5.large", Secondary, warm_ips(0, 14), 7).unwrap());
    let sim = sim.as_mut().unwrap();
    sim.add(1).unwrap();
    sim.add(2).unwrap();
    node::rest(sim);
    assert_eq!(node::shape(sim), Shape { enis: vec![9, 5], total: 14, available: 12, free: 12 });
    let mut config = sim.pool().config().clone();
    config.targets = warm_ips(1, 5);
    sim.inject(Event::Reconfigured(Box::new(config))).unwrap();
    node::rest(sim);
    assert_eq!(node::shape(sim), Shape { enis: vec![5], ..SHRUNK });
}

/// W = 2, M = 4; the primary ENI has two pods on two addresses, b two free addresses, c one.
#[test]
fn the_eni_that_the_others_can_do_without_goes_and_the_other_one_stays() {
    let eni = |device: u32, entries: u32, pods: u64| {
        let mut eni = EniView::new(format!("eni-{device}").parse().unwrap(), device);
        (eni.taken, eni.entries, eni.total) = (entries, entries.into(), entries.into());
        (eni.assigned, eni.occupied) = (pods, pods);
        eni.unleased = u64::from(entries) - pods;
        eni
    };
    let freed = |enis: Vec<EniView>| {
        let mut view = View::default();
        (view.enis, view.confirmed) = (enis, true);
        plan(&view, &m5_large(2, 4), NOW).shrink
    };
    // Without c: 2 free >= 2, total 4 >= 4. Without b only one would be free.
    let with_c = freed(vec![eni(0, 2, 2), eni(1, 2, 0), eni(2, 1, 0)]);
    assert_eq!(with_c, [Shrink::Free { eni: "eni-2".parse().unwrap() }]);
    assert_eq!(freed(vec![eni(0, 2, 2), eni(1, 2, 0)]), []);
}

/// `MINIMUM_IP_TARGET` 5 alone: five addresses with five pods are enough for the targets; what makes
/// the pool grow is that somebody waits.
#[test]
fn a_minimum_alone_asks_for_no_more_than_itself() {
    let mut paper = Paper { config: m5_large(0, 5), enis: vec![(5, 5)], waiting: 0 };
    let settled = paper.plan();
    assert_eq!((settled.grow.len(), settled.shrink.len()), (0, 0), "{settled:?}");
    paper.waiting = 3;
    paper.settle();
    assert_eq!(paper.shape().total, 8);
}

/// Default mode is a dead band: below 9 available it grows, from 18 on it frees an ENI, and between
/// the two it does nothing, whichever way the pods come and go.
#[test]
fn between_one_and_two_spare_enis_the_default_targets_do_nothing() {
    for available in 0..=27 {
        let config = PoolConfig::new(Secondary, Default::default(), 4, 9).unwrap();
        let mut paper = Paper { config, enis: vec![(9, 9), (9, 9), (9, 9)], waiting: 0 };
        for n in 0..available {
            paper.enis[2 - n / 9].1 -= 1;
        }
        let next = paper.plan();
        assert_eq!(next.grow.is_empty(), available >= 9, "{available}: {next:?}");
        assert_eq!(next.shrink.is_empty(), available < 18, "{available}: {next:?}");
    }
}

/// A pod that goes from a node whose pool is in the band changes nothing in the cloud.
#[test]
fn pods_that_come_and_go_within_the_band_cost_no_call() {
    let mut sim = Sim::new(&SimConfig::new("m5.large", 3).unwrap()).unwrap();
    (0..5).for_each(|n| sim.add(n).unwrap());
    node::rest(&mut sim);
    let before: u64 = changes(&sim);
    for n in 0..20 {
        sim.release(n).unwrap();
        sim.add(n + 5).unwrap();
        sim.run_for(Duration::from_secs(100)).unwrap();
    }
    assert_eq!(changes(&sim), before);
}

fn changes(sim: &Sim) -> u64 {
    let reads = |name: &str| name.starts_with("Describe");
    let world = sim.world();
    world.calls().iter().filter(|(a, _)| !reads(&format!("{a:?}"))).map(|(_, n)| n).sum()
}
