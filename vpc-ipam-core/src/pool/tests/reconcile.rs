use std::time::Duration;

use super::bench::*;
use crate::{
    cloud::{AddressCount, Authority, CloudErrorKind},
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    pool::{Action, Event, Release},
};

pub(super) fn describes(action: &Action) -> bool {
    matches!(action, Action::Describe { .. })
}

/// Four addresses on the primary ENI, wanted all.
pub(super) fn bench() -> Bench {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 4)));
    bench.pass_s(1);
    assert_eq!(bench.shape(), (vec![4], 4));
    bench
}

#[test]
fn what_others_attach_and_add_is_adopted() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 2, ..Default::default() }));
    bench.pass_s(1);
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(3));
    bench.next_read();
    assert_eq!(bench.shape(), (vec![9, 9, 3], 21));
}

#[test]
fn an_eni_of_somebody_else_is_not_taken_over_while_ec2_is_away_at_start() {
    let mut bench = Bench::new(config(Secondary, WarmTargets::default()));
    bench.authority = Authority::Imds;
    let own = bench.primary();
    bench.assign_in_cloud(&own, AddressCount::Secondary(1));
    // Metadata does not show that it is tagged no_manage.
    let foreign = bench.attach_eni();
    bench.assign_in_cloud(&foreign, AddressCount::Secondary(3));
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. } | Action::CreateEni { .. });
    bench.pass_s(60);
    let touched = |a: &Action| matches!(a, Action::SetUpEni { eni, .. } if !eni.primary);
    assert_eq!(bench.count(touched), 0, "its host side is its owner's");
    assert_eq!(bench.pool.stats().total, 1);
    bench.add(1);
    let op = bench.ask(2);
    assert!(!bench.replies.contains_key(&op), "waits for EC2");
    bench.cloud_fails = Some(CloudErrorKind::Unreachable);
    bench.answer_held();
    bench.cloud_fails = None;
    bench.hold = |_| false;
    bench.authority = Authority::Ec2;
    bench.pass_s(31);
    let held = bench.pool.stats().enis.iter().any(|eni| eni.id == foreign);
    assert!(held && bench.reply(op).is_ok(), "it was ours after all");
}

#[test]
fn an_unused_address_that_ec2_does_not_show_is_given_up() {
    let mut bench = bench();
    let id = bench.primary();
    let lost = bench.enis.get_mut(&id).unwrap().cidrs.remove(0);
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    bench.next_read();
    assert_eq!(bench.pool.stats().total, 3);
    assert_ne!(bench.add(1), lost.base());
}

#[test]
fn metadata_never_takes_anything_away() {
    let mut bench = bench();
    bench.add(1);
    bench.authority = Authority::Imds;
    let id = bench.primary();
    bench.enis.get_mut(&id).unwrap().cidrs.clear();
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().total, 4);
    assert_eq!(bench.pool.stats().orphaned, 0);
}

#[test]
fn a_failed_read_never_takes_anything_away() {
    let mut bench = bench();
    bench.add(1);
    bench.enis.clear();
    bench.cloud_fails = Some(CloudErrorKind::Malformed);
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().total, 4);
    // Nor does a view that cannot be complete.
    bench.cloud_fails = None;
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().total, 4);
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("lacks the primary ENI"), "{degraded}");
}

#[test]
fn a_pods_address_that_ec2_denies_is_quarantined_and_comes_back() {
    let mut bench = bench();
    let ip = bench.add(1);
    let id = bench.primary();
    let lost = bench.enis.get_mut(&id).unwrap().cidrs.remove(0);
    assert_eq!(lost.base(), ip);
    bench.next_read();
    let stats = bench.pool.stats();
    assert_eq!(stats.orphaned, 1);
    assert!(stats.degraded.iter().any(|d| d.contains(&ip.to_string())), "{:?}", stats.degraded);
    assert_eq!(bench.pool.checkpoint().leases.len(), 1);
    bench.enis.get_mut(&id).unwrap().cidrs.push(lost);
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 0);
    // Denied for good, and the pod goes: so does the address, with no rest to wait for.
    bench.enis.get_mut(&id).unwrap().cidrs.retain(|c| *c != lost);
    bench.next_read();
    bench.del(1);
    bench.pass_s(31);
    for n in 2..5 {
        assert_ne!(bench.add(n), ip);
    }
}

#[test]
fn an_eni_that_vanished_with_pods_stays_until_they_are_gone() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 12)));
    bench.pass_s(1);
    for n in 0..10 {
        bench.add(n);
    }
    let mut frozen = config(Secondary, warm_ips(0, 12));
    frozen.provisioning = false;
    bench.pool.handle(Event::Reconfigured(Box::new(frozen)), bench.now);
    let id = bench.enis.keys().nth(1).unwrap().clone();
    let gone = bench.enis.remove(&id).unwrap();
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 1);
    let torn_down = |bench: &Bench| bench.count(|a| matches!(a, Action::TearDownEni { .. }));
    assert_eq!(torn_down(&bench), 0);
    bench.enis.insert(id.clone(), gone);
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 0, "it was only away");
    bench.enis.remove(&id);
    bench.next_read();
    bench.del(9);
    assert_eq!(torn_down(&bench), 1, "the host forgets it with its last pod");
    assert_eq!(bench.count(|a| matches!(a, Action::DeleteEni { .. })), 0);
}

#[test]
fn the_primary_address_of_a_vanished_eni_can_come_back_as_an_address_for_pods() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 12)));
    bench.pass_s(1);
    for n in 0..10 {
        bench.add(n);
    }
    let mut frozen = config(Secondary, warm_ips(0, 12));
    frozen.provisioning = false;
    bench.pool.handle(Event::Reconfigured(Box::new(frozen)), bench.now);
    let (own, id) = (bench.primary(), bench.enis.keys().nth(1).unwrap().clone());
    let gone = bench.enis.remove(&id).unwrap();
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 1, "its pod keeps it in the pool");
    bench.enis.get_mut(&own).unwrap().cidrs.push(crate::addr::Prefix::host(gone.primary_ip));
    bench.next_read();
    assert_eq!(bench.add(20), gone.primary_ip);
}

#[test]
fn metadata_cannot_bring_back_what_ec2_denied() {
    let mut bench = bench();
    bench.add(1);
    let id = bench.primary();
    let lost = bench.enis.get_mut(&id).unwrap().cidrs.remove(0);
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 1);
    bench.enis.get_mut(&id).unwrap().cidrs.insert(0, lost);
    bench.authority = Authority::Imds;
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().orphaned, 1);
    bench.authority = Authority::Ec2;
    bench.pass_s(31);
    assert_eq!(bench.pool.stats().orphaned, 0);
}

#[test]
fn a_nodes_own_address_never_enters_the_pool() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 1)));
    let id = bench.primary();
    let eni = bench.enis.get_mut(&id).unwrap();
    eni.cidrs.push(crate::addr::Prefix::host(eni.primary_ip));
    eni.cidrs.push("10.0.255.0/28".parse().unwrap());
    bench.pass_s(1);
    assert_eq!(bench.pool.stats().total, 1);
    assert_eq!(bench.add(1).to_string(), "10.0.0.0");
}

#[test]
fn an_address_that_ec2_gave_to_a_new_eni_for_itself_is_given_to_no_pod() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 9)));
    bench.hold = |a| matches!(a, Action::CreateEni { .. });
    bench.pass_s(1);
    let ips: Vec<_> = (0..8).map(|n| bench.add(n)).collect();
    let used = ips[0];
    let Some(Action::CreateEni { op, .. }) = bench.held.pop() else { panic!("{:?}", bench.held) };
    // Somebody takes an address from the full ENI, and EC2 gives it to the new one for itself. No view has
    // shown that.
    let id = bench.primary();
    let taken = bench.eni(&id).cidrs.pop().unwrap();
    let new = bench.attach_eni();
    bench.assign_in_cloud(&new, AddressCount::Secondary(1));
    bench.eni(&new).primary_ip = taken.base();
    let created = bench.enis[&new].clone();
    bench.pool.handle(Event::EniCreated { op, result: Ok(created) }, bench.now);
    bench.run();
    assert_ne!(bench.add(8), taken.base());
    // A pod that has the address of a further one keeps it, as an orphan.
    let new = bench.attach_eni();
    bench.eni(&new).primary_ip = used;
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 1);
    assert!(bench.pool.checkpoint().leases.iter().any(|lease| lease.ip == used));
}

#[test]
fn a_vanished_eni_is_taken_down_after_the_set_up_that_still_runs() {
    let mut bench = Bench::new(config(Secondary, WarmTargets::default()));
    bench.hold = |a| matches!(a, Action::SetUpEni { eni, .. } if eni.device == 1);
    let id = bench.attach_eni();
    bench.pass_s(1);
    assert_eq!(bench.held.len(), 1);
    bench.enis.remove(&id);
    bench.next_read();
    let torn_down = |bench: &Bench| bench.count(|a| matches!(a, Action::TearDownEni { .. }));
    assert_eq!(torn_down(&bench), 0, "or the set-up could undo it");
    bench.answer_held();
    assert_eq!(torn_down(&bench), 1);
}

#[test]
fn a_quarantined_prefix_gives_no_further_addresses() {
    let mut bench = Bench::new(config(Prefix, warm_ips(1, 0)));
    bench.pass_s(1);
    let first = bench.add(1);
    let id = bench.primary();
    let lost = bench.enis.get_mut(&id).unwrap().cidrs.remove(0);
    assert!(lost.contains(first));
    bench.next_read();
    let other = bench.add(2);
    assert!(!lost.contains(other), "{other}");
}

#[test]
fn an_address_that_moved_to_another_eni_takes_its_lease_along() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 4)));
    bench.pass_s(1);
    let ip = bench.add(1);
    let id = bench.primary();
    let moved = bench.enis.get_mut(&id).unwrap().cidrs.remove(0);
    let other = bench.attach_eni();
    bench.enis.get_mut(&other).unwrap().cidrs.push(moved);
    bench.next_read();
    let crate::pool::Assign::Ready(assignment) =
        bench.pool.assign(key(1), pod(1), bench.now).unwrap()
    else {
        panic!("pending")
    };
    assert_eq!((assignment.ip, assignment.eni), (ip, Some(other)));
}

#[test]
fn the_other_allocation_mode_serves_its_pods_and_goes_with_them() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 9)));
    bench.pass_s(1);
    let old = bench.add(1);
    let id = bench.primary();
    bench.pool.handle(Event::Reconfigured(Box::new(config(Prefix, warm_ips(1, 0)))), bench.now);
    bench.pass_s(35);
    let cidrs = &bench.enis[&id].cidrs;
    assert_eq!(cidrs.len(), 2, "one address for the old pod, one prefix: {cidrs:?}");
    assert_eq!(bench.pool.stats().total, 17);
    let new = bench.add(2);
    assert!(bench.enis[&id].cidrs.iter().any(|c| !c.is_host() && c.contains(new)));
    assert_eq!(bench.del(1), old);
    bench.pass_s(60);
    assert_eq!(bench.pool.stats().total, 16);
}

#[test]
fn the_reads_go_on_once_a_minute_spread_a_little() {
    let mut config = config(Secondary, warm_ips(2, 0));
    config.budget.describe_period_max = Duration::ZERO;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let before = bench.count(describes);
    bench.pass(Duration::from_secs(3600));
    let reads = bench.count(describes) - before;
    assert!((51..=60).contains(&reads), "{reads} reads in an hour");
    assert_eq!(bench.pool.release(&key(7), bench.now).unwrap(), Release::Absent);
}
