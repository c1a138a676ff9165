//! Daemons that restart while pods come and go: addresses stuck to dead pods, one address for two pods,
//! pods that cannot be deleted.

use vpc_ipam_core::{
    config::{
        AllocationMode::{Prefix, Secondary},
        PoolConfig, WarmTargets,
    },
    id::{PodRef, SandboxKey},
    pool::Event,
    testkit::{
        ec2::{Ec2Action, Ec2Error, Fault},
        script::{Everywhere, Script, Step, crash_everywhere},
        sim::{InFlight, SimConfig},
    },
};

use crate::{
    Tested, add_all,
    common::bench::{Bench, Watch},
    minutes, node, release_all, seconds, warm_ips,
};

#[test]
fn one_address_is_never_given_to_two_pods_across_daemon_rollouts() -> Tested {
    for (mode, in_flight) in
        [(Secondary, InFlight::Either), (Prefix, InFlight::Lost), (Secondary, InFlight::Done)]
    {
        let targets = WarmTargets { prefixes: 1, ..warm_ips(3, 0) };
        let mut sim = node("m5.large", mode, targets);
        for round in 0..60u32 {
            // Pods come and go in the middle of each rollout; the simulation compares all addresses.
            add_all(&mut sim, [round, round + 100])?;
            sim.run_for(seconds(u64::from(round % 7)))?;
            sim.release(round + 100)?;
            sim.crash_with(in_flight)?;
            add_all(&mut sim, [round])?;
            sim.run_for(seconds(u64::from(round % 11) * 5 + 3))?;
            release_all(&mut sim, round.checked_sub(15))?;
        }
        sim.come_to_rest(minutes(120))?;
        assert_eq!(sim.running().len(), 15, "{:?}", sim.refused());
    }
    Ok(())
}

#[test]
fn a_del_that_the_daemon_died_over_is_done_by_its_repetition() {
    let pass = |s| Step::Pass(seconds(s));
    let steps = vec![
        Step::Burst(6),
        pass(20),
        Step::Release(0),
        pass(1),
        Step::Release(1),
        Step::Release(2),
        Step::Add(7),
        pass(5),
    ];
    let mut config = SimConfig::with("t3.small", Secondary, warm_ips(1, 0), 7).unwrap();
    config.pool.cooldown = seconds(1);
    let script = Script::new(config, steps);
    for in_flight in [InFlight::Lost, InFlight::Done] {
        let how = Everywhere { in_flight, again_after: Some(3), ..Everywhere::default() };
        let survey = crash_everywhere(&script, &how).unwrap();
        assert!(survey.replays > 50, "{survey:?}");
    }
}

#[test]
fn a_lease_whose_del_was_lost_goes_to_nobody_else_and_ends_with_a_late_del() -> Tested {
    let mut sim = node("t3.small", Secondary, warm_ips(1, 0));
    add_all(&mut sim, 0..5)?;
    sim.run_for(minutes(1))?;
    let dead = sim.running().iter().next().map(|(key, ip)| (key.clone(), *ip)).unwrap();
    // The runtime was told that its DEL had worked, and the daemon never heard of it.
    sim.crash()?;
    add_all(&mut sim, 10..14)?;
    sim.run_for(minutes(5))?;
    let leases = sim.pool().checkpoint().leases;
    let owners: Vec<_> = leases.iter().filter(|lease| lease.ip == dead.1).collect();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].key, dead.0);
    sim.release(0)?;
    sim.run_for(minutes(2))?;
    assert_eq!(sim.pool().checkpoint().leases.len(), 8, "{:?}", sim.refused());
    Ok(())
}

#[test]
fn no_address_stays_assigned_to_dead_pods_after_a_day_of_restarts() -> Tested {
    let mut sim = node("m5.large", Secondary, WarmTargets::default());
    for hour in 0..24u32 {
        let lost = Ec2Error::no_answer();
        let action = Ec2Action::AssignPrivateIpAddresses;
        sim.world().faults_mut().meet(action, Fault::AnswerLost(lost), 1);
        sim.store().fail_saves(hour % 3, hour % 2 == 0);
        add_all(&mut sim, hour * 10..hour * 10 + 10)?;
        sim.run_for(seconds(u64::from(hour)))?;
        sim.crash_with(InFlight::Either)?;
        sim.run_for(minutes(20))?;
        release_all(&mut sim, hour * 10..hour * 10 + 10)?;
        sim.crash_with(InFlight::Lost)?;
        sim.run_for(minutes(30))?;
    }
    sim.come_to_rest(minutes(120))?;
    assert_eq!((sim.running().len(), sim.pool().stats().assigned), (0, 0));
    assert!(sim.pool().checkpoint().leases.is_empty());
    Ok(())
}

struct Nobody;

impl Watch for Nobody {}

/// A sandbox of a pod is replaced by another: the reference used the wrong one of two ids as its key.
#[test]
fn the_del_of_a_dead_sandbox_leaves_the_address_of_its_pods_new_one_alone() -> Result<(), String> {
    let config = PoolConfig::new(Secondary, warm_ips(3, 0), 3, 9).unwrap();
    let mut bench = Bench::new(&config, 256, Nobody)?;
    let pod = PodRef { namespace: "shop".to_owned(), name: "db-0".to_owned() };
    let key = |id| SandboxKey::new("aws-cni", id, "eth0").unwrap();
    for id in ["old", "new"] {
        bench.driver.pool_mut().assign(key(id), pod.clone(), bench.now).unwrap();
        bench.tell(Event::Timeout)?;
        bench.flow()?;
    }
    let both = bench.driver.pool().checkpoint().leases;
    assert_eq!(both.len(), 2, "two sandboxes have two addresses");
    bench.driver.pool_mut().release(&key("old"), bench.now).unwrap();
    bench.tell(Event::Timeout)?;
    bench.flow()?;
    let left = bench.driver.pool().checkpoint().leases;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key, key("new"));
    assert!(both.contains(&left[0]));
    Ok(())
}
