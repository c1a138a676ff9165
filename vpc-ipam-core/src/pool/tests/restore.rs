use super::bench::*;
use crate::{
    checkpoint::{self, Checkpoint, Lease, Unknown},
    cloud::{AddressCount, Authority, CloudErrorKind},
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    pool::{Action, Assign, Event, Pool, Release},
};

fn lease(n: u32, ip: &str) -> Lease {
    Lease {
        key: key(n),
        ip: ip.parse().unwrap(),
        allocated_ns: 7,
        pod: pod(n),
        interfaces: 1,
        unknown: Unknown::default(),
    }
}

fn restored(leases: Vec<Lease>) -> Bench {
    let checkpoint = Checkpoint::new(leases);
    Bench::with(Pool::restore(config(Secondary, warm_ips(2, 0)), &checkpoint, START))
}

#[test]
fn leases_are_kept_from_the_first_instant_and_bind_when_their_eni_is_shown() {
    let mut bench = restored(vec![lease(1, "10.0.0.16"), lease(2, "10.0.0.0")]);
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    assert_eq!(bench.pool.checkpoint().leases.len(), 2);
    bench.hold = |a| matches!(a, Action::Describe { .. });
    let op = bench.ask(1);
    assert!(bench.replies.is_empty(), "its ENI is not known yet");
    bench.answer_held();
    let assignment = bench.reply(op).unwrap();
    assert_eq!(assignment.ip.to_string(), "10.0.0.16");
    assert_eq!(assignment.eni, Some(id));
    let stats = bench.pool.stats();
    assert_eq!((stats.assigned, stats.orphaned), (2, 0));
    assert_eq!(bench.pool.checkpoint().leases[0].allocated_ns, 7, "the record is unchanged");
    assert_eq!(bench.add(3).to_string(), "10.0.0.32", "the restored ones are taken");
}

#[test]
fn an_orphan_is_kept_counted_and_named_never_given_away_and_can_be_deleted() {
    let mut bench = restored(vec![lease(1, "10.0.9.9")]);
    bench.pass_s(1);
    let stats = bench.pool.stats();
    assert_eq!((stats.orphaned, stats.assigned), (1, 0));
    assert!(stats.degraded.iter().any(|d| d.contains("10.0.9.9")), "{:?}", stats.degraded);
    bench.pass_s(600);
    assert_eq!(bench.pool.checkpoint().leases.len(), 1, "not dropped, whatever time passes");
    // Its owner asks again: it has to wait, and hears why in the end.
    let op = bench.ask(1);
    bench.pass_s(46);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("owns 10.0.9.9, but EC2 does not show it"), "{text}");
    let Release::Pending(op) = bench.pool.release(&key(1), bench.now).unwrap() else {
        panic!("unknown")
    };
    bench.run();
    let released = bench.reply(op).unwrap();
    assert_eq!((released.eni, released.device, released.table), (None, 0, 254));
    assert!(bench.pool.checkpoint().leases.is_empty());
    assert_eq!(bench.pool.stats().orphaned, 0);
}

#[test]
fn an_orphan_inside_a_new_prefix_is_skipped_there() {
    let checkpoint = Checkpoint::new(vec![lease(1, "10.0.0.0"), lease(2, "10.0.0.2")]);
    let pool = Pool::restore(config(Prefix, warm_ips(14, 0)), &checkpoint, START);
    let mut bench = Bench::with(pool);
    bench.pass_s(1);
    assert_eq!(bench.pool.stats().orphaned, 0, "EC2 gave us just that block");
    assert_eq!(bench.add(3).to_string(), "10.0.0.1");
    assert_eq!(bench.add(4).to_string(), "10.0.0.3");
}

#[test]
fn an_orphan_released_before_its_eni_is_shown_rests_all_the_same() {
    let mut bench = restored(vec![lease(1, "10.0.0.0")]);
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.hold = |a| matches!(a, Action::Describe { .. });
    bench.run();
    bench.del(1);
    bench.answer_held();
    assert_eq!(bench.pool.stats().cooling, 1);
    assert_eq!(bench.add(2).to_string(), "10.0.0.16");
}

#[test]
fn leases_are_served_although_nothing_of_the_cloud_answers() {
    let mut bench = restored(vec![lease(1, "10.0.0.16")]);
    bench.cloud_fails = Some(CloudErrorKind::Unreachable);
    bench.pass_s(300);
    assert_eq!(bench.pool.checkpoint().leases.len(), 1);
    assert_eq!(bench.del(1).to_string(), "10.0.0.16");
}

#[test]
fn a_kill_in_the_middle_of_growth_leaks_nothing_and_doubles_nothing() {
    let mut bench = Bench::new(config(Secondary, WarmTargets::default()));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::CreateEni { .. });
    let first = bench.add(1);
    assert_eq!(bench.held.len(), 1);
    // The second ENI was made, but the pool was killed before it heard of it.
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(9));
    let file = checkpoint::encode(&bench.pool.checkpoint());
    let checkpoint = checkpoint::decode(&file).unwrap();
    bench.pool = Pool::restore(config(Secondary, WarmTargets::default()), &checkpoint, bench.now);
    bench.log.clear();
    bench.hold = |_| false;
    bench.pass_s(1);
    assert_eq!(bench.shape(), (vec![9, 9], 17));
    assert_eq!(bench.count(|a| matches!(a, Action::CreateEni { .. })), 0);
    let again = bench.pool.assign(key(1), pod(1), bench.now).unwrap();
    let Assign::Ready(assignment) = again else { panic!("{again:?}") };
    assert_eq!(assignment.ip, first);
    for n in 2..19 {
        assert_ne!(bench.add(n), first);
    }
}

#[test]
fn metadata_alone_serves_what_it_has_shown_for_a_while() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 2)));
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.authority = Authority::Imds;
    let op = bench.ask(1);
    assert!(bench.replies.is_empty(), "it may show what was given back a second ago");
    bench.pass_s(20);
    assert!(bench.reply(op).is_ok());
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("follows instance metadata"), "{degraded}");
    bench.authority = Authority::Ec2;
    bench.pass_s(31);
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
}

#[test]
fn ec2_confirms_at_once_what_metadata_showed() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 2)));
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.authority = Authority::Imds;
    let op = bench.ask(1);
    bench.authority = Authority::Ec2;
    bench.pass_s(1);
    assert!(bench.reply(op).is_ok());
    bench.pool.handle(Event::Timeout, bench.now);
}

/// A pool from a state file with these entries, given as owner and address.
fn from_file(entries: &[(&str, &str)]) -> Bench {
    let entries: Vec<String> = entries
        .iter()
        .map(|(owner, ip)| {
            format!(r#"{{"networkName":"aws-cni","containerID":"{owner}","ifName":"eth0","ipv4":"{ip}"}}"#)
        })
        .collect();
    let file = format!(r#"{{"version":"vpc-cni-ipam/1","allocations":[{}]}}"#, entries.join(","));
    let checkpoint = checkpoint::decode(file.as_bytes()).unwrap();
    let mut bench =
        Bench::with(Pool::restore(config(Secondary, warm_ips(2, 0)), &checkpoint, START));
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(3));
    bench.pass_s(1);
    bench
}

#[test]
fn an_address_that_two_sandboxes_claim_is_free_once_both_have_gone() {
    let mut bench = from_file(&[("sandbox-1", "10.0.0.0"), ("sandbox-2", "10.0.0.0")]);
    let stats = bench.pool.stats();
    assert_eq!((stats.quarantined, stats.assigned), (1, 1));
    assert!(stats.degraded.iter().any(|d| d.contains("sandbox-2/eth0 with 10.0.0.0")), "{stats:?}");
    assert_eq!(bench.add(3).to_string(), "10.0.0.16");
    assert_eq!(bench.pool.release(&key(1), bench.now).unwrap(), Release::Absent);
    bench.run();
    assert_eq!(bench.pool.checkpoint().kept.len(), 1);
    let stats = bench.pool.stats();
    assert_eq!((stats.quarantined, stats.cooling), (1, 0), "the other may be using it");
    // Its owner gets another one meanwhile, and its DEL ends both.
    assert_eq!(bench.add(2).to_string(), "10.0.0.32");
    bench.store_fails = true;
    let Release::Pending(op) = bench.pool.release(&key(2), bench.now).unwrap() else { panic!() };
    bench.run();
    bench.reply(op).unwrap_err();
    assert_eq!(bench.pool.checkpoint().kept.len(), 1, "not durable, so not done");
    bench.store_fails = false;
    assert_eq!(bench.del(2).to_string(), "10.0.0.32");
    assert!(bench.pool.checkpoint().kept.is_empty());
    let stats = bench.pool.stats();
    assert_eq!((stats.quarantined, stats.cooling, stats.degraded), (0, 2, vec![]));
}

#[test]
fn a_claim_ends_although_the_first_write_without_it_fails() {
    let mut bench = from_file(&[("sandbox-1", "10.0.0.0"), ("sandbox-1", "10.0.0.16")]);
    let owned = bench.pool.checkpoint().leases[0].ip;
    assert_eq!(bench.del(1), owned);
    assert_eq!(bench.pool.stats().quarantined, 0, "both were the sandbox's");

    let mut bench = from_file(&[("sandbox-1", "10.0.0.0/32")]);
    assert_eq!(bench.pool.checkpoint().kept.len(), 1);
    bench.store_fails = true;
    assert_eq!(bench.pool.release(&key(1), bench.now).unwrap(), Release::Absent);
    bench.run();
    bench.store_fails = false;
    bench.pass_s(60);
    assert!(bench.pool.checkpoint().kept.is_empty());
    assert!(!bench.pool.stats().degraded.iter().any(|d| d.contains("state file")));
}

#[test]
fn a_quarantined_address_is_never_given_to_a_pod_nor_back_to_the_cloud() {
    let mut bench = from_file(&[("", "10.0.0.0")]);
    let given: Vec<String> = (1..9).map(|n| bench.add(n).to_string()).collect();
    assert!(!given.contains(&"10.0.0.0".to_owned()), "{given:?}");
    for n in 1..9 {
        bench.del(n);
    }
    bench.pass_s(900);
    assert_eq!(bench.pool.checkpoint().kept.len(), 1);
    let eni = bench.enis.values().next().unwrap();
    assert!(eni.cidrs.iter().any(|cidr| cidr.contains("10.0.0.0".parse().unwrap())), "{eni:?}");
}
