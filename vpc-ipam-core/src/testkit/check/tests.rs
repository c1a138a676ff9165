#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use super::*;
use crate::{
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{OpId, PodRef, SandboxKey},
    plan::{EniView, Growth, Plan, Shrink, View, plan},
    pool::{Action, Assign},
    testkit::sim::{Sim, SimConfig},
    time::Time,
};

fn sim() -> Sim {
    let mut sim = Sim::new(&SimConfig::new("t3.small", 1).unwrap()).unwrap();
    (0..3).for_each(|n| sim.add(n).unwrap());
    sim.run_for(Duration::from_secs(60)).unwrap();
    sim
}

fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("sandbox-{n}"), "eth0").unwrap()
}

#[test]
fn what_is_sound_passes() {
    let sim = sim();
    let (pool, now) = (sim.pool(), sim.now());
    super::pool(pool).unwrap();
    restorable(pool, now).unwrap();
    primaries(pool, &sim.world(), sim.instance()).unwrap();
    nothing_leaked(pool, &sim.world(), sim.instance()).unwrap();
    planned(&pool.view(), pool.config(), &pool.plan(now), now).unwrap();
    stored(sim.store().content().as_deref(), sim.running()).unwrap();
    let before = Snapshot::of(pool);
    unchanged(&before, pool).unwrap();
    no_lease_lost(&before, pool).unwrap();
}

#[test]
fn a_lease_that_goes_is_missed_where_it_must_not() {
    let mut sim = sim();
    let before = Snapshot::of(sim.pool());
    let content = sim.store().content();
    let running = sim.running().clone();
    sim.release(1).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    unchanged(&before, sim.pool()).unwrap_err();
    let gone = no_lease_lost(&before, sim.pool()).unwrap_err();
    assert!(gone.0.contains("sandbox-1"), "{gone}");
    stored(content.as_deref(), &running).unwrap();
    let missing = stored(sim.store().content().as_deref(), &running).unwrap_err();
    assert!(missing.0.contains("sandbox-1"), "{missing}");
    stored(None, &running).unwrap_err();
    stored(Some(b"{"), sim.running()).unwrap_err();
}

#[test]
fn an_address_of_an_eni_itself_is_no_pods() {
    let sim = sim();
    let taken = sim.running()[&key(0)];
    let foreign = crate::testkit::ec2::ForeignEni::default();
    let std::net::IpAddr::V4(ip) = taken else { panic!("{taken}") };
    // EC2 would not do that while the node holds the address.
    let (instance, now) = (sim.instance().clone(), sim.now());
    let owner = |eni: &&crate::testkit::ec2::Eni| eni.secondary_ips.contains(&ip);
    let eni = sim.world().enis_of(&instance).into_iter().find(owner).unwrap().id.clone();
    sim.world().unassign_foreign(&eni, &[crate::addr::Prefix::host(taken)], now).unwrap();
    let other = sim.world().attach_foreign(&instance, &foreign, now).unwrap();
    assert_eq!(sim.world().eni(&other).unwrap().primary_ip, Some(ip));
    let found = primaries(sim.pool(), &sim.world(), &instance).unwrap_err();
    assert!(found.0.contains(&ip.to_string()), "{found}");
}

#[test]
fn a_bad_choice_of_an_address_is_found() {
    let sim = sim();
    let (stats, config) = (sim.pool().stats(), sim.pool().config().clone());
    let used = sim.running()[&key(0)];
    placement(&stats, &config, used).unwrap_err();
    placement(&stats, &config, "192.0.2.1".parse().unwrap()).unwrap_err();
    let free = |cidr: &&crate::stats::CidrStats| cidr.addresses.is_empty();
    let free = stats.enis.iter().flat_map(|eni| &eni.cidrs).find(free).unwrap().cidr.base();
    placement(&stats, &config, free).unwrap();
    let mut retired = stats.clone();
    for eni in &mut retired.enis {
        eni.standing = crate::class::Standing::Disowned;
    }
    placement(&retired, &config, free).unwrap_err();
}

#[test]
fn calls_are_counted_against_a_bucket() {
    let at = Time::from_millis;
    paced([at(0), at(0), at(1_800_000)], 2, 2).unwrap();
    paced([at(0), at(0), at(1_799_999)], 2, 2).unwrap_err();
    paced([at(0), at(0), at(0)], 2, 2).unwrap_err();
    paced((0..100).map(|n| at(36_000 * n)), 1, 100).unwrap();
    paced((0..100).map(|n| at(35_999 * n)), 1, 100).unwrap_err();
}

#[test]
fn a_mutation_after_the_end_is_found() {
    let sim = sim();
    let last = sim.actions().iter().rfind(|(_, action)| mutates(action)).unwrap().0;
    no_mutation(sim.actions(), last).unwrap_err();
    no_mutation(sim.actions(), last + Duration::from_millis(1)).unwrap();
    let describe = Action::Describe { op: OpId(1) };
    no_mutation(&[(last, describe)], Time::ZERO).unwrap();
}

/// Three ENIs of four idle addresses, one more than the targets ask for.
fn roomy() -> (View, PoolConfig, Time) {
    let targets = WarmTargets { ips: 11, ..WarmTargets::default() };
    let config = PoolConfig::new(AllocationMode::Secondary, targets, 3, 9).unwrap();
    let mut view = View { confirmed: true, ..View::default() };
    for device in 0..3u8 {
        let mut eni = EniView::new(format!("eni-{device}").parse().unwrap(), device.into());
        (eni.total, eni.entries, eni.unleased, eni.taken) = (4, 4, 4, 4);
        let ip = |n: u8| crate::addr::Prefix::host([10, 0, device, n].into());
        eni.idle = (0..4).map(ip).collect();
        view.enis.push(eni);
    }
    (view, config, Time::from_millis(120_000))
}

#[test]
fn the_planners_own_plans_are_sound() {
    let (mut view, mut config, now) = roomy();
    let sound = |view: &View, config: &PoolConfig| {
        let plan = plan(view, config, now);
        planned(view, config, &plan, now).unwrap();
        !plan.grow.is_empty() || !plan.shrink.is_empty()
    };
    assert!(sound(&view, &config));
    config.targets.ips = 20;
    assert!(sound(&view, &config));
    view.draining = true;
    assert!(!sound(&view, &config));
}

#[test]
fn a_plan_that_breaks_a_promise_is_found() {
    let (view, config, now) = roomy();
    let good = plan(&view, &config, now);
    let (first, last) = (view.enis[0].id.clone(), view.enis[2].id.clone());
    let told = |view: &View, config: &PoolConfig, shrink: Vec<Shrink>| {
        let plan = Plan { shrink, ..good.clone() };
        planned(view, config, &plan, now).unwrap_err().0
    };
    let cidrs = |n: usize| view.enis[2].idle[..n].to_vec();
    let release = |cidrs| vec![Shrink::Release { eni: last.clone(), cidrs }];
    let free = |eni: &crate::id::EniId| vec![Shrink::Free { eni: eni.clone() }];
    assert!(told(&view, &config, release(cidrs(2))).contains("too low"));
    assert!(told(&view, &config, free(&last)).contains("without eni-2"));
    assert!(told(&view, &config, free(&first)).contains("must stay"));
    let with = |change: fn(&mut EniView)| {
        let mut view = view.clone();
        change(&mut view.enis[2]);
        view
    };
    let used = with(|eni| eni.idle.clear());
    assert!(told(&used, &config, release(cidrs(1))).contains("in use"));
    let young = with(|eni| eni.since = Time::from_millis(60_001));
    assert!(told(&young, &config, free(&last)).contains("age"));
    let resting = with(|eni| eni.occupied = 1);
    assert!(told(&resting, &config, free(&last)).contains("resting"));
    let mut off = config.clone();
    off.provisioning = false;
    assert!(told(&view, &off, release(cidrs(1))).contains("without provisioning"));
    let mut full = config.clone();
    full.max_pods = 12;
    let grow = vec![Growth::Create { count: crate::cloud::AddressCount::Secondary(1) }];
    let plan = Plan { grow, shrink: Vec::new(), ..good };
    assert!(planned(&view, &full, &plan, now).unwrap_err().0.contains("enough"));
}

#[test]
fn a_repeated_add_changes_nothing() {
    let mut sim = sim();
    let before = Snapshot::of(sim.pool());
    sim.add(1).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    unchanged(&before, sim.pool()).unwrap();
    // And the answer is there at once.
    let pod = PodRef { namespace: "sim".to_owned(), name: "pod-1".to_owned() };
    let mut pool = crate::pool::Pool::restore(
        sim.pool().config().clone(),
        &sim.pool().checkpoint(),
        sim.now(),
    );
    let answer = pool.assign(key(1), pod, sim.now()).unwrap();
    assert!(matches!(answer, Assign::Ready(_) | Assign::Pending(_)));
}
