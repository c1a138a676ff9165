//! Requests whose answer nobody takes, and answers that must not be given yet.

use super::{
    bench::*,
    two_phase::{bench, is_persist},
};
use crate::{
    datapath::{DatapathError, DatapathErrorKind},
    id::OpId,
    pool::{Action, Assign, AssignError, Event, Release},
};

/// A live pod whose DEL failed: the file may have lost it.
fn after_a_failed_del() -> Bench {
    let mut bench = bench();
    bench.add(1);
    bench.store_fails = true;
    let Ok(Release::Pending(op)) = bench.pool.release(&key(1), bench.now) else { panic!() };
    bench.run();
    assert!(matches!(bench.reply(op), Err(AssignError::NotDurable(_))));
    bench
}

#[test]
fn an_add_after_a_failed_del_is_not_answered_before_the_file_surely_has_its_lease() {
    let mut bench = after_a_failed_del();
    let add = bench.ask(1);
    assert!(bench.replies.is_empty(), "a restart might not find the lease");
    bench.pass_s(1);
    assert!(bench.replies.is_empty(), "the write failed again");
    bench.store_fails = false;
    bench.pass_s(2);
    assert_eq!(bench.reply(add).unwrap().ip.to_string(), "10.0.0.0");
    let again = bench.pool.assign(key(1), pod(1), bench.now).unwrap();
    assert!(matches!(again, Assign::Ready(_)), "{again:?}");
}

#[test]
fn a_failed_del_is_written_back_without_being_asked_and_without_haste() {
    let mut bench = after_a_failed_del();
    let writes = bench.count(is_persist);
    bench.pass_s(60);
    assert!((2..12).contains(&(bench.count(is_persist) - writes)), "backs off");
    bench.store_fails = false;
    bench.pass_s(60);
    let again = bench.pool.assign(key(1), pod(1), bench.now).unwrap();
    assert!(matches!(again, Assign::Ready(_)), "{again:?}");
    assert_eq!(bench.del(1).to_string(), "10.0.0.0");
}

#[test]
fn an_add_whose_caller_has_gone_leaves_nothing() {
    let mut bench = bench();
    bench.hold = is_persist;
    let (written, unwritten) = (bench.ask(1), bench.ask(2));
    let first = bench.pool.abandon(&key(1), written, bench.now);
    assert!(matches!(first, Release::Pending(_)), "the file may have it: {first:?}");
    assert_eq!(bench.pool.abandon(&key(2), unwritten, bench.now), Release::Absent);
    bench.hold = |_| false;
    bench.answer_held();
    assert_eq!(bench.pool.stats().assigned, 0);
    let told = bench.ask(3);
    assert!(matches!(bench.pool.abandon(&key(3), told, bench.now), Release::Pending(_)));
    bench.run();
    assert!(bench.pool.checkpoint().leases.is_empty());
}

#[test]
fn a_repeated_add_whose_caller_has_gone_does_not_end_the_lease_of_a_live_pod() {
    let mut bench = after_a_failed_del();
    let again = bench.ask(1);
    assert_eq!(bench.pool.abandon(&key(1), again, bench.now), Release::Absent);
    assert_eq!(bench.pool.abandon(&key(1), OpId(9999), bench.now), Release::Absent);
    bench.store_fails = false;
    bench.pass_s(120);
    assert_eq!(bench.pool.stats().waiting, 0);
    assert_eq!(bench.pool.checkpoint().leases.len(), 1);
}

#[test]
fn an_add_that_took_a_release_back_is_undone_when_its_caller_has_gone() {
    let mut bench = bench();
    bench.add(1);
    bench.hold = is_persist;
    bench.pool.release(&key(1), bench.now).unwrap();
    bench.run();
    let add = bench.ask(1);
    bench.hold = |_| false;
    bench.answer_held();
    assert!(matches!(bench.pool.abandon(&key(1), add, bench.now), Release::Pending(_)));
    bench.run();
    assert_eq!(bench.pool.stats().assigned, 0);
}

#[test]
fn no_pod_hears_of_an_address_whose_eni_is_being_set_up_again() {
    let mut bench = bench();
    bench.hold = |action| is_persist(action) || matches!(action, Action::SetUpEni { .. });
    let add = bench.ask(1);
    let eni = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&eni, crate::cloud::AddressCount::Secondary(1));
    bench.pass_s(80);
    let Some(Action::SetUpEni { op, .. }) = bench.held.pop() else { panic!("{:?}", bench.held) };
    let error = DatapathError::new(DatapathErrorKind::Other, "eni-0", "scripted");
    bench.pool.handle(Event::EniSetUp { op, result: Err(error) }, bench.now);
    bench.hold = |action| matches!(action, Action::SetUpEni { .. });
    bench.answer_held();
    assert!(bench.replies.is_empty(), "what the host does with its packets is unknown");
    assert_eq!(bench.pool.checkpoint().leases.len(), 1, "it keeps its address");
    bench.hold = |_| false;
    bench.pass_s(1);
    assert_eq!(bench.reply(add).unwrap().ip.to_string(), "10.0.0.0");
    assert_eq!(bench.del(1).to_string(), "10.0.0.0");
    assert_eq!(bench.pool.stats().cooling, 1, "its pod may have used it");
}
