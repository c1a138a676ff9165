//! Slow first pods on new nodes and in bursts: growth by one ENI per tick, and waiting for metadata.

use vpc_ipam_core::{
    cloud::AddressCount,
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    pool::Action,
};

use crate::{Tested, add_all, grows, node, release_all, seconds, warm_ips};

#[test]
fn a_burst_of_pods_on_a_new_node_is_served_in_one_growth_step() -> Tested {
    // 29 addresses on the primary ENI.
    let mut sim = node("m5.4xlarge", Secondary, warm_ips(2, 0));
    add_all(&mut sim, 0..25)?;
    // A read, a call, a set-up, a write: nothing else to wait for.
    sim.run_for(seconds(5))?;
    assert_eq!(sim.running().len(), 25, "{:?}", sim.refused());
    let growths: Vec<&Action> = sim.actions().iter().map(|(_, a)| a).filter(|a| grows(a)).collect();
    let [Action::AssignAddresses { count, .. }] = growths.as_slice() else { panic!("{growths:?}") };
    assert_eq!(*count, AddressCount::Secondary(27));
    Ok(())
}

#[test]
fn a_burst_that_needs_several_enis_does_not_wait_for_one_after_the_other() -> Tested {
    let mut sim = node("m5.4xlarge", Secondary, warm_ips(2, 0));
    sim.run_for(seconds(10))?;
    add_all(&mut sim, 0..100)?;
    sim.run_for(seconds(10))?;
    assert_eq!(sim.running().len(), 100, "{:?}", sim.refused());
    // Four ENIs are needed. The first calls bring what the first pods of the burst ask for, those that
    // follow bring all that is missing.
    let growths: Vec<_> = sim.actions().iter().filter(|(_, action)| grows(action)).collect();
    assert!(growths.len() <= 8, "{growths:#?}");
    Ok(())
}

#[test]
fn a_burst_in_prefix_mode_takes_all_its_prefixes_at_once() -> Tested {
    let mut sim = node("m5.large", Prefix, WarmTargets { prefixes: 1, ..WarmTargets::default() });
    sim.run_for(seconds(10))?;
    let before = sim.actions().iter().filter(|(_, action)| grows(action)).count();
    add_all(&mut sim, 0..80)?;
    sim.run_for(seconds(5))?;
    assert_eq!(sim.running().len(), 80, "{:?}", sim.refused());
    let growths = sim.actions().iter().filter(|(_, action)| grows(action)).count() - before;
    assert!(growths <= 2, "{growths} growths");
    Ok(())
}

#[test]
fn a_target_of_more_than_one_eni_is_reached_without_waiting_for_ticks() -> Tested {
    let mut sim = node("m5.4xlarge", Secondary, warm_ips(60, 0));
    sim.run_for(seconds(10))?;
    assert_eq!(sim.pool().stats().total, 60);
    Ok(())
}

#[test]
fn a_pod_that_comes_before_the_first_address_waits_for_it_and_is_not_refused() -> Tested {
    let mut sim = node("t3.medium", Secondary, WarmTargets::default());
    assert_eq!(sim.pool().stats().total, 0);
    sim.add(0)?;
    sim.run_for(seconds(5))?;
    assert_eq!((sim.running().len(), sim.refused().len()), (1, 0));
    Ok(())
}

#[test]
fn a_burst_is_not_starved_by_addresses_that_still_rest() -> Tested {
    let mut sim = node("m5.4xlarge", Secondary, warm_ips(5, 0));
    sim.run_for(seconds(10))?;
    add_all(&mut sim, 0..20)?;
    sim.run_for(seconds(10))?;
    // A rollout: all go, as many others come at the same moment.
    release_all(&mut sim, 0..20)?;
    add_all(&mut sim, 20..40)?;
    sim.run_for(seconds(5))?;
    assert_eq!(sim.running().len(), 20, "{:?}", sim.refused());
    Ok(())
}
