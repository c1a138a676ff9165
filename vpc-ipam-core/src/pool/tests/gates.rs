//! What keeps the pool from changing anything: cordon, and provisioning that is somebody else's.

use super::bench::*;
use crate::{
    cloud::{AddressCount, Authority},
    config::{
        AllocationMode::{Prefix, Secondary},
        CustomNetwork, WarmTargets,
    },
    plan::Reason,
    pool::{Action, Event},
};

fn mutates(action: &Action) -> bool {
    matches!(
        action,
        Action::AssignAddresses { .. }
            | Action::CreateEni { .. }
            | Action::DeleteEni { .. }
            | Action::UnassignAddresses { .. }
    )
}

fn cordon(bench: &mut Bench, schedulable: bool) {
    bench.pool.handle(Event::Schedulable(schedulable), bench.now);
    bench.run();
}

#[test]
fn an_unschedulable_node_gives_what_it_has_and_asks_for_no_more() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    cordon(&mut bench, false);
    let before = bench.count(mutates);
    bench.add(1);
    bench.add(2);
    assert_eq!(bench.pool.plan(bench.now).reason, Reason::Unschedulable);
    let op = bench.ask(3);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("the node is unschedulable"), "{text}");
    assert!(text.contains("AWS_MANAGE_ENIS_NON_SCHEDULABLE"), "{text}");
    bench.pass_s(300);
    assert_eq!(bench.count(mutates), before);
    cordon(&mut bench, true);
    bench.add(3);
}

#[test]
fn a_cordoned_nodes_pods_wait_for_what_is_under_way() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.hold = mutates;
    bench.add(1);
    assert_eq!(bench.held.len(), 1);
    let op = bench.ask(2);
    cordon(&mut bench, false);
    assert!(!bench.replies.contains_key(&op));
    bench.answer_held();
    assert!(bench.reply(op).is_ok());
}

#[test]
fn an_unschedulable_node_keeps_its_enis_but_not_its_surplus() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 18)));
    bench.pass_s(100);
    assert_eq!(bench.shape().0, [9, 9]);
    cordon(&mut bench, false);
    bench.reconfigure(|config| config.targets = warm_ips(0, 4));
    bench.pass_s(300);
    assert_eq!((bench.enis.len(), bench.pool.stats().total), (2, 4));
    let id = bench.enis.keys().nth(1).unwrap().clone();
    bench.eni(&id).excluded = true;
    bench.pass_s(300);
    assert_eq!(bench.enis.len(), 2, "not even a retired one is freed");
    assert!(bench.eni(&id).cidrs.is_empty());
    cordon(&mut bench, true);
    assert_eq!(bench.enis.len(), 1);
}

#[test]
fn the_override_makes_cordoned_nodes_like_others() {
    let mut managed = config(Secondary, warm_ips(0, 18));
    managed.manage_unschedulable = true;
    let mut bench = Bench::new(managed);
    cordon(&mut bench, false);
    bench.pass_s(100);
    assert_eq!(bench.shape().0, [9, 9]);
    bench.reconfigure(|config| config.targets = warm_ips(0, 4));
    assert_eq!(bench.enis.len(), 1);
}

#[test]
fn without_provisioning_nothing_is_ever_given_back() {
    let mut bench = Bench::new(config(Secondary, warm_ips(3, 0)));
    bench.pass_s(1);
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    let frozen = |config: &mut crate::config::PoolConfig| config.provisioning = false;
    bench.reconfigure(frozen);
    let before = bench.count(mutates);
    bench.next_read();
    bench.add(1);
    // Everything that would be cleaned up: the other mode's, an excluded ENI's, a moved network's.
    bench.eni(&id).excluded = true;
    bench.next_read();
    bench.reconfigure(|config| {
        config.mode = Prefix;
        config.targets = warm_ips(1, 0);
        config.custom_network = CustomNetwork::Missing { name: "none".to_owned() };
    });
    bench.del(1);
    bench.pass_s(300);
    bench.pool.handle(Event::Draining, bench.now);
    bench.pass_s(300);
    assert_eq!(bench.count(mutates), before);
    assert_eq!(bench.eni(&id).cidrs.len(), 2);
}

#[test]
fn what_is_on_its_way_out_stays_when_provisioning_ends() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 6)));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::SetUpEni { .. });
    bench.reconfigure(|config| config.targets = warm_ips(0, 2));
    assert_eq!(bench.pool.stats().total, 2);
    bench.reconfigure(|config| config.provisioning = false);
    bench.hold = |_| false;
    bench.answer_held();
    bench.pass_s(150);
    assert_eq!(bench.pool.stats().total, 6, "they were never given back");
}

#[test]
fn a_draining_node_does_not_shrink_either() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 2, ..Default::default() }));
    bench.pass_s(100);
    bench.pool.handle(Event::Draining, bench.now);
    let before = bench.count(mutates);
    let id = bench.enis.keys().nth(1).unwrap().clone();
    bench.eni(&id).excluded = true;
    bench.reconfigure(|config| config.targets = warm_ips(1, 0));
    bench.pass_s(300);
    assert_eq!(bench.count(mutates), before);
}

/// A node that is never to ask EC2.
fn metadata_only(provisioning: bool) -> Bench {
    let mut config = config(Secondary, warm_ips(3, 0));
    config.metadata_only = true;
    config.provisioning = provisioning;
    let mut bench = Bench::new(config);
    bench.authority = Authority::Imds;
    let own = bench.primary();
    bench.assign_in_cloud(&own, AddressCount::Secondary(2));
    bench
}

#[test]
fn metadata_that_is_all_there_is_gives_and_takes() {
    for provisioning in [true, false] {
        let mut bench = metadata_only(provisioning);
        bench.pass_s(1);
        bench.add(1);
        assert_eq!(bench.pool.stats().degraded, Vec::<String>::new(), "nothing is amiss");
        // Addresses and ENIs that others provide later are found, tags or no tags.
        let own = bench.primary();
        bench.assign_in_cloud(&own, AddressCount::Secondary(1));
        let second = bench.attach_eni();
        bench.assign_in_cloud(&second, AddressCount::Secondary(2));
        bench.next_read();
        assert_eq!(bench.shape(), (vec![3, 2], 4));
        bench.add(2);
        let last = bench.add(3);
        // One reading without it is no proof.
        let gone = bench.enis.remove(&second).unwrap();
        bench.next_read();
        assert_eq!(bench.shape().0, [3, 2]);
        bench.enis.insert(second.clone(), gone.clone());
        bench.pass_s(15);
        assert_eq!(bench.shape().0, [3, 2]);
        bench.enis.remove(&second);
        let taken = bench.eni(&own).cidrs.iter().position(|cidr| cidr.contains(last)).unwrap();
        bench.eni(&own).cidrs.remove(taken);
        bench.next_read();
        bench.pass_s(15);
        let stats = bench.pool.stats();
        assert_eq!((bench.shape().0, stats.orphaned), (vec![3], 1), "the pod's address is kept");
        assert_eq!(bench.pool.checkpoint().leases.len(), 3);
        bench.enis.insert(second, gone);
        bench.next_read();
        assert_eq!(bench.shape().0, [3, 2]);
        bench.pass_s(600);
        assert_eq!(bench.count(mutates), 0);
        let reads = bench.count(|a| matches!(a, Action::Describe { .. }));
        assert!(reads < 25, "{reads} reads in a quarter of an hour");
    }
}
