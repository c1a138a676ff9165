use super::bench::*;
use crate::{
    cloud::{AddressCount, CloudErrorKind},
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    pool::{Action, Event},
};

fn releases(action: &Action) -> bool {
    matches!(action, Action::UnassignAddresses { .. } | Action::DeleteEni { .. })
}

fn retarget(bench: &mut Bench, targets: WarmTargets) {
    let mut config = bench.pool.config().clone();
    config.targets = targets;
    bench.pool.handle(Event::Reconfigured(Box::new(config)), bench.now);
    bench.run();
}

#[test]
fn surplus_addresses_go_and_the_targets_stay_met() {
    // T = 14, A = 2, W = 1, M = 5: nine may go.
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 14)));
    bench.pass_s(1);
    bench.add(1);
    bench.add(2);
    retarget(&mut bench, warm_ips(1, 5));
    let stats = bench.pool.stats();
    assert_eq!((stats.total, stats.total - stats.assigned), (5, 3));
    bench.pass_s(600);
    assert_eq!(bench.pool.stats().total, 5, "a fixed point");
    let enis = bench.pool.stats().enis.len();
    assert_eq!(enis, 1, "the second one was freed");
}

#[test]
fn nothing_is_given_up_while_the_cloud_cannot_be_read() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 6)));
    bench.pass_s(1);
    bench.cloud_fails = Some(crate::cloud::CloudErrorKind::Unreachable);
    bench.next_read();
    retarget(&mut bench, warm_ips(0, 2));
    bench.pass_s(300);
    assert_eq!((bench.shape(), bench.count(releases)), ((vec![6], 6), 0));
    bench.cloud_fails = None;
    bench.pass_s(60);
    assert_eq!(bench.shape(), (vec![2], 2));
}

#[test]
fn the_host_forgets_addresses_before_the_cloud_does() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 6)));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::SetUpEni { .. });
    retarget(&mut bench, warm_ips(0, 2));
    assert_eq!(bench.pool.stats().total, 2, "left the pool");
    let Some(Action::SetUpEni { eni, .. }) = bench.held.first() else { panic!("no set-up") };
    assert_eq!(eni.sources.len(), 2);
    assert_eq!(bench.count(releases), 0, "not before the host has heard");
    bench.answer_held();
    assert_eq!(bench.count(releases), 1);
    assert_eq!(bench.enis.values().next().unwrap().cidrs.len(), 2);
}

#[test]
fn neither_pods_nor_resting_addresses_are_released() {
    let mut bench = Bench::new(config(Prefix, warm_ips(40, 0)));
    bench.pass_s(1);
    for n in 0..33 {
        bench.add(n);
    }
    retarget(&mut bench, warm_ips(1, 0));
    // One pod in the third prefix, the second one resting.
    for n in 16..32 {
        bench.del(n);
    }
    let prefixes = |bench: &Bench| bench.enis.values().map(|e| e.cidrs.len()).sum::<usize>();
    bench.pass_s(29);
    assert_eq!(prefixes(&bench), 3, "two with pods, one resting");
    bench.pass_s(60);
    assert_eq!(prefixes(&bench), 2);
    assert_eq!(bench.pool.stats().assigned, 17);
}

#[test]
fn releases_keep_their_distance() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 9)));
    bench.pass_s(1);
    retarget(&mut bench, warm_ips(0, 8));
    assert_eq!(bench.count(releases), 1);
    retarget(&mut bench, warm_ips(0, 7));
    bench.pass_s(30);
    assert_eq!(bench.count(releases), 1, "30 s have not been exceeded");
    bench.pass_s(1);
    assert_eq!(bench.count(releases), 2);
}

#[test]
fn prefix_surplus_is_counted_in_whole_prefixes() {
    // Two free prefixes and W = 5: one is too many. One free prefix: none.
    let mut bench = Bench::new(config(Prefix, warm_ips(0, 32)));
    bench.pass_s(1);
    retarget(&mut bench, warm_ips(5, 0));
    assert_eq!(bench.pool.stats().prefixes, 1);
    bench.pass_s(300);
    assert_eq!(bench.pool.stats().prefixes, 1);
}

#[test]
fn an_eni_goes_only_if_the_others_satisfy_the_targets() {
    // eni-0 (primary) 2 of 2 used, eni-1 2 free, eni-2 1 free, W 2, M 4: eni-2 may go, eni-1 not.
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 2)));
    bench.pass_s(1);
    bench.add(1);
    bench.add(2);
    let b = bench.attach_eni();
    bench.assign_in_cloud(&b, AddressCount::Secondary(2));
    let c = bench.attach_eni();
    bench.assign_in_cloud(&c, AddressCount::Secondary(1));
    bench.hold = |a| matches!(a, Action::UnassignAddresses { .. });
    bench.pass_s(75);
    retarget(&mut bench, warm_ips(2, 4));
    bench.hold = |_| false;
    bench.answer_held();
    bench.pass_s(300);
    let left: Vec<_> = bench.enis.values().map(|e| (e.device, e.cidrs.len())).collect();
    assert_eq!(left.iter().map(|(_, n)| n).sum::<usize>(), 4, "{left:?}");
    assert!(bench.enis.len() <= 2 + usize::from(left.contains(&(2, 1))), "{left:?}");
}

#[test]
fn an_eni_stays_for_a_minute_and_until_its_addresses_have_rested() {
    let mut bench = Bench::new(config(Secondary, WarmTargets::default()));
    bench.pass_s(1);
    for n in 0..10 {
        bench.add(n);
    }
    assert_eq!(bench.shape().0, [9, 9, 9]);
    bench.pass_s(20);
    for n in 0..10 {
        bench.del(n);
    }
    let enis = |bench: &Bench| bench.enis.len();
    bench.pass_s(30);
    assert_eq!(enis(&bench), 3, "all 18 spare addresses, but resting or too young");
    bench.pass_s(20);
    assert_eq!(enis(&bench), 1);
    bench.pass_s(600);
    assert_eq!(bench.shape(), (vec![9], 9));
}

#[test]
fn a_warm_eni_target_of_zero_does_not_free_what_it_wants_back() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 0, ..Default::default() }));
    bench.pass_s(1);
    for n in 0..10 {
        bench.add(n);
    }
    bench.del(9);
    bench.pass_s(600);
    // Nine pods on the first ENI, the second one empty: freeing it would leave none available.
    assert_eq!(bench.shape(), (vec![9, 9], 9));
    let creations = bench.count(|a| matches!(a, Action::CreateEni { .. }));
    assert_eq!(creations, 1);
}

#[test]
fn an_eni_that_could_not_be_deleted_is_found_again() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 2, ..Default::default() }));
    bench.pass_s(100);
    assert_eq!(bench.shape().0, [9, 9]);
    bench.hold = |a| matches!(a, Action::DeleteEni { .. });
    retarget(&mut bench, WarmTargets { enis: 0, ..Default::default() });
    retarget(&mut bench, WarmTargets { enis: 1, ..Default::default() });
    assert_eq!(bench.pool.stats().enis.len(), 1);
    bench.cloud_fails = Some(CloudErrorKind::InUse);
    let action = bench.held.pop().expect("a deletion");
    bench.answer(action);
    bench.cloud_fails = None;
    bench.run();
    assert_eq!(bench.pool.stats().enis.len(), 2, "still attached, so the pool has it");
    bench.hold = |_| false;
    bench.pass_s(120);
    assert_eq!(bench.enis.len(), 1);
}

#[test]
fn a_node_that_starts_to_drain_stops_half_way() {
    let mut bench = Bench::new(config(Secondary, WarmTargets { enis: 2, ..Default::default() }));
    bench.pass_s(100);
    bench.hold = |a| matches!(a, Action::TearDownEni { .. });
    retarget(&mut bench, WarmTargets { enis: 1, ..Default::default() });
    assert_eq!(bench.held.len(), 1);
    bench.pool.handle(Event::Draining, bench.now);
    bench.answer_held();
    bench.pass_s(300);
    assert_eq!(bench.count(releases), 0);
    assert_eq!(bench.enis.len(), 2);
}

#[test]
fn a_node_that_starts_to_drain_gives_no_address_back() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 6)));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::SetUpEni { .. });
    retarget(&mut bench, warm_ips(0, 2));
    bench.pool.handle(Event::Draining, bench.now);
    bench.answer_held();
    bench.pass_s(300);
    assert_eq!(bench.count(releases), 0);
}

#[test]
fn every_target_reaches_a_fixed_point_after_a_storm() {
    for (mode, targets) in [
        (Secondary, WarmTargets::default()),
        (Secondary, WarmTargets { enis: 0, ..Default::default() }),
        (Secondary, WarmTargets { enis: 2, ..Default::default() }),
        (Secondary, warm_ips(2, 6)),
        (Secondary, warm_ips(0, 5)),
        (Prefix, WarmTargets { prefixes: 1, ..Default::default() }),
        (Prefix, WarmTargets { prefixes: 3, ..Default::default() }),
        (Prefix, warm_ips(16, 0)),
        (Prefix, warm_ips(7, 20)),
        (Prefix, warm_ips(1, 0)),
    ] {
        let mut bench = Bench::new(config(mode, targets));
        bench.pass_s(1);
        for round in 0..3 {
            for n in 0..20 {
                bench.ask(round * 100 + n);
            }
            bench.pass_s(50);
            for n in (round..20).step_by(3) {
                let _ = bench.pool.release(&key(round * 100 + n), bench.now);
                bench.run();
            }
            bench.pass_s(40);
        }
        bench.pass_s(900);
        let before = bench.log.len();
        bench.pass_s(3600);
        let changes = bench.log[before..].iter().filter(|a| !matches!(a, Action::Describe { .. }));
        assert_eq!(changes.count(), 0, "{mode:?} {targets:?} never rests");
    }
}
