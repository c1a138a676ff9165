use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::bench::*;
use crate::{
    config::{AllocationMode::Secondary, PoolConfig},
    policy::{Band, Basis, Bounds, Demand, PolicyConfig, WarmPolicy},
    pool::{Action, Event},
    time::Time,
};

/// As many free addresses as pods.
#[derive(Debug, Default)]
struct Mirror(Option<Band>);

impl WarmPolicy for Mirror {
    fn observe(&mut self, demand: Demand, _: &PoolConfig, _: Time) {
        let free = demand.total();
        let basis = Basis::Other("as many as pods");
        self.0 = Some(Band { low: free, fill: free, high: free, basis });
    }

    fn band(&self) -> Option<Band> {
        self.0
    }
}

#[test]
fn an_embedders_policy_decides_how_much_is_kept_ready() {
    let mut bench = Bench::new(config(Secondary, warm_ips(9, 9)));
    bench.pool.set_policy(Box::<Mirror>::default(), START);
    bench.pass_s(1);
    for n in 0..4 {
        bench.add(n);
    }
    bench.pass_s(300);
    assert_eq!(bench.shape(), (vec![8], 4));
    let reason = bench.pool.plan(bench.now).reason.to_string();
    assert_eq!(reason, "4 of 8 address(es) free, 4 to 4 should be free: as many as pods");
}

/// As many free addresses as pods, and the lead that it was told last, in milliseconds.
#[derive(Debug)]
struct Listener(Mirror, Arc<AtomicU64>);

impl WarmPolicy for Listener {
    fn observe(&mut self, demand: Demand, config: &PoolConfig, now: Time) {
        self.1.store(demand.lead.as_millis() as u64, Ordering::Relaxed);
        self.0.observe(demand, config, now);
    }

    fn band(&self) -> Option<Band> {
        self.0.band()
    }
}

#[test]
fn a_policy_hears_how_long_addresses_and_enis_take_while_there_can_be_more_of_them() {
    let lead = Arc::new(AtomicU64::new(0));
    let mut limits = config(Secondary, warm_ips(1, 0));
    (limits.max_enis, limits.slots) = (2, 3);
    let mut bench = Bench::new(limits);
    bench.pool.set_policy(Box::new(Listener(Mirror::default(), lead.clone())), START);
    bench.pass_s(1);
    assert_eq!(lead.load(Ordering::Relaxed), 0);
    bench.hold = |action| matches!(action, Action::AssignAddresses { .. });
    bench.ask(0);
    bench.pass_s(2);
    bench.answer_held();
    assert_eq!(lead.load(Ordering::Relaxed), 2000);
    bench.hold = |action| matches!(action, Action::CreateEni { .. });
    for n in 1..4 {
        bench.ask(n);
    }
    bench.pass(Duration::from_secs(9));
    bench.answer_held();
    // The second ENI took long, but there will be no third one.
    assert_eq!(bench.shape().0.len(), 2);
    assert!(lead.load(Ordering::Relaxed) <= 2000);
    bench.reconfigure(|config| config.max_enis = 3);
    assert_eq!(lead.load(Ordering::Relaxed), 9000);
}

#[test]
fn the_policy_is_changed_while_pods_run_and_forgets_nothing_if_only_other_settings_are() {
    let mut adaptive = config(Secondary, warm_ips(2, 0));
    adaptive.policy = PolicyConfig::Adaptive(Bounds::default());
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    bench.add(0);
    bench.pass_s(60);
    assert_eq!(bench.shape(), (vec![3], 2));
    bench.pool.handle(Event::Reconfigured(Box::new(adaptive.clone())), bench.now);
    bench.pass_s(60);
    let warm = bench.shape();
    assert!(warm.1 >= 10, "{warm:?}");
    bench.pass_s(2 * 3600);
    assert_eq!(bench.shape(), (vec![3], 2));
    adaptive.targets = warm_ips(7, 0);
    bench.pool.handle(Event::Reconfigured(Box::new(adaptive)), bench.now);
    bench.pass_s(60);
    assert_eq!(bench.shape(), (vec![3], 2), "it does not warm up again");
    bench.pool.handle(Event::Reconfigured(Box::new(config(Secondary, warm_ips(7, 0)))), bench.now);
    bench.pass_s(60);
    assert_eq!(bench.shape(), (vec![8], 7));
}
