//! Prefix mode in a subnet without a free /28: growth of the whole node was frozen for two minutes, again
//! and again, with hundreds of single addresses free.

use vpc_ipam_core::{
    config::{AllocationMode::Prefix, WarmTargets},
    testkit::{
        ec2::{Ec2Action, Ec2Error, Fault, code},
        sim::Sim,
    },
};

use crate::{Tested, add_all, minutes, node, release_all, seconds};

fn prefix_node() -> Sim {
    node("m5.large", Prefix, WarmTargets { prefixes: 1, ..WarmTargets::default() })
}

#[test]
fn no_free_block_in_the_subnet_does_not_stop_pods() -> Tested {
    let mut sim = prefix_node();
    sim.run_for(minutes(1))?;
    sim.fragment_subnet(200);
    // The prefix that the node has is soon full.
    add_all(&mut sim, 0..24)?;
    sim.run_for(seconds(40))?;
    assert_eq!(sim.running().len(), 24, "{:?}", sim.refused());
    assert!(sim.pool().stats().singles > 0, "{:?}", sim.pool().stats());
    Ok(())
}

#[test]
fn a_node_that_fell_back_to_single_addresses_goes_back_to_prefixes() -> Tested {
    let mut sim = prefix_node();
    sim.fragment_subnet(200);
    add_all(&mut sim, 0..20)?;
    sim.run_for(minutes(1))?;
    sim.defragment_subnet(20);
    // Prefixes come while pods run; the singles go with their pods.
    sim.run_for(minutes(30))?;
    add_all(&mut sim, 20..30)?;
    sim.run_for(minutes(2))?;
    release_all(&mut sim, 0..20)?;
    sim.come_to_rest(minutes(120))?;
    let stats = sim.pool().stats();
    assert_eq!((stats.singles, sim.running().len()), (0, 10));
    assert!(stats.prefixes >= 1, "{stats:?}");
    Ok(())
}

#[test]
fn one_refused_prefix_does_not_freeze_the_node_for_two_minutes() -> Tested {
    let mut sim = prefix_node();
    sim.run_for(minutes(1))?;
    let refused = Ec2Error::new(code::INSUFFICIENT_CIDR_BLOCKS, "There aren't sufficient blocks");
    let action = Ec2Action::AssignPrivateIpAddresses;
    sim.world().faults_mut().meet(action, Fault::Refused(refused), 1);
    add_all(&mut sim, 0..20)?;
    sim.run_for(seconds(30))?;
    assert_eq!(sim.running().len(), 20, "{:?}", sim.refused());
    Ok(())
}

#[test]
fn a_prefix_in_use_is_not_given_back_after_days_of_partial_growth() -> Tested {
    let mut sim = prefix_node();
    for hour in 0..46 {
        let action = Ec2Action::AssignPrivateIpAddresses;
        sim.world().faults_mut().meet(action, Fault::Fewer(1), 2);
        // One pod stays from each hour on, the others leave within it.
        let first = hour * 40;
        add_all(&mut sim, first..first + 40)?;
        sim.run_for(minutes(2))?;
        release_all(&mut sim, first + 1..first + 40)?;
        sim.run_for(minutes(58))?;
    }
    assert_eq!(sim.running().len(), 46, "{:?}", sim.refused());
    assert_eq!((sim.pool().stats().assigned, sim.pool().stats().orphaned), (46, 0));
    Ok(())
}
