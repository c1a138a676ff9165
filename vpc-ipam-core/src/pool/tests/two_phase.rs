use super::bench::*;
use crate::{
    config::AllocationMode::Secondary,
    pool::{Action, Assign, AssignError, Release},
};

pub(super) fn is_persist(action: &Action) -> bool {
    matches!(action, Action::Persist { .. })
}

/// Nine free addresses, settled.
pub(super) fn bench() -> Bench {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 9)));
    bench.pass_s(1);
    assert_eq!(bench.shape(), (vec![9], 9));
    bench
}

#[test]
fn an_add_is_answered_only_after_the_write_that_contains_it() {
    let mut bench = bench();
    bench.hold = is_persist;
    let op = bench.ask(1);
    assert!(bench.replies.is_empty());
    assert_eq!(bench.pool.checkpoint().leases.len(), 1, "the write contains it");
    // Asking again changes nothing, before and after.
    let again = bench.pool.assign(key(1), pod(1), bench.now).unwrap();
    assert_eq!(again, Assign::Pending(op));
    bench.answer_held();
    let assignment = bench.reply(op).unwrap();
    let again = bench.pool.assign(key(1), pod(1), bench.now).unwrap();
    assert_eq!(again, Assign::Ready(assignment));
    assert_eq!(bench.count(is_persist), 1, "a repeated ADD writes nothing");
}

#[test]
fn requests_that_come_during_a_write_share_the_next_one() {
    let mut bench = bench();
    bench.hold = is_persist;
    let first = bench.ask(1);
    let others: Vec<_> = (2..=5).map(|n| bench.ask(n)).collect();
    assert_eq!(bench.held.len(), 1);
    bench.hold = |_| false;
    bench.answer_held();
    assert!(bench.reply(first).is_ok());
    assert_eq!(bench.count(is_persist), 2);
    for op in others {
        assert!(bench.reply(op).is_ok());
    }
}

#[test]
fn a_failed_write_takes_the_address_back_without_cooldown() {
    let mut bench = bench();
    bench.store_fails = true;
    let op = bench.ask(1);
    assert!(matches!(bench.reply(op), Err(AssignError::NotDurable(_))));
    let stats = bench.pool.stats();
    assert_eq!((stats.assigned, stats.cooling), (0, 0));
    assert!(stats.degraded.iter().any(|d| d.contains("no space left")), "{:?}", stats.degraded);
    // The write is repeated on its own, since the file may hold the lease all the same.
    let writes = bench.count(is_persist);
    bench.store_fails = false;
    bench.pass_s(60);
    assert_eq!(bench.count(is_persist), writes + 1);
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
    assert_eq!(bench.add(2).to_string(), "10.0.0.0", "as if it had never been given");
}

#[test]
fn an_address_whose_add_may_be_in_the_file_all_the_same_is_not_given_back_to_ec2() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.hold = is_persist;
    let op = bench.ask(1);
    assert_eq!(bench.shape(), (vec![2], 1));
    bench.hold = |_| false;
    bench.store_fails = true;
    bench.answer_held();
    assert!(matches!(bench.reply(op), Err(AssignError::NotDurable(_))));
    bench.pass_s(300);
    let gives_back = |a: &Action| matches!(a, Action::UnassignAddresses { .. });
    assert_eq!(bench.count(gives_back), 0, "a restart would find a lease of it");
    let reasons = bench.pool.stats().degraded;
    assert!(reasons.iter().any(|r| r.contains("nothing is given back")), "{reasons:?}");
    bench.store_fails = false;
    bench.pass_s(60);
    assert_eq!(bench.count(gives_back), 1);
}

#[test]
fn a_failed_write_restores_the_released_lease() {
    let mut bench = bench();
    let ip = bench.add(1);
    let before = bench.pool.checkpoint();
    bench.store_fails = true;
    let Release::Pending(op) = bench.pool.release(&key(1), bench.now).unwrap() else {
        panic!("unknown")
    };
    bench.run();
    assert!(matches!(bench.reply(op), Err(AssignError::NotDurable(_))));
    assert_eq!(bench.pool.checkpoint(), before);
    bench.store_fails = false;
    assert_eq!(bench.del(1), ip);
    assert_eq!(bench.pool.release(&key(1), bench.now).unwrap(), Release::Absent, "second DEL");
}

#[test]
fn a_release_that_is_being_written_is_asked_for_once() {
    let mut bench = bench();
    bench.add(1);
    bench.hold = is_persist;
    let first = bench.pool.release(&key(1), bench.now).unwrap();
    bench.run();
    assert_eq!(bench.pool.release(&key(1), bench.now).unwrap(), first);
    assert!(bench.pool.checkpoint().leases.is_empty());
    assert_eq!(bench.pool.stats().assigned, 1, "not free before it is durable");
    bench.answer_held();
    assert_eq!(bench.pool.stats().assigned, 0);
}

#[test]
fn a_del_before_its_add_is_written_undoes_it_at_once() {
    let mut bench = bench();
    bench.hold = is_persist;
    let other = bench.ask(1);
    let op = bench.ask(2);
    assert_eq!(bench.pool.release(&key(2), bench.now).unwrap(), Release::Absent);
    bench.run();
    assert!(matches!(bench.reply(op), Err(AssignError::Released)));
    assert_eq!(bench.pool.stats().assigned, 1);
    bench.hold = |_| false;
    bench.answer_held();
    assert!(bench.reply(other).is_ok());
    assert_eq!(bench.pool.checkpoint().leases.len(), 1);
}

#[test]
fn a_del_while_its_add_is_being_written_waits_for_a_write_without_it() {
    let mut bench = bench();
    bench.hold = is_persist;
    let add = bench.ask(1);
    let Release::Pending(del) = bench.pool.release(&key(1), bench.now).unwrap() else {
        panic!("the file may contain the lease")
    };
    bench.run();
    assert!(matches!(bench.reply(add), Err(AssignError::Released)));
    bench.hold = |_| false;
    bench.answer_held();
    assert!(bench.reply(del).is_ok());
    assert_eq!(bench.count(is_persist), 2);
    let stats = bench.pool.stats();
    assert_eq!((stats.assigned, stats.cooling), (0, 0), "no pod ever had it");
}

#[test]
fn an_add_during_the_release_of_its_own_lease_gets_the_same_address() {
    let mut bench = bench();
    let ip = bench.add(1);
    bench.hold = is_persist;
    let Release::Pending(del) = bench.pool.release(&key(1), bench.now).unwrap() else {
        panic!("unknown")
    };
    bench.run();
    let add = bench.ask(1);
    assert_eq!(bench.reply(del).unwrap().ip, ip);
    bench.answer_held();
    assert!(bench.replies.is_empty(), "the first write ended without the lease");
    bench.hold = |_| false;
    bench.answer_held();
    assert_eq!(bench.reply(add).unwrap().ip, ip);
    assert_eq!(bench.pool.checkpoint().leases.len(), 1);
}

#[test]
fn a_del_finds_a_lease_that_the_reference_took_over_from_the_runtime() {
    use crate::{
        checkpoint::{Checkpoint, Lease, Unknown},
        id::SandboxKey,
        pool::Pool,
    };
    let old = SandboxKey::new("_migrated-from-cri", "sandbox-7", "unknown").unwrap();
    let lease = Lease {
        key: old,
        ip: "10.0.0.3".parse().unwrap(),
        allocated_ns: 5,
        pod: pod(7),
        interfaces: 1,
        unknown: Unknown::default(),
    };
    let checkpoint = Checkpoint::new(vec![lease]);
    let mut bench =
        Bench::with(Pool::restore(config(Secondary, warm_ips(0, 9)), &checkpoint, START));
    bench.run();
    assert_eq!(bench.del(7).to_string(), "10.0.0.3");
    assert!(bench.pool.checkpoint().leases.is_empty());
}

#[test]
fn an_answer_to_nothing_is_counted_and_ignored() {
    use crate::{id::OpId, pool::Event};
    let mut bench = bench();
    let before = bench.pool.stats();
    for op in [OpId(999), OpId(1)] {
        bench.pool.handle(Event::Persisted { op, result: Ok(()) }, bench.now);
        bench.pool.handle(Event::EniSetUp { op, result: Ok(()) }, bench.now);
        bench.pool.handle(Event::AddressesAssigned { op, result: Ok(vec![]) }, bench.now);
    }
    bench.run();
    let after = bench.pool.stats();
    assert_eq!(after.unexpected_events, 6);
    assert_eq!(after.enis, before.enis);
}

#[test]
fn a_del_of_a_lease_that_an_earlier_write_contains_is_not_answered_before_it_is_durable() {
    let mut bench = bench();
    bench.hold = is_persist;
    bench.ask(1);
    // The write with the lease is under way while it is released, taken up again, and released.
    bench.pool.release(&key(1), bench.now).unwrap();
    bench.ask(1);
    let again = bench.pool.release(&key(1), bench.now).unwrap();
    assert!(matches!(again, Release::Pending(_)), "a restart would find the lease: {again:?}");
    bench.hold = |_| false;
    bench.answer_held();
    assert!(bench.pool.checkpoint().leases.is_empty());
    assert_eq!(bench.pool.stats().assigned, 0);
}
