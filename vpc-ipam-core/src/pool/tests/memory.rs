use super::bench::*;
use crate::{
    cloud::{AddressCount, Authority, CloudErrorKind},
    config::{AllocationMode::Secondary, PoolConfig, WarmTargets},
    id::EniId,
    pool::{Action, Assign, Event, Pool},
};

fn remembering(targets: WarmTargets) -> PoolConfig {
    PoolConfig { remember: true, ..config(Secondary, targets) }
}

fn writes(bench: &Bench) -> usize {
    bench.count(|a| matches!(a, Action::Remember { .. }))
}

fn gives_back(action: &Action) -> bool {
    matches!(
        action,
        Action::UnassignAddresses { .. } | Action::DeleteEni { .. } | Action::TearDownEni { .. }
    )
}

fn retarget(bench: &mut Bench, targets: WarmTargets) {
    let config = PoolConfig { targets, ..bench.pool.config().clone() };
    bench.pool.handle(Event::Reconfigured(Box::new(config)), bench.now);
    bench.run();
}

/// The same node, restarted while the cloud is away.
fn restarted(mut bench: Bench) -> Bench {
    let checkpoint = bench.pool.checkpoint();
    let config = bench.pool.config().clone();
    bench.pool = Pool::restore(config, &checkpoint, bench.now);
    bench.pool.recall(&bench.remembered, bench.now);
    bench.cloud_fails = Some(CloudErrorKind::Unreachable);
    bench.log.clear();
    bench
}

#[test]
fn the_view_is_stored_when_it_changes_and_never_for_a_pod() {
    let mut bench = Bench::new(remembering(warm_ips(0, 4)));
    bench.pass_s(1);
    assert_eq!(bench.remembered, bench.enis.values().cloned().collect::<Vec<_>>());
    let before = writes(&bench);
    for n in 0..3 {
        bench.add(n);
    }
    bench.del(0);
    bench.pass_s(900);
    assert_eq!(writes(&bench), before);
    retarget(&mut bench, warm_ips(0, 6));
    bench.pass_s(1);
    assert_eq!(writes(&bench), before + 1);
    assert_eq!(bench.remembered[0].cidrs.len(), 6);
}

#[test]
fn the_view_is_not_stored_again_at_every_read_while_an_orphan_lives() {
    let mut bench = Bench::new(remembering(warm_ips(0, 12)));
    bench.pass_s(1);
    let ips: Vec<_> = (0..10).map(|n| bench.add(n)).collect();
    // One pod on an address that the cloud takes, one on an ENI that it takes.
    let id = bench.primary();
    bench.eni(&id).cidrs.retain(|cidr| !cidr.contains(ips[0]));
    bench.enis.retain(|other, _| *other == id);
    bench.pass_s(120);
    assert_eq!(bench.pool.stats().orphaned, 2);
    let before = writes(&bench);
    bench.pass_s(900);
    assert_eq!(writes(&bench), before);
}

#[test]
fn nothing_is_given_back_before_the_view_without_it_is_stored() {
    for (before, after) in [((0, 4), (0, 2)), ((0, 12), (0, 2))] {
        let mut bench = Bench::new(remembering(warm_ips(before.0, before.1)));
        bench.pass_s(100);
        bench.store_fails = true;
        retarget(&mut bench, warm_ips(after.0, after.1));
        bench.pass_s(300);
        let reasons = bench.pool.stats().degraded;
        assert!(reasons.iter().any(|r| r.contains("nothing is given back")), "{reasons:?}");
        assert_eq!(bench.count(gives_back), 0);
        bench.store_fails = false;
        bench.pass_s(31);
        assert!(bench.count(gives_back) > 0);
        assert_eq!(bench.remembered, bench.enis.values().cloned().collect::<Vec<_>>());
        assert_eq!(bench.pool.stats().degraded, [""; 0]);
    }
}

#[test]
fn a_view_that_is_being_stored_is_not_stored_yet() {
    let mut bench = Bench::new(remembering(warm_ips(0, 4)));
    bench.pass_s(100);
    bench.hold = |a| matches!(a, Action::Remember { .. });
    retarget(&mut bench, warm_ips(0, 2));
    bench.pass_s(10);
    assert_eq!((bench.held.len(), bench.count(gives_back)), (1, 0));
    bench.answer_held();
    assert_eq!(bench.count(gives_back), 1);
}

#[test]
fn a_start_without_the_cloud_serves_what_is_remembered_and_says_so() {
    let mut bench = Bench::new(remembering(warm_ips(0, 3)));
    bench.pass_s(1);
    let first = bench.add(1);
    let mut bench = restarted(bench);
    bench.hold = |a| matches!(a, Action::Describe { .. });
    bench.run();
    let Assign::Ready(known) = bench.pool.assign(key(1), pod(1), bench.now).unwrap() else {
        panic!("its ENI is remembered")
    };
    assert_eq!((known.ip, known.eni), (first, Some("eni-0".parse().unwrap())));
    let op = bench.ask(2);
    assert!(bench.replies.is_empty(), "the cloud may still answer");
    assert!(!bench.pool.stats().ready);
    bench.answer_held();
    bench.hold = |_| false;
    let second = bench.reply(op).unwrap().ip;
    let third = bench.add(3);
    let mut given = vec![first, second, third];
    given.sort();
    assert_eq!(
        given,
        ["10.0.0.0", "10.0.0.16", "10.0.0.32"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap())
    );
    let stats = bench.pool.stats();
    assert!(stats.ready);
    assert!(stats.degraded[1].contains("serves the addresses that it remembers"), "{stats:?}");
    let op = bench.ask(4);
    bench.pass_s(46);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("no remembered address is free"), "{text}");
    assert_eq!(bench.count(gives_back), 0);
    // The cloud is back: growth goes on.
    bench.cloud_fails = None;
    bench.pass_s(31);
    bench.add(4);
    assert_eq!(bench.pool.stats().degraded, [""; 0]);
}

#[test]
fn the_view_of_ec2_replaces_what_is_remembered() {
    let mut bench = Bench::new(remembering(warm_ips(0, 4)));
    bench.pass_s(1);
    let owned = bench.add(1);
    let mut bench = restarted(bench);
    bench.cloud_fails = None;
    // While the daemon was away somebody took everything and gave something else.
    let id: EniId = "eni-0".parse().unwrap();
    bench.enis.get_mut(&id).unwrap().cidrs.clear();
    let new = bench.assign_in_cloud(&id, AddressCount::Secondary(4));
    bench.pass_s(1);
    let first = bench.ask(2);
    assert!(bench.replies.is_empty(), "EC2 may show for a moment what the earlier life gave back");
    bench.pass_s(10);
    let ip = bench.reply(first).unwrap().ip;
    assert!(new.iter().any(|cidr| cidr.contains(ip)), "{ip} is not ours any more");
    for n in 3..6 {
        let ip = bench.add(n);
        assert!(new.iter().any(|cidr| cidr.contains(ip)), "{ip} is not ours any more");
    }
    assert_eq!(bench.pool.checkpoint().leases.iter().filter(|l| l.ip == owned).count(), 1);
    assert!(!bench.remembered[0].cidrs.iter().any(|cidr| cidr.contains(owned)));
}

#[test]
fn metadata_confirms_what_is_remembered_and_removes_nothing() {
    let mut bench = Bench::new(remembering(warm_ips(0, 12)));
    bench.pass_s(1);
    assert_eq!(bench.enis.len(), 2);
    let mut bench = restarted(bench);
    bench.cloud_fails = None;
    bench.authority = Authority::Imds;
    let hidden = bench.enis.values_mut().next().unwrap().cidrs.pop().unwrap();
    bench.pass_s(20);
    // The second ENI has no pods; metadata alone could not tell whose it is.
    assert_eq!(bench.pool.stats().enis.len(), 2);
    for n in 0..11 {
        assert!(!hidden.contains(bench.add(n)), "metadata answers, and does not show it");
    }
    let op = bench.ask(11);
    bench.pass_s(10);
    assert!(bench.replies.get(&op).is_none_or(Result::is_err), "still not");
    bench.authority = Authority::Ec2;
    bench.pass_s(61);
    assert!(bench.remembered.iter().all(|eni| !eni.cidrs.contains(&hidden)));
}

#[test]
fn what_metadata_alone_has_shown_is_not_remembered() {
    let mut bench = Bench::new(remembering(warm_ips(0, 2)));
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.authority = Authority::Imds;
    bench.pass_s(1);
    assert_eq!(bench.remembered[0].cidrs, []);
    bench.pass_s(20);
    assert_eq!(bench.remembered[0].cidrs.len(), 2, "it has shown it for a while");
}
