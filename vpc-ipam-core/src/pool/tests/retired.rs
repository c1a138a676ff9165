//! ENIs that serve no new pods: in excluded subnets, and the primary one under custom networking.

use super::bench::*;
use crate::{
    class::{Retirement, Standing},
    cloud::AddressCount,
    config::{
        AllocationMode::{Prefix, Secondary},
        CustomNetwork, WarmTargets,
    },
    pool::{Action, Event, Pool},
};

const EXCLUDED: Standing = Standing::Retired(Retirement::ExcludedSubnet);

fn creates(action: &Action) -> bool {
    matches!(action, Action::CreateEni { .. })
}

fn pods_network() -> CustomNetwork {
    CustomNetwork::Subnet {
        subnet: "subnet-2".parse().unwrap(),
        groups: vec!["sg-1".parse().unwrap(), "sg-2".parse().unwrap()],
    }
}

/// Two ENIs of nine; pod 1 is on the second one.
fn two_enis() -> (Bench, crate::id::EniId) {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(4));
    let own = bench.primary();
    bench.eni(&own).excluded = true;
    bench.next_read();
    bench.add(1);
    bench.eni(&own).excluded = false;
    bench.next_read();
    (bench, id)
}

#[test]
fn an_excluded_eni_keeps_its_pods_and_goes_with_the_last() {
    let (mut bench, id) = two_enis();
    let ip = bench.pool.checkpoint().leases[0].ip;
    assert!(bench.eni(&id).cidrs.iter().any(|cidr| cidr.contains(ip)));
    bench.eni(&id).excluded = true;
    bench.next_read();
    let stats = bench.pool.stats();
    assert_eq!(stats.enis[1].standing, EXCLUDED);
    assert_eq!(stats.enis[1].assigned(), 1);
    assert_eq!(bench.eni(&id).cidrs, [crate::addr::Prefix::host(ip)], "idle ones went, in EC2 too");
    assert_eq!(bench.shape().0, [2, 1], "it does not count: two free ones are elsewhere");
    bench.add(2);
    bench.add(3);
    bench.pass_s(300);
    assert_eq!(bench.eni(&id).cidrs.len(), 1, "nobody new, nothing new");
    let before = bench.log.len();
    assert_eq!(bench.del(1), ip);
    bench.pass_s(29);
    assert!(bench.enis.contains_key(&id), "the address rests");
    bench.pass_s(3);
    assert!(!bench.enis.contains_key(&id));
    let given_back = |a: &Action| matches!(a, Action::UnassignAddresses { eni, .. } if *eni == id);
    assert!(!bench.log[before..].iter().any(given_back), "its last address went with it");
}

#[test]
fn an_excluded_eni_goes_even_if_the_targets_would_keep_it() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 2, ..Default::default() }));
    bench.pass_s(100);
    assert_eq!(bench.shape().0, [9, 9]);
    let id = bench.enis.keys().nth(1).unwrap().clone();
    bench.eni(&id).excluded = true;
    bench.hold = creates;
    bench.next_read();
    assert!(!bench.enis.contains_key(&id));
    assert_eq!(bench.held.len(), 1, "and another one comes");
}

#[test]
fn a_young_excluded_eni_stays_for_a_minute() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.eni(&id).excluded = true;
    bench.next_read();
    bench.pass_s(54);
    assert_eq!(bench.eni(&id).cidrs.len(), 2, "one call will do for all of it");
    bench.pass_s(10);
    assert!(!bench.enis.contains_key(&id));
}

#[test]
fn an_excluded_primary_eni_is_emptied_but_stays() {
    for (mode, targets, shape) in [
        (Secondary, warm_ips(2, 4), vec![0, 4]),
        (Secondary, WarmTargets::default(), vec![0, 9]),
        (Prefix, WarmTargets { prefixes: 1, ..Default::default() }, vec![0, 16]),
    ] {
        let mut bench = Bench::new(config(mode, targets));
        bench.pass_s(1);
        let own = bench.primary();
        bench.eni(&own).excluded = true;
        bench.pass_s(300);
        assert_eq!(bench.shape().0, shape, "{mode:?} {targets:?}: the others supply the target");
        assert!(bench.eni(&own).cidrs.is_empty());
    }
}

#[test]
fn free_prefixes_of_an_excluded_eni_satisfy_nothing() {
    let mut bench = Bench::new(config(Prefix, WarmTargets { prefixes: 2, ..Default::default() }));
    bench.pass_s(1);
    bench.add(1);
    let own = bench.primary();
    bench.eni(&own).excluded = true;
    bench.next_read();
    let view = bench.pool.view();
    let totals = crate::plan::Totals::of(&view, bench.pool.config());
    assert_eq!((totals.entries, totals.unleased, totals.total, totals.assigned), (2, 2, 32, 0));
}

#[test]
fn an_eni_that_is_no_longer_excluded_serves_again() {
    let (mut bench, id) = two_enis();
    bench.eni(&id).excluded = true;
    bench.next_read();
    bench.eni(&id).excluded = false;
    bench.next_read();
    assert_eq!(bench.pool.stats().enis[1].standing, Standing::Active);
    bench.add(2);
    bench.add(3);
    bench.pass_s(5);
    let cloud = bench.eni(&id).cidrs.len();
    assert_eq!(bench.pool.stats().enis[1].cidrs.len(), cloud);
}

#[test]
fn metadata_does_not_know_what_is_excluded() {
    let (mut bench, id) = two_enis();
    bench.eni(&id).excluded = true;
    bench.next_read();
    bench.eni(&id).excluded = false;
    bench.authority = crate::cloud::Authority::Imds;
    bench.next_read();
    assert_eq!(bench.pool.stats().enis[1].standing, EXCLUDED);
    // Nor does a life that begins without EC2.
    let enis = bench.pool.remembered();
    let mut next = Pool::restore(bench.pool.config().clone(), &bench.pool.checkpoint(), START);
    next.recall(&enis, START);
    assert_eq!(next.stats().enis[1].standing, EXCLUDED);
}

#[test]
fn custom_networking_puts_pods_elsewhere() {
    let mut custom = config(Secondary, WarmTargets::default());
    custom.custom_network = pods_network();
    custom.max_pods = 110;
    let mut bench = Bench::new(custom);
    bench.pass_s(1);
    for n in 0..18 {
        bench.ask(n);
        bench.pass_s(1);
    }
    assert_eq!(bench.shape().0, [0, 9, 9], "(maxENI - 1) x slots");
    for action in bench.log.iter().filter(|a| creates(a)) {
        let Action::CreateEni { request, .. } = action else { continue };
        assert_eq!(request.subnet.as_ref().unwrap().as_str(), "subnet-2");
        assert_eq!(request.groups.len(), 2);
    }
    let op = bench.ask(18);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("18 of 18") && text.contains("1 of the ENIs serve"), "{text}");
}

#[test]
fn the_primary_eni_loses_its_idle_addresses_when_pods_move_elsewhere() {
    for mode in [Secondary, Prefix] {
        let mut bench = Bench::new(config(mode, warm_ips(3, 0)));
        bench.pass_s(1);
        let ip = bench.add(1);
        bench.reconfigure(|config| config.custom_network = pods_network());
        bench.pass_s(5);
        let own = bench.primary();
        assert_eq!(bench.eni(&own).cidrs.len(), 1, "{mode:?}: what the pod uses");
        let other = bench.add(2);
        assert!(!bench.eni(&own).cidrs[0].contains(other), "{mode:?}: not for new pods");
        assert_eq!(bench.del(1), ip);
        bench.pass_s(60);
        assert!(bench.eni(&own).cidrs.is_empty(), "{mode:?}");
        // And back again.
        bench.reconfigure(|config| config.custom_network = CustomNetwork::Off);
        let before = bench.log.len();
        for n in 3..12 {
            bench.ask(n);
            bench.pass_s(1);
        }
        let grown = |a: &Action| matches!(a, Action::AssignAddresses { eni, .. } if *eni == own);
        assert!(mode == Prefix || bench.log[before..].iter().any(grown), "{mode:?}");
    }
}

#[test]
fn without_its_eniconfig_nothing_is_made_and_the_remedy_is_named() {
    let mut custom = config(Secondary, WarmTargets::default());
    custom.custom_network = CustomNetwork::Missing { name: "us-west-2a".to_owned() };
    let mut bench = Bench::new(custom);
    bench.pass_s(1);
    let op = bench.ask(1);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("the ENIConfig \"us-west-2a\" does not exist"), "{text}");
    assert!(text.contains("create it"), "{text}");
    bench.pass_s(300);
    let only_reads = |a: &Action| matches!(a, Action::Describe { .. } | Action::SetUpEni { .. });
    assert!(bench.log.iter().all(only_reads), "{:?}", bench.log);
    bench.pool.handle(
        Event::Reconfigured(Box::new({
            let mut config = bench.pool.config().clone();
            config.custom_network = pods_network();
            config
        })),
        bench.now,
    );
    bench.run();
    bench.add(1);
}

#[test]
fn a_missing_eniconfig_does_not_stop_enis_that_are_there() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.reconfigure(|config| config.custom_network = pods_network());
    bench.pass_s(1);
    let missing = CustomNetwork::Missing { name: "default".to_owned() };
    bench.reconfigure(|config| config.custom_network = missing);
    for n in 0..9 {
        bench.add(n);
    }
    assert_eq!(bench.shape().0, [0, 9]);
}

/// A custom network, and the ENI that was made in it for pod 1.
fn made_in_custom_network(excluded_at_birth: bool) -> (Bench, crate::id::EniId, crate::id::OpId) {
    let mut custom = config(Secondary, warm_ips(2, 0));
    custom.custom_network = pods_network();
    let mut bench = Bench::new(custom);
    bench.hold = creates;
    let op = bench.ask(1);
    let Some(Action::CreateEni { op: create, request }) = bench.held.pop() else {
        panic!("none made")
    };
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, request.count);
    bench.eni(&id).excluded = excluded_at_birth;
    let made = bench.enis[&id].clone();
    bench.pool.handle(Event::EniCreated { op: create, result: Ok(made) }, bench.now);
    bench.run();
    (bench, id, op)
}

#[test]
fn an_eni_that_is_born_excluded_is_not_made_over_and_over() {
    let (mut bench, id, op) = made_in_custom_network(true);
    bench.pass_s(45);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("excluded for them by its tags"), "{text}");
    bench.pass_s(500);
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("eni-1 serves no pods, because its subnet subnet-1"), "{degraded}");
    assert_eq!((bench.count(creates), bench.enis.len()), (1, 1), "it has gone again: {id}");
    bench.pass_s(60);
    assert_eq!(bench.count(creates), 2, "somebody may have corrected it");
    // Another network, another chance.
    bench.held.clear();
    let (mut bench, ..) = made_in_custom_network(true);
    bench.hold = |_| false;
    let (subnet, groups) = ("subnet-3".parse().unwrap(), Vec::new());
    bench.reconfigure(|c| c.custom_network = CustomNetwork::Subnet { subnet, groups });
    bench.add(2);
}

#[test]
fn an_eni_that_turns_out_to_be_excluded_has_no_successor_there() {
    let (mut bench, id, op) = made_in_custom_network(false);
    assert!(bench.reply(op).is_ok());
    bench.eni(&id).excluded = true;
    bench.pass_s(300);
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("serves no pods, because its subnet"), "{degraded}");
    assert_eq!(bench.count(creates), 1);
    assert_eq!(bench.eni(&id).cidrs.len(), 1, "its pod keeps its address");
}
