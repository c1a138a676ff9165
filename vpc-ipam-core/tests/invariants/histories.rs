//! Random histories of a node: pods, time, failures, crashes and interference. Every step is checked
//! by the simulation; what is checked is in `testkit::check` and `testkit::sim`.

use std::time::Duration;

use proptest::prelude::*;
use vpc_ipam_core::{
    cloud::InstanceLimits,
    config::{AllocationMode, PoolConfig},
    policy::PolicyConfig,
    testkit::{
        ec2::instance_type,
        script::{Everywhere, Script, crash_everywhere, play, replays_identically},
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
        let sim = play_to_rest(&script)?;
        let pool = sim.pool().config().clone();
        let stats = sim.pool().stats();
        let plan = sim.pool().plan(sim.now());
        let free = stats.total - stats.assigned;
        let limits = limits(&script.config);
        let enis = stats.enis.len() as u64;
        let capacity = u64::from(limits.enis * limits.slots() * pool.addresses_per_slot());
        let limited = stats.total >= u64::from(pool.max_pods)
            || stats.total == capacity
            || exhausted(&pool, &sim);
        prop_assert!(plan.grow.is_empty() || limited, "{:?}", plan);
        if let PolicyConfig::Adaptive(bounds) = pool.policy {
            let room = u64::from(pool.max_pods).saturating_sub(stats.assigned);
            let least = u64::from(bounds.min.min(bounds.max.unwrap_or(bounds.min))).min(room);
            prop_assert!(free >= least || limited, "{free} free, {:?}", plan);
            prop_assert!(plan.shrink.is_empty(), "{:?}", plan);
            return Ok(());
        }
        if pool.targets.has_ip_targets() && !limited {
            prop_assert!(free >= u64::from(pool.targets.ips), "{free} free, {:?}", plan);
            prop_assert!(stats.total >= u64::from(pool.targets.minimum_ips), "{:?}", plan);
        }
        if pool.mode == AllocationMode::Secondary && !pool.targets.has_ip_targets() && !limited {
            prop_assert!(free >= u64::from(pool.targets.enis * limits.slots()), "{:?}", plan);
        }
        prop_assert!(enis <= u64::from(limits.enis));
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
