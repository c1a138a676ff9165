use super::bench::*;
use crate::{
    config::{AllocationMode::Secondary, PoolConfig},
    policy::{Band, Basis, Bounds, Demand, PolicyConfig, WarmPolicy},
    pool::Event,
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
