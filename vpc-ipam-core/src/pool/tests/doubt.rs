//! What EC2 shows for some seconds although it is gone.

use super::{bench::*, reconcile::describes};
use crate::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, CloudErrorKind},
    config::{AllocationMode::Secondary, PoolConfig, WarmTargets},
    id::{EniId, OpId},
    pool::{Action, Event, Pool},
};

fn restart(bench: &mut Bench) {
    let (config, checkpoint) = (bench.pool.config().clone(), bench.pool.checkpoint());
    bench.pool = Pool::restore(config, &checkpoint, bench.now);
    let remembered = bench.remembered.clone();
    bench.pool.recall(&remembered, bench.now);
    bench.log.clear();
}

/// A node of four addresses, one of which an earlier life was giving back when it died: it is not in the
/// memory any more, and still in EC2.
fn giving_back() -> (Bench, EniId, Prefix) {
    let config = PoolConfig { remember: true, ..config(Secondary, warm_ips(0, 4)) };
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let ghost = bench.remembered[0].cidrs.pop().unwrap();
    let id = bench.primary();
    (bench, id, ghost)
}

fn shows(bench: &mut Bench, id: &EniId, cidr: Prefix, yes: bool) {
    let eni = bench.eni(id);
    eni.cidrs.retain(|other| *other != cidr);
    eni.cidrs.extend(yes.then_some(cidr));
}

fn add(bench: &mut Bench, pods: std::ops::Range<u32>) {
    for n in pods {
        bench.add(n);
    }
}

pub(super) fn look(bench: &mut Bench) {
    bench.pool.describe_soon(bench.now);
    bench.pool.handle(Event::Timeout, bench.now);
    bench.run();
}

#[test]
fn what_was_given_back_just_before_a_restart_is_given_to_no_pod_while_ec2_still_shows_it() {
    let (mut bench, id, ghost) = giving_back();
    restart(&mut bench);
    bench.pass_s(1);
    for n in 0..3 {
        assert!(!ghost.contains(bench.add(n)), "what is remembered serves at once");
    }
    // A second view within seconds proves no more than the first.
    let op = bench.ask(3);
    bench.pass_s(4);
    look(&mut bench);
    assert!(bench.replies.is_empty());
    assert!(bench.pool.remembered().iter().all(|eni| !eni.cidrs.contains(&ghost)));
    shows(&mut bench, &id, ghost, false);
    bench.pass_s(20);
    assert!(!ghost.contains(bench.reply(op).unwrap().ip));
}

#[test]
fn what_was_given_back_just_before_a_restart_is_in_doubt_in_a_second_view_too() {
    let (mut bench, id, ghost) = giving_back();
    shows(&mut bench, &id, ghost, false);
    restart(&mut bench);
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    bench.pass_s(1);
    add(&mut bench, 0..3);
    // Another server of EC2 answers, which lags behind.
    shows(&mut bench, &id, ghost, true);
    bench.ask(3);
    bench.pass_s(2);
    look(&mut bench);
    assert_eq!(bench.pool.stats().total, 4);
    assert!(bench.replies.is_empty(), "{:?}", bench.replies);
}

#[test]
fn what_ec2_shows_all_along_is_given_after_ten_seconds_however_often_it_was_asked() {
    let (mut bench, _, ghost) = giving_back();
    restart(&mut bench);
    bench.pass_s(1);
    add(&mut bench, 0..3);
    let op = bench.ask(3);
    bench.pass_s(4);
    look(&mut bench);
    bench.pass_s(6);
    assert!(ghost.contains(bench.reply(op).unwrap().ip));
    assert_eq!(bench.count(describes), 3, "one look ends the doubt");
    assert!(bench.pool.remembered()[0].cidrs.contains(&ghost));
}

#[test]
fn a_view_that_began_too_early_ends_no_doubt_however_late_it_comes() {
    let (mut bench, _, _) = giving_back();
    restart(&mut bench);
    bench.pass_s(1);
    add(&mut bench, 0..3);
    bench.ask(3);
    bench.hold = describes;
    look(&mut bench);
    bench.pass_s(15);
    bench.answer_held();
    assert!(bench.replies.is_empty());
    bench.hold = |_| false;
    bench.pass_s(1);
    assert_eq!(bench.replies.len(), 1);
}

#[test]
fn an_address_in_doubt_that_ec2_gives_to_another_eni_is_there_at_once() {
    let (mut bench, id, ghost) = giving_back();
    restart(&mut bench);
    bench.pass_s(1);
    add(&mut bench, 0..3);
    let op = bench.ask(3);
    bench.hold = |a| matches!(a, Action::CreateEni { .. } | Action::AssignAddresses { .. });
    bench.reconfigure(|config| config.targets = WarmTargets { enis: 2, ..WarmTargets::default() });
    let create = bench.held.iter().position(|a| matches!(a, Action::CreateEni { .. })).unwrap();
    let create = bench.held.remove(create);
    shows(&mut bench, &id, ghost, false);
    let other = bench.attach_eni();
    shows(&mut bench, &other, ghost, true);
    let eni = bench.eni(&other).clone();
    bench.pool.handle(Event::EniCreated { op: create.op(), result: Ok(eni) }, bench.now);
    bench.run();
    let assignment = bench.reply(op).unwrap();
    assert!(ghost.contains(assignment.ip) && assignment.eni == Some(other));
}

#[test]
fn what_comes_a_minute_after_a_restart_is_not_doubted() {
    let (mut bench, id, ghost) = giving_back();
    shows(&mut bench, &id, ghost, false);
    restart(&mut bench);
    bench.pass_s(61);
    bench.reconfigure(|config| config.provisioning = false);
    for n in 0..4 {
        bench.ask(n);
    }
    bench.replies.clear();
    let op = bench.ask(4);
    bench.assign_in_cloud(&id, AddressCount::Secondary(1));
    look(&mut bench);
    assert!(bench.reply(op).is_ok());
}

/// The only action of that sort has happened, or not, and its answer is a failure.
fn fails(bench: &mut Bench, event: fn(OpId, CloudError) -> Event) {
    let op = bench.held.pop().expect("asked for").op();
    let error = CloudError::new(CloudErrorKind::Unreachable, "EC2", "no answer came in time");
    bench.hold = |a| matches!(a, Action::CreateEni { .. });
    bench.pool.handle(event(op, error), bench.now);
    bench.run();
}

#[test]
fn an_eni_whose_deletion_failed_half_way_is_given_to_no_pod_while_ec2_still_shows_it() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 2, ..Default::default() }));
    bench.pass_s(100);
    bench.hold = |a| matches!(a, Action::DeleteEni { .. });
    bench.reconfigure(|config| config.targets.enis = 0);
    // It is detached, but the answer is lost, and EC2's views show for a while what was.
    fails(&mut bench, |op, error| Event::EniDeleted { op, result: Err(error) });
    assert_eq!(bench.pool.stats().enis.len(), 2);
    let primary = bench.primary();
    add(&mut bench, 0..9);
    bench.ask(9);
    bench.pass_s(4);
    look(&mut bench);
    bench.pass_s(5);
    assert!(bench.replies.is_empty(), "{:?}", bench.replies);
    bench.enis.retain(|id, _| *id == primary);
    bench.pass_s(2);
    assert_eq!(bench.pool.stats().enis.len(), 1);
}

#[test]
fn an_eni_whose_creation_was_undone_is_given_to_no_pod_while_ec2_still_shows_it() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 0, ..Default::default() }));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::CreateEni { .. });
    add(&mut bench, 0..9);
    let half_made = bench.attach_eni();
    bench.assign_in_cloud(&half_made, AddressCount::Secondary(9));
    fails(&mut bench, |op, error| Event::EniCreated { op, result: Err(error) });
    bench.ask(9);
    look(&mut bench);
    assert_eq!(bench.pool.stats().enis.len(), 2);
    bench.pass_s(9);
    assert!(bench.replies.is_empty(), "{:?}", bench.replies);
    bench.pass_s(1);
    assert_eq!(bench.replies.len(), 1, "EC2 shows it all along");
}
