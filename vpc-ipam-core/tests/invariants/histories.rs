//! Random histories of a node: pods, time, failures, crashes and interference. Every step is checked
//! by the simulation; what is checked is in `testkit::check` and `testkit::sim`.

use std::time::Duration;

use proptest::prelude::*;
use vpc_ipam_core::{
    cloud::InstanceLimits,
    config::{AllocationMode, PoolConfig, WarmTargets},
    plan::Reason,
    policy::{Bounds, PolicyConfig},
    stats::{EniStats, Stats},
    testkit::{
        ec2::instance_type,
        script::{Everywhere, Script, Step, crash_everywhere, play, replays_identically},
        sim::{Sim, SimConfig},
    },
};

use crate::{
    cases,
    common::scripts::{PODS, any_config, config, hostile, in_flight, peaceful, script},
};

const REST: Duration = Duration::from_secs(7200);

fn check<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, TestCaseError> {
    result.map_err(|e| TestCaseError::fail(e.to_string()))
}

/// Plays it, then everything works again and nothing changes any more.
pub(crate) fn play_to_rest(script: &Script) -> Result<Sim, TestCaseError> {
    let mut sim = check(play(script))?;
    check(sim.come_to_rest(REST))?;
    Ok(sim)
}

/// The same without deaths at rest.
pub(crate) fn play_to_undisturbed_rest(script: &Script) -> Result<Sim, TestCaseError> {
    let mut sim = check(play(script))?;
    sim.spare();
    check(sim.come_to_rest(REST))?;
    Ok(sim)
}

fn limits(config: &SimConfig) -> InstanceLimits {
    instance_type(&config.instance_type).unwrap().limits()
}

fn exhausted(pool: &PoolConfig, sim: &Sim) -> bool {
    let world = sim.world();
    let subnet = &world.subnets()[0];
    match pool.mode {
        AllocationMode::Prefix => subnet.free_prefixes() == 0 || subnet.available_ips() == 0,
        _ => subnet.available_ips() < 2,
    }
}

/// True if every slot of every ENI that the node can have is taken, and none by a single address in place
/// of a prefix that could give way.
fn has_no_slot(limits: &InstanceLimits, stats: &Stats) -> bool {
    let full = |eni: &EniStats| eni.cidrs.len() as u64 == u64::from(limits.slots());
    stats.enis.len() as u64 == u64::from(limits.enis)
        && stats.enis.iter().all(full)
        && stats.singles == stats.singles_assigned
}

fn rests_at_its_targets(script: &Script) -> Result<Sim, TestCaseError> {
    let sim = play_to_rest(script)?;
    let pool = sim.pool().config().clone();
    let stats = sim.pool().stats();
    let plan = sim.pool().plan(sim.now());
    let free = stats.total - stats.assigned;
    let limits = limits(&script.config);
    let limited = stats.total >= u64::from(pool.max_pods)
        || has_no_slot(&limits, &stats)
        || exhausted(&pool, &sim);
    prop_assert!(plan.grow.is_empty() || limited, "{:?}", plan);
    if let PolicyConfig::Adaptive(bounds) = pool.policy {
        let room = u64::from(pool.max_pods).saturating_sub(stats.assigned);
        let least = u64::from(bounds.min.min(bounds.max.unwrap_or(bounds.min))).min(room);
        prop_assert!(free >= least || limited, "{free} free, {:?}", plan);
        prop_assert!(plan.shrink.is_empty(), "{:?}", plan);
        return Ok(sim);
    }
    if pool.targets.has_ip_targets() && !limited {
        prop_assert!(free >= u64::from(pool.targets.ips), "{free} free, {:?}", plan);
        prop_assert!(stats.total >= u64::from(pool.targets.minimum_ips), "{:?}", plan);
    }
    if pool.mode == AllocationMode::Secondary && !pool.targets.has_ip_targets() && !limited {
        prop_assert!(free >= u64::from(pool.targets.enis * limits.slots()), "{:?}", plan);
    }
    prop_assert!(stats.enis.len() as u64 <= u64::from(limits.enis));
    Ok(sim)
}

#[test]
fn a_node_whose_pods_hold_single_addresses_in_every_slot_is_at_its_limit() {
    let targets = WarmTargets { enis: 0, ips: 0, minimum_ips: 0, prefixes: 1 };
    let mut config = SimConfig::with("t3.small", AllocationMode::Prefix, targets, 0).unwrap();
    config.subnet = "10.0.0.0/26".parse().unwrap();
    config.pool.max_pods = 33;
    config.pool.policy = PolicyConfig::Adaptive(Bounds { min: 1, max: Some(2) });
    let ms = |ms| Step::Pass(Duration::from_millis(ms));
    let steps = vec![
        ms(1_385),
        Step::Burst(32),
        ms(2_433),
        Step::ReleaseAll,
        ms(30_020),
        // A block has just been given back, and the subnet has refused one a moment ago.
        Step::Burst(24),
    ];
    let sim = rests_at_its_targets(&Script::new(config, steps)).unwrap();
    let stats = sim.pool().stats();
    assert_eq!((stats.total, stats.assigned, stats.singles_assigned), (24, 24, 8));
    assert!(matches!(sim.pool().plan(sim.now()).reason, Reason::Full { .. }));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn secondary_mode_keeps_its_promises_in_any_history(
        script in script(config(AllocationMode::Secondary), hostile(), 60),
    ) {
        play_to_rest(&script)?;
    }

    #[test]
    fn prefix_mode_keeps_its_promises_in_any_history(
        script in script(config(AllocationMode::Prefix), hostile(), 60),
    ) {
        play_to_rest(&script)?;
    }

    #[test]
    fn a_pool_at_rest_meets_its_targets(script in script(any_config(), peaceful(PODS), 40)) {
        rests_at_its_targets(&script)?;
    }

    #[test]
    fn no_add_is_refused_while_the_node_can_hold_its_pods(
        mut script in script(any_config(), peaceful(20), 40),
        max_pods in 20..40u32,
    ) {
        let pool = script.config.pool.clone();
        let seed = script.config.seed;
        script.config = SimConfig::with("m5.large", pool.mode, pool.targets, seed).unwrap();
        script.config.pool.max_pods = max_pods;
        script.config.pool.policy = pool.policy;
        let mut sim = check(play(&script))?;
        check(sim.run_for(Duration::from_secs(60)))?;
        // 20 pods fit even while the addresses of 20 others rest, within an ADD's patience.
        prop_assert!(sim.refused().is_empty(), "{:?}", sim.refused());
    }

    #[test]
    fn the_same_history_gives_the_same_actions(script in script(any_config(), hostile(), 40)) {
        check(check(replays_identically(&script))?.ok())?;
    }

    #[test]
    fn no_death_of_the_daemon_loses_or_doubles_a_lease(
        script in script(any_config(), hostile(), 16),
        in_flight in in_flight(),
        first in 0..31u64,
        again_after in prop::option::of(0..40u64),
    ) {
        // Another case tries the moments in between.
        let how = Everywhere { first, every: 31, in_flight, again_after, rest: REST };
        check(crash_everywhere(&script, &how))?;
    }
}
