//! Views of the cloud that are older than what the pool has done since.

use super::{
    bench::*,
    doubt::look,
    reconcile::{bench, describes},
};
use crate::{
    addr::Prefix,
    cloud::{AddressCount, Authority, CloudError, CloudErrorKind, CloudView},
    config::{AllocationMode::Secondary, WarmTargets},
    pool::{Action, Event},
};

#[test]
fn a_view_older_than_the_pools_own_change_undoes_nothing() {
    let mut bench = bench();
    let id = bench.primary();
    // The read begins, then the pool grows, then the old view arrives.
    let old: Vec<_> = bench.enis.values().cloned().collect();
    bench.hold = describes;
    while bench.held.is_empty() {
        bench.pass_s(5);
    }
    bench.pool.handle(Event::Reconfigured(Box::new(config(Secondary, warm_ips(0, 6)))), bench.now);
    bench.run();
    assert_eq!(bench.pool.stats().total, 6);
    let op = bench.held.pop().unwrap().op();
    let view = CloudView { enis: old, authority: Authority::Ec2 };
    bench.pool.handle(Event::Described { op, result: Ok(view) }, bench.now);
    bench.run();
    assert_eq!(bench.pool.stats().total, 6);
    assert_eq!(bench.enis[&id].cidrs.len(), 6);
}

#[test]
fn a_view_older_than_a_release_does_not_bring_the_address_back_however_late() {
    let mut bench = bench();
    let old: Vec<_> = bench.enis.values().cloned().collect();
    bench.hold = describes;
    while bench.held.is_empty() {
        bench.pass_s(5);
    }
    bench.pool.handle(Event::Reconfigured(Box::new(config(Secondary, warm_ips(0, 3)))), bench.now);
    bench.pass_s(90);
    assert_eq!(bench.pool.stats().total, 3);
    let op = bench.held.pop().unwrap().op();
    let view = CloudView { enis: old, authority: Authority::Ec2 };
    bench.pool.handle(Event::Described { op, result: Ok(view) }, bench.now);
    assert_eq!(bench.pool.stats().total, 3);
}

#[test]
fn an_address_on_its_way_out_is_not_taken_back_while_the_host_hesitates() {
    let mut bench = bench();
    bench.hold = |a| matches!(a, Action::SetUpEni { .. });
    bench.pool.handle(Event::Reconfigured(Box::new(config(Secondary, warm_ips(0, 3)))), bench.now);
    bench.run();
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().total, 3);
    bench.answer_held();
    assert_eq!(bench.enis.values().next().unwrap().cidrs.len(), 3);
}

#[test]
fn a_half_made_eni_is_not_adopted_from_a_view() {
    let mut bench = Bench::new(config(Secondary, WarmTargets::default()));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::CreateEni { .. });
    bench.add(1);
    let Some(Action::CreateEni { op, .. }) = bench.held.pop() else { panic!("no creation") };
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(9));
    bench.next_read();
    assert_eq!(bench.pool.stats().enis.len(), 1, "its creation may still fail and clean it up");
    bench.enis.remove(&id);
    let error = CloudError::new(CloudErrorKind::Other, "AttachNetworkInterface", "no");
    bench.pool.handle(Event::EniCreated { op, result: Err(error) }, bench.now);
    bench.run();
    // One that somebody else attached is found by the next read.
    let content = WarmTargets { enis: 0, ..Default::default() };
    bench.pool.handle(Event::Reconfigured(Box::new(config(Secondary, content))), bench.now);
    bench.run();
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(1));
    bench.next_read();
    assert_eq!(bench.pool.stats().enis.len(), 2);
}

#[test]
fn a_released_address_is_not_taken_back_within_a_minute_and_only_on_ec2s_word() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 4)));
    bench.pass_s(1);
    let id = bench.primary();
    bench.hold = |a| matches!(a, Action::UnassignAddresses { .. });
    bench.pool.handle(Event::Reconfigured(Box::new(config(Secondary, warm_ips(0, 3)))), bench.now);
    bench.run();
    let Some(Action::UnassignAddresses { op, cidrs, .. }) = bench.held.pop() else {
        panic!("nothing released")
    };
    assert_eq!(cidrs.len(), 1);
    // EC2 refuses, so it is attached still.
    let error = CloudError::new(CloudErrorKind::Other, "Unassign", "no");
    bench.pool.handle(Event::AddressesUnassigned { op, result: Err(error) }, bench.now);
    bench.run();
    assert_eq!(bench.pool.stats().total, 3);
    assert_eq!(bench.enis[&id].cidrs.len(), 4);
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("give something back failed: Unassign: no"), "{degraded}");
    bench.hold = |a| matches!(a, Action::UnassignAddresses { .. });
    bench.authority = Authority::Imds;
    bench.pass_s(200);
    assert_eq!(bench.pool.stats().total, 3, "metadata may be late");
    bench.authority = Authority::Ec2;
    bench.pass_s(31);
    // Found again, and given back again.
    bench.answer_held();
    assert_eq!(bench.enis[&id].cidrs.len(), 3);
    assert_eq!(bench.pool.stats().total, 3);
}

#[test]
fn an_eni_whose_own_address_ec2_gives_to_another_one_has_gone() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 10)));
    bench.pass_s(1);
    let (primary, other) = (bench.primary(), bench.enis.keys().last().unwrap().clone());
    let own = Prefix::host(bench.enis[&other].primary_ip);
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. } | Action::CreateEni { .. });
    bench.eni(&primary).cidrs.pop();
    bench.next_read();
    let op = bench.held.pop().unwrap().op();
    // Somebody deletes the other one, and its address is the next that EC2 gives.
    bench.enis.remove(&other);
    bench.eni(&primary).cidrs.push(own);
    bench.hold = |a| describes(a) || matches!(a, Action::CreateEni { .. });
    bench.pool.handle(Event::AddressesAssigned { op, result: Ok(vec![own]) }, bench.now);
    bench.run();
    let stats = bench.pool.stats();
    assert_eq!(stats.enis.len(), 1);
    assert!(stats.enis[0].cidrs.iter().any(|cidr| cidr.cidr == own), "{stats:?}");
    assert!(bench.held.iter().any(describes), "how it really looks is worth a look");
}

#[test]
fn a_torn_view_gives_no_pod_the_own_address_of_an_eni() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 9)));
    bench.pass_s(1);
    let (primary, ip) = (bench.primary(), bench.add(1));
    bench.eni(&primary).cidrs.retain(|cidr| !cidr.contains(ip));
    bench.next_read();
    assert_eq!(bench.pool.stats().orphaned, 1);
    let other = bench.attach_eni();
    bench.eni(&other).primary_ip = ip;
    look(&mut bench);
    // Half of this view is older than the other half.
    bench.eni(&primary).cidrs.push(Prefix::host(ip));
    look(&mut bench);
    assert_eq!(bench.pool.stats().orphaned, 1);
}
