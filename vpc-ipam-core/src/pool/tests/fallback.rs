//! Prefix mode in a subnet without free blocks.

use proptest::{prelude::*, sample::select};

use super::bench::*;
use crate::{
    cloud::{AddressCount, Authority},
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    policy::{Bounds, PolicyConfig},
    pool::{Action, Assign, Event},
};

fn grows(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. })
}

fn asks_for_prefixes(action: &Action) -> bool {
    matches!(asked(action), Some(AddressCount::Prefixes(_)))
}

fn asked(action: &Action) -> Option<AddressCount> {
    match action {
        Action::AssignAddresses { count, .. } => Some(*count),
        Action::CreateEni { request, .. } => Some(request.count),
        _ => None,
    }
}

fn warm_prefixes(prefixes: u32) -> WarmTargets {
    WarmTargets { prefixes, ..WarmTargets::default() }
}

/// A node in a subnet that has `blocks` free ones.
fn node(targets: WarmTargets, blocks: u32) -> Bench {
    let mut bench = Bench::new(config(Prefix, targets));
    bench.free_blocks = blocks;
    bench.pass_s(1);
    bench
}

fn singles(bench: &Bench) -> (u64, u64) {
    let stats = bench.pool.stats();
    (stats.singles, stats.singles_assigned)
}

fn reason(bench: &Bench) -> String {
    bench.pool.plan(bench.now).reason.to_string()
}

#[test]
fn a_subnet_without_blocks_gives_single_addresses_within_the_same_moment() {
    let mut bench = node(warm_ips(2, 0), 0);
    assert_eq!(singles(&bench), (2, 0), "the warm target in addresses");
    for n in 0..7 {
        bench.add(n);
    }
    assert_eq!(bench.pool.stats().no_address, 0);
    assert_eq!((bench.shape(), singles(&bench)), ((vec![9], 2), (9, 7)));
    bench.pass_s(1);
    let text = reason(&bench);
    let start = "the subnet has no free /28 block, so 9 single address(es) are used meanwhile, 7 of \
                 them by pods, and 0 more are coming; the next attempt to get a prefix follows at ";
    assert!(text.starts_with(start), "{text}");
    let degraded = bench.pool.stats().degraded.join("; ");
    assert!(degraded.contains("has no free /28 block"), "{degraded}");
}

#[test]
fn the_last_slot_of_the_node_stays_free_to_look_for_blocks() {
    let mut bench = node(warm_ips(0, 60), 0);
    bench.pass_s(60);
    assert_eq!((bench.shape(), singles(&bench)), ((vec![9, 9, 8], 26), (26, 0)));
    bench.free_blocks = 1;
    bench.pass_s(600);
    assert_eq!(bench.pool.stats().prefixes, 1);
}

#[test]
fn pods_that_wait_get_every_slot() {
    let mut bench = node(warm_ips(1, 0), 0);
    for n in 0..27 {
        bench.add(n);
        // Each takes an EC2 call.
        bench.pass_s(3);
    }
    assert_eq!(bench.shape(), (vec![9, 9, 9], 0));
    let op = bench.ask(27);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("27 of 27 addresses in use on 3 of 3 ENIs"), "{text}");
}

#[test]
fn no_more_singles_than_pods_may_run() {
    let mut config = config(Prefix, warm_ips(20, 0));
    config.max_pods = 5;
    let mut bench = Bench::new(config);
    bench.free_blocks = 0;
    bench.pass_s(300);
    assert_eq!(singles(&bench), (5, 0));
}

#[test]
fn a_prefix_is_used_before_singles_on_the_same_eni() {
    let mut bench = node(warm_ips(2, 0), 0);
    // Nothing is given up on its word.
    bench.authority = Authority::Imds;
    bench.free_blocks = 1;
    bench.pass_s(200);
    assert_eq!((bench.pool.stats().prefixes, singles(&bench)), (1, (2, 0)));
    let pods: Vec<_> = (0..18).map(|n| bench.add(n)).collect();
    let prefix = bench.enis.values().flat_map(|e| &e.cidrs).find(|c| !c.is_host()).unwrap();
    let inside: Vec<_> = pods.iter().map(|ip| prefix.contains(*ip)).collect();
    assert_eq!(inside, (0..18).map(|n| n < 16).collect::<Vec<_>>());
}

#[test]
fn a_prefix_is_used_before_singles_on_a_fuller_eni() {
    let mut bench = Bench::new(config(Prefix, warm_ips(1, 0)));
    let other = bench.attach_eni();
    bench.assign_in_cloud(&other, AddressCount::Prefixes(1));
    bench.free_blocks = 0;
    bench.pass_s(1);
    (0..18).for_each(|n| assert!(bench.add(n).is_ipv4()));
    bench.authority = Authority::Imds;
    bench.pass_s(100);
    (0..16).for_each(|n| assert!(bench.del(n).is_ipv4()));
    bench.pass_s(40);
    assert_eq!(singles(&bench), (3, 2), "one is idle");
    let next = bench.add(20);
    let prefix = bench.enis[&other].cidrs[0];
    assert!(prefix.contains(next), "{next} is not in {prefix}");
}

#[test]
fn one_probe_finds_out_whether_there_are_blocks_again() {
    let mut bench = node(warm_prefixes(2), 0);
    for n in 0..3 {
        bench.add(n);
    }
    let before = bench.log.len();
    bench.free_blocks = 8;
    bench.pass_s(121);
    let all: Vec<_> =
        bench.log[before..].iter().filter(|a| asks_for_prefixes(a)).filter_map(asked).collect();
    assert_eq!(all, [AddressCount::Prefixes(1), AddressCount::Prefixes(1)]);
    assert_eq!(bench.pool.stats().prefixes, 2);
    bench.pass_s(60);
    assert_eq!(singles(&bench), (3, 3), "those without a pod have gone");
    for n in 0..3 {
        bench.del(n);
    }
    bench.pass_s(120);
    assert_eq!((singles(&bench), bench.pool.stats().prefixes), ((0, 0), 2));
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
}

#[test]
fn a_subnet_that_stays_fragmented_is_asked_less_and_less_and_nothing_changes() {
    for targets in [warm_ips(2, 0), warm_ips(3, 30), warm_prefixes(1), warm_prefixes(3)] {
        let mut bench = node(targets, 0);
        for n in 0..5 {
            bench.add(n);
        }
        bench.pass_s(600);
        let before = bench.log.len();
        bench.pass_s(7200);
        let after = &bench.log[before..];
        let probes = after.iter().filter(|a| asks_for_prefixes(a)).count();
        assert!((10..=14).contains(&probes), "{targets:?}: {probes} probes in two hours");
        let others =
            after.iter().filter(|a| !asks_for_prefixes(a) && !matches!(a, Action::Describe { .. }));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&Action>::new(), "{targets:?}");
    }
}

#[test]
fn idle_singles_make_room_for_prefixes_when_every_slot_is_taken() {
    let mut config = config(Prefix, warm_ips(1, 0));
    config.max_enis = 1;
    let mut bench = Bench::new(config);
    bench.free_blocks = 0;
    bench.pass_s(1);
    for n in 0..9 {
        bench.add(n);
    }
    assert_eq!(singles(&bench), (9, 9));
    bench.del(8);
    bench.pass_s(40);
    // The address that has rested is worth keeping until it is known that there are no blocks.
    bench.pass_s(600);
    assert_eq!(singles(&bench), (8, 8), "one slot was freed for the probe");
    bench.free_blocks = 4;
    bench.pass_s(601);
    assert_eq!(bench.pool.stats().prefixes, 1);
    assert_eq!(singles(&bench), (8, 8));
}

#[test]
fn a_large_surplus_of_singles_goes_while_there_are_no_blocks() {
    for (pods, left) in [(8, 10), (12, 2)] {
        let mut bench = node(warm_ips(2, 0), 0);
        for n in 0..pods {
            bench.add(n);
        }
        for n in 0..pods {
            bench.del(n);
        }
        bench.pass_s(110);
        assert_eq!(singles(&bench), (left, 0), "{pods} pods have gone");
    }
}

#[test]
fn an_eni_in_another_subnet_is_asked_for_prefixes_all_the_same() {
    let mut bench = Bench::new(config(Prefix, warm_ips(1, 0)));
    bench.next_subnet = "subnet-2";
    bench.attach_eni();
    bench.hold = grows;
    bench.pass_s(1);
    bench.free_blocks = 0;
    let action = bench.held.pop().unwrap();
    bench.answer(action);
    bench.run();
    let action = bench.held.pop().unwrap();
    let Action::AssignAddresses { eni, count, .. } = &action else { panic!("{action:?}") };
    assert_eq!((eni.as_str(), *count), ("eni-1", AddressCount::Prefixes(1)));
    bench.answer(action);
    bench.run();
    let action = bench.held.pop().unwrap();
    assert_eq!(asked(&action), Some(AddressCount::Secondary(1)));
}

#[test]
fn singles_that_nobody_needs_leave_after_a_change_to_prefixes() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 9)));
    bench.pass_s(1);
    let mut prefixes = config(Prefix, warm_ips(1, 0));
    prefixes.max_enis = 1;
    bench.pool.handle(Event::Reconfigured(Box::new(prefixes)), bench.now);
    bench.pass_s(60);
    assert_eq!((bench.pool.stats().prefixes, singles(&bench)), (1, (0, 0)));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Del(u32),
    Burst(u32),
    /// So many free blocks from now on.
    Blocks(u32),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..PODS).prop_map(Step::Add),
        3 => (0..PODS).prop_map(Step::Del),
        1 => (0..=PODS).prop_map(Step::Burst),
        2 => (0..4u32).prop_map(Step::Blocks),
        3 => (0..40u64).prop_map(Step::Pass),
        2 => (40..700u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

/// Pods that fit as single addresses, even while as many others rest.
const PODS: u32 = 13;

fn take(bench: &mut Bench, step: &Step) {
    let add = |bench: &mut Bench, n: u32| {
        if matches!(bench.pool.assign(key(n), pod(n), bench.now), Ok(Assign::Pending(_))) {
            bench.run();
        }
    };
    match step {
        Step::Add(n) => add(bench, *n),
        Step::Burst(n) => (0..*n).for_each(|n| add(bench, n)),
        Step::Del(n) => {
            let _ = bench.pool.release(&key(*n), bench.now);
            bench.run();
        }
        Step::Blocks(n) => bench.free_blocks = *n,
        Step::Pass(seconds) => bench.pass_s(*seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_that_come_and_go_neither_starve_pods_nor_make_the_pool_restless(
        targets in select(vec![
            warm_ips(1, 0), warm_ips(3, 20), warm_ips(0, 12), warm_prefixes(1), warm_prefixes(3),
        ]),
        enis in 1..4u32,
        adaptive in prop::bool::weighted(0.1),
        steps in steps(),
    ) {
        let mut config = config(Prefix, targets);
        config.max_enis = enis;
        config.slots = 27 / enis;
        if adaptive {
            config.policy = PolicyConfig::Adaptive(Bounds::default());
        }
        let mut bench = Bench::new(config.clone());
        bench.free_blocks = 0;
        bench.pass_s(1);
        for step in &steps {
            take(&mut bench, step);
            let stats = bench.pool.stats();
            prop_assert_eq!((stats.no_address, stats.waiting), (0, 0), "{:?}", stats);
        }
        // A learning policy forgets for a day.
        bench.pass_s(if adaptive { 100_000 } else { 2_000 });
        let before = bench.log.len();
        bench.pass_s(7_200);
        let probe = |a: &Action| asks_for_prefixes(a) && bench.free_blocks == 0;
        let rest = |a: &Action| matches!(a, Action::Describe { .. }) || probe(a);
        let changes: Vec<_> = bench.log[before..].iter().filter(|a| !rest(a)).collect();
        prop_assert!(changes.is_empty(), "{:?}", changes);
        if bench.free_blocks > 0 {
            let stats = bench.pool.stats();
            prop_assert_eq!(stats.singles, stats.singles_assigned, "{:?}", stats);
        }
    }
}
