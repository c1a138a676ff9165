//! Address waste: whole spare ENIs on nodes that may run a handful of pods.

use vpc_ipam_core::{
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    testkit::sim::{Sim, SimConfig},
};

use crate::{Tested, add_all, held_in_ec2, minutes, node, release_all, warm_ips};

fn capped(type_name: &str, max_pods: u32) -> Sim {
    let mut config = SimConfig::new(type_name, 7).unwrap();
    config.pool.max_pods = max_pods;
    Sim::new(&config).unwrap()
}

#[test]
fn a_node_capped_by_max_pods_does_not_hoard() -> Tested {
    // Eight ENIs of 29, but never more than 20 pods.
    let mut sim = capped("m5.4xlarge", 20);
    for pods in [0, 1, 19, 20] {
        add_all(&mut sim, 0..pods)?;
        sim.quiesce(minutes(60))?;
        assert_eq!(held_in_ec2(&sim), 20, "with {pods} pods");
    }
    assert_eq!(sim.running().len(), 20);
    Ok(())
}

#[test]
fn three_pods_on_a_large_instance_hold_no_more_than_the_node_can_run() -> Tested {
    // WARM_ENI_TARGET=1 alone would hold two ENIs of 49.
    let mut sim = capped("p3dn.24xlarge", 30);
    add_all(&mut sim, 0..3)?;
    sim.quiesce(minutes(60))?;
    assert_eq!(held_in_ec2(&sim), 30);
    Ok(())
}

#[test]
fn what_a_burst_has_taken_is_given_back_when_its_pods_have_gone() -> Tested {
    let one_prefix = WarmTargets { prefixes: 1, ..WarmTargets::default() };
    for (mode, targets, left) in [
        (Secondary, WarmTargets::default(), 9),
        (Secondary, warm_ips(2, 4), 4),
        (Prefix, one_prefix, 16),
    ] {
        let mut sim = node("m5.large", mode, targets);
        add_all(&mut sim, 0..25)?;
        sim.run_for(minutes(3))?;
        assert_eq!(sim.running().len(), 25);
        release_all(&mut sim, 0..25)?;
        sim.quiesce(minutes(120))?;
        assert_eq!(held_in_ec2(&sim), left, "{targets:?}");
        assert_eq!(sim.world().enis_of(sim.instance()).len(), 1);
    }
    Ok(())
}

#[test]
fn an_address_that_nobody_uses_does_not_keep_an_eni_for_ever() -> Tested {
    // Pods that come and go at random keep every ENI half full unless they are packed.
    let mut sim = node("m5.large", Secondary, warm_ips(2, 0));
    add_all(&mut sim, 0..24)?;
    sim.run_for(minutes(2))?;
    release_all(&mut sim, (0..24).filter(|n| n % 4 != 0))?;
    for round in 0..12 {
        // Each pod is replaced in turn.
        let n = round % 6 * 4;
        sim.release(n)?;
        sim.run_for(minutes(2))?;
        sim.add(n)?;
        sim.run_for(minutes(2))?;
    }
    sim.quiesce(minutes(60))?;
    assert_eq!((sim.running().len(), sim.world().enis_of(sim.instance()).len()), (6, 1));
    assert_eq!(held_in_ec2(&sim), 8);
    Ok(())
}
