//! IPv6: one prefix per ENI, for good.

use super::bench::*;
use crate::{
    addr::Prefix,
    checkpoint::Checkpoint,
    cloud::{AddressCount, Authority, CloudErrorKind, EniKind},
    config::{AllocationMode, PoolConfig},
    id::EniId,
    pool::{Action, Event, Pool, Release},
    slots::Slots,
};

const PREFIX_SIZE: u64 = 1 << 48;

fn ipv6() -> PoolConfig {
    PoolConfig::ipv6(3, 9).unwrap()
}

/// A bench whose ENIs have IPv6.
fn bench_of(config: PoolConfig) -> Bench {
    let mut bench = Bench::new(config);
    bench.subnet_cidr = "2001:db8::/64".parse().unwrap();
    for eni in bench.enis.values_mut() {
        eni.subnet_cidr = bench.subnet_cidr;
        eni.primary_ip = "2001:db8::5".parse().unwrap();
    }
    bench
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn hold(bench: &mut Bench, eni: &str, cidrs: &[&str]) {
    let eni = bench.enis.get_mut(&EniId::new(eni).unwrap()).unwrap();
    eni.cidrs.extend(cidrs.iter().map(|text| prefix(text)));
}

fn changes(bench: &Bench) -> Vec<&Action> {
    let changes = |a: &&Action| {
        matches!(
            a,
            Action::AssignAddresses { .. }
                | Action::CreateEni { .. }
                | Action::DeleteEni { .. }
                | Action::UnassignAddresses { .. }
        )
    };
    bench.log.iter().filter(changes).collect()
}

#[test]
fn an_eni_without_a_prefix_gets_exactly_one_and_pods_start_at_its_base() {
    let mut bench = bench_of(ipv6());
    bench.run();
    assert_eq!(bench.shape(), (vec![PREFIX_SIZE], PREFIX_SIZE));
    assert_eq!(bench.add(0).to_string(), "2001:db8:0:0:1::");
    assert_eq!(bench.add(1).to_string(), "2001:db8::1:0:0:1");
    for n in 2..200 {
        bench.add(n);
    }
    bench.pass_s(600);
    let [Action::AssignAddresses { count: AddressCount::Ipv6Prefixes(1), .. }] =
        changes(&bench)[..]
    else {
        panic!("{:?}", changes(&bench))
    };
    let stats = bench.pool.stats();
    assert_eq!((stats.assigned, stats.prefixes, stats.total), (200, 1, PREFIX_SIZE));
    assert_eq!(stats.enis[0].cidrs[0].assigned(), 200);
    bench.del(7);
    assert_eq!(bench.pool.stats().enis[0].cidrs[0].assigned(), 199);
}

#[test]
fn nothing_grows_shrinks_or_goes_whatever_pods_do() {
    let mut bench = bench_of(ipv6());
    bench.attach_eni();
    bench.run();
    assert_eq!(bench.shape().0, [PREFIX_SIZE; 2], "each ENI gets one");
    let before = changes(&bench).len();
    for round in 0..3 {
        for n in 0..50 {
            bench.add(round * 50 + n);
        }
        bench.pass_s(100);
        for n in 0..50 {
            bench.del(round * 50 + n);
        }
        bench.pass_s(300);
    }
    assert_eq!(changes(&bench).len(), before, "{:?}", changes(&bench));
}

#[test]
fn of_several_prefixes_one_is_used_and_none_is_given_back() {
    let mut bench = bench_of(ipv6());
    hold(&mut bench, "eni-0", &["2001:db8:0:0:9::/80", "2001:db8:0:0:7::/80"]);
    bench.run();
    let ips: Vec<String> = (0..3).map(|n| bench.add(n).to_string()).collect();
    assert_eq!(ips, ["2001:db8:0:0:7::", "2001:db8::7:0:0:1", "2001:db8::7:0:0:2"]);
    bench.pass_s(600);
    assert!(changes(&bench).is_empty(), "{:?}", changes(&bench));
}

#[test]
fn what_an_eni_holds_of_the_other_family_is_left_alone() {
    let mut bench = bench_of(ipv6());
    let foreign = ["10.0.0.7/32", "10.0.1.0/28", "2001:db8::7/128", "2001:db8:0:1::/64"];
    hold(&mut bench, "eni-0", &foreign);
    bench.add(0);
    bench.pass_s(600);
    assert_eq!(bench.pool.stats().total, PREFIX_SIZE);
    assert_eq!(changes(&bench).len(), 1, "{:?}", changes(&bench));

    let mut bench = Bench::new(config(AllocationMode::Secondary, warm_ips(1, 0)));
    hold(&mut bench, "eni-0", &["2001:db8:0:0:7::/80", "2001:db8::7/128"]);
    bench.pass_s(600);
    assert_eq!(bench.pool.stats().total, 1);
    assert!(!bench.log.iter().any(|a| matches!(a, Action::UnassignAddresses { .. })));
}

#[test]
fn a_further_card_gets_one_eni_with_one_prefix_and_only_once_ec2_has_spoken() {
    let mut bench = bench_of(ipv6().on_card(1, 4));
    bench.authority = Authority::Imds;
    bench.run();
    assert!(changes(&bench).is_empty(), "metadata may lack an ENI that is there");
    let reason = bench.pool.plan(bench.now).reason.to_string();
    assert!(reason.contains("EC2 has not described"), "{reason}");
    bench.authority = Authority::Ec2;
    bench.pass_s(100);
    let ip = bench.add(0).to_string();
    bench.pass_s(600);
    let [Action::CreateEni { request, .. }, ..] = changes(&bench)[..] else {
        panic!("{:?}", changes(&bench))
    };
    assert_eq!((request.card, request.count), (1, AddressCount::Ipv6Prefixes(1)));
    assert_eq!(bench.shape().0, [PREFIX_SIZE], "{ip}");
}

#[test]
fn an_exhausted_subnet_is_asked_again_and_the_pod_is_told() {
    let mut bench = bench_of(ipv6());
    bench.cloud_fails = None;
    bench.run_but(CloudErrorKind::InsufficientPrefixes, |a| {
        matches!(a, Action::AssignAddresses { .. })
    });
    let op = bench.ask(0);
    let error = bench.reply(op).unwrap_err().to_string();
    assert!(error.contains("no free IPv6 /80 block"), "{error}");
    bench.pass_s(130);
    assert_eq!(bench.add(1).to_string(), "2001:db8:0:0:1::");
}

#[test]
fn an_eni_without_ipv6_is_asked_nothing_and_named() {
    let mut bench = Bench::new(ipv6());
    bench.pass_s(100);
    assert!(changes(&bench).is_empty(), "{:?}", changes(&bench));
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("eni-0 has no IPv6 address or its subnet"), "{degraded}");
}

#[test]
fn without_provisioning_no_prefix_is_asked_for() {
    let mut bench = bench_of(PoolConfig { provisioning: false, ..ipv6() });
    bench.pass_s(300);
    assert!(changes(&bench).is_empty());
    hold(&mut bench, "eni-0", &["2001:db8:0:0:7::/80"]);
    bench.pass_s(100);
    assert_eq!(bench.add(0).to_string(), "2001:db8:0:0:7::");
}

#[test]
fn a_prefix_that_ec2_denies_keeps_its_leases_and_serves_nobody_else() {
    let mut bench = bench_of(ipv6());
    let ip = bench.add(0);
    bench.enis.get_mut(&EniId::new("eni-0").unwrap()).unwrap().cidrs.clear();
    bench.pass_s(100);
    assert_eq!(bench.pool.checkpoint().leases[0].ip, ip);
    assert_eq!(bench.pool.stats().orphaned, 1);
    assert_eq!(bench.add(1).to_string(), "2001:db8:0:0:2::", "a new prefix");
}

#[test]
fn a_lease_of_the_other_family_is_kept_and_can_be_released() {
    let mut old = Bench::new(config(AllocationMode::Secondary, warm_ips(1, 0)));
    let ip = old.add(0);
    let checkpoint = old.pool.checkpoint();
    let mut bench = bench_of(ipv6());
    bench.pool = Pool::restore(ipv6(), &checkpoint, START);
    hold(&mut bench, "eni-0", &[&format!("{ip}/32")]);
    bench.add(1);
    let kept: Checkpoint = bench.pool.checkpoint();
    assert!(kept.leases.iter().any(|lease| lease.ip == ip), "{kept:?}");
    assert_eq!(bench.pool.stats().orphaned, 1);
    let Release::Pending(op) = bench.pool.release(&key(0), bench.now).unwrap() else {
        panic!("the lease is known")
    };
    bench.run();
    assert_eq!(bench.reply(op).unwrap().ip, ip);
    assert_eq!(bench.pool.checkpoint().leases.len(), 1);
}

#[test]
fn ipv4_leases_survive_a_change_to_ipv6_while_the_daemon_runs() {
    let mut bench = bench_of(config(AllocationMode::Secondary, warm_ips(1, 0)));
    let ip = bench.add(0);
    bench.pool.handle(Event::Reconfigured(Box::new(ipv6())), bench.now);
    bench.run();
    assert_eq!(bench.add(1).to_string(), "2001:db8:0:0:3::");
    bench.pass_s(200);
    assert!(bench.pool.checkpoint().leases.iter().any(|lease| lease.ip == ip));
    let stats = bench.pool.stats();
    assert_eq!((stats.total, stats.assigned, stats.orphaned), (PREFIX_SIZE, 1, 1));
    assert!(!bench.log.iter().any(|a| matches!(a, Action::UnassignAddresses { .. })));
}

#[test]
fn blocks_larger_than_u64_are_counted_without_wrapping() {
    assert_eq!(Slots::new(prefix("2001:db8::/48")).size(), u64::MAX);
    assert_eq!(ipv6().addresses_per_eni(), u32::MAX);
}

#[test]
fn neither_a_trunk_nor_an_excluded_eni_is_given_a_prefix() {
    let mut bench = bench_of(ipv6());
    let own = bench.primary();
    bench.eni(&own).excluded = true;
    let trunk = bench.attach_eni();
    bench.eni(&trunk).kind = EniKind::Trunk;
    bench.pass_s(1);
    let made: Vec<_> = changes(&bench).into_iter().cloned().collect();
    assert!(matches!(made.as_slice(), [Action::CreateEni { .. }]), "another one serves: {made:?}");
    assert!(bench.eni(&own).cidrs.is_empty() && bench.eni(&trunk).cidrs.is_empty());
    bench.add(1);
    bench.pass_s(300);
    assert_eq!(changes(&bench).len(), 1);
}

#[test]
fn an_unschedulable_node_asks_for_no_prefix() {
    let mut bench = bench_of(ipv6());
    bench.pool.handle(Event::Schedulable(false), bench.now);
    bench.pass_s(1);
    let op = bench.ask(1);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("unschedulable"), "{text}");
    assert_eq!(changes(&bench), Vec::<&Action>::new());
}

#[test]
fn no_room_is_left_for_pods_where_the_last_place_is_the_trunks() {
    let mut config = ipv6();
    config.max_enis = 2;
    config.pod_eni = true;
    let mut bench = bench_of(config);
    let own = bench.primary();
    bench.eni(&own).excluded = true;
    bench.pass_s(1);
    let op = bench.ask(1);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("kept for the trunk") && text.contains("1 of the ENIs serve"), "{text}");
    assert_eq!(changes(&bench), Vec::<&Action>::new());
}
