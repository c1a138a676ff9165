//! Instance metadata treated as truth: live pods lost their network, or got addresses that EC2 no longer
//! had on the ENI; and the state file was overwritten with what an incomplete read had left of it.

use vpc_ipam_core::{
    checkpoint,
    config::{AllocationMode::Secondary, WarmTargets},
    pool::Action,
    testkit::{
        Reach,
        ec2::{Delays, ImdsFault},
        sim::{Sim, SimConfig},
    },
};

use crate::{Tested, add_all, minutes, node, release_all, retarget, seconds, warm_ips};

/// 15 pods on two of three ENIs.
fn two_enis_in_use() -> Sim {
    let mut sim = node("m5.large", Secondary, WarmTargets::default());
    add_all(&mut sim, 0..15).unwrap();
    sim.run_for(minutes(3)).unwrap();
    assert_eq!(sim.running().len(), 15);
    sim
}

fn leases_in_file(sim: &Sim) -> usize {
    checkpoint::decode(&sim.store().content().unwrap()).unwrap().leases.len()
}

fn gives_back(action: &Action) -> bool {
    matches!(action, Action::UnassignAddresses { .. } | Action::DeleteEni { .. })
}

#[test]
fn stale_metadata_at_restart_does_not_cut_off_live_pods() -> Tested {
    let mut sim = two_enis_in_use();
    let before = sim.running().clone();
    // Metadata has forgotten an ENI with pods, and EC2 cannot be asked when the daemon starts again.
    sim.omit_from_metadata(0);
    sim.cloud().set_reach(Reach::Metadata);
    sim.crash()?;
    sim.run_for(minutes(10))?;
    assert_eq!(leases_in_file(&sim), 15);
    // Once EC2 answers, all is as it was, whatever metadata says.
    sim.cloud().set_reach(Reach::All);
    sim.run_for(minutes(10))?;
    assert_eq!(sim.running(), &before);
    assert_eq!(sim.pool().stats().orphaned, 0);
    assert_eq!(sim.actions().iter().filter(|(_, action)| gives_back(action)).count(), 0);
    Ok(())
}

#[test]
fn metadata_that_omits_an_eni_for_a_while_removes_nothing() -> Tested {
    let mut sim = two_enis_in_use();
    sim.cloud().set_reach(Reach::Metadata);
    for fault in [ImdsFault::Empty, ImdsFault::Status(500)] {
        sim.break_metadata(fault);
        sim.run_for(minutes(5))?;
        assert_eq!((sim.pool().stats().assigned, sim.pool().stats().orphaned), (15, 0));
        sim.heal();
        sim.cloud().set_reach(Reach::Metadata);
    }
    sim.omit_from_metadata(0);
    sim.run_for(minutes(5))?;
    assert_eq!((sim.pool().stats().assigned, sim.pool().stats().orphaned), (15, 0));
    Ok(())
}

#[test]
fn a_view_of_equal_length_is_not_taken_for_an_equal_one() -> Tested {
    let mut sim = node("m5.large", Secondary, warm_ips(0, 6));
    sim.run_for(minutes(1))?;
    // One address is swapped for another: the numbers agree, the addresses do not.
    let eni = sim.world().enis_of(sim.instance())[0].clone();
    sim.assign_from_outside(1);
    sim.unassign_from_outside(2);
    let now = sim.world().enis_of(sim.instance())[0].owned();
    assert_eq!(now.len(), eni.owned().len());
    assert_ne!(now, eni.owned());
    sim.run_for(minutes(2))?;
    let stats = sim.pool().stats();
    let mut held: Vec<_> = stats.enis[0].cidrs.iter().map(|cidr| cidr.cidr).collect();
    let mut owned = sim.world().enis_of(sim.instance())[0].owned();
    held.sort();
    owned.sort();
    assert_eq!(held, owned);
    // The simulation refuses an address that is not on the ENI.
    add_all(&mut sim, 0..6)?;
    sim.run_for(minutes(1))?;
    assert_eq!(sim.running().len(), 6);
    Ok(())
}

#[test]
fn an_address_released_by_ec2_but_listed_by_imds_is_not_given_out() -> Tested {
    let mut config = SimConfig::with("m5.large", Secondary, warm_ips(0, 9), 7).unwrap();
    config.delays = Delays::USUAL;
    for reach in [Reach::All, Reach::Metadata] {
        let mut sim = Sim::new(&config).unwrap();
        sim.run_for(minutes(2))?;
        retarget(&mut sim, warm_ips(0, 2))?;
        while sim.world().enis_of(sim.instance())[0].owned().len() > 2 {
            sim.run_for(seconds(1))?;
        }
        // Metadata still shows nine addresses when the daemon starts again and pods come.
        sim.cloud().set_reach(reach);
        sim.crash()?;
        add_all(&mut sim, 0..5)?;
        sim.run_for(seconds(20))?;
        assert!(sim.running().len() >= 2, "{reach:?}: two addresses are beyond doubt");
        sim.cloud().set_reach(Reach::All);
        sim.run_for(minutes(2))?;
        assert_eq!(sim.running().len(), 5, "{reach:?}: {:?}", sim.refused());
    }
    Ok(())
}

#[test]
fn an_incomplete_metadata_read_does_not_erase_the_checkpoint() -> Tested {
    let mut sim = two_enis_in_use();
    sim.omit_from_metadata(0);
    sim.cloud().set_reach(Reach::Metadata);
    // Each start writes the file again when a pod comes or goes.
    for n in 0..4 {
        sim.crash()?;
        sim.run_for(seconds(30))?;
        sim.release(n)?;
        sim.run_for(seconds(30))?;
        assert_eq!(leases_in_file(&sim), 14 - n as usize);
    }
    sim.heal();
    sim.run_for(minutes(5))?;
    assert_eq!((sim.pool().stats().assigned, sim.pool().stats().orphaned), (11, 0));
    release_all(&mut sim, 0..15)?;
    sim.run_for(seconds(5))?;
    assert_eq!(leases_in_file(&sim), 0);
    Ok(())
}

#[test]
fn an_eni_that_ec2_and_metadata_deny_for_a_while_comes_back_with_its_pods() -> Tested {
    let mut sim = two_enis_in_use();
    let before = sim.running().clone();
    // Somebody takes addresses of live pods from the node, and later gives some back.
    sim.unassign_used_from_outside(0);
    sim.run_for(minutes(3))?;
    let stats = sim.pool().stats();
    assert_eq!((stats.orphaned, sim.pool().checkpoint().leases.len()), (1, 15));
    let degraded = stats.degraded.join("; ");
    assert!(degraded.contains("outside what the cloud shows"), "{degraded}");
    sim.crash()?;
    sim.run_for(minutes(3))?;
    assert_eq!(sim.running(), &before);
    assert_eq!(leases_in_file(&sim), 15);
    Ok(())
}
