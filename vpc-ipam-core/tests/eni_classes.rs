//! Histories of a node whose ENIs change their class: disowned, excluded, attached by others, left by a
//! custom network; whose mode changes with pods running; and on which nothing may be changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Duration;

use common::scripts::{
    PODS, any_config, classes, crash, hostile, outside, peaceful, script, trouble,
};
use proptest::prelude::*;
use vpc_ipam_core::{
    class::{Retirement, Standing},
    config::{AllocationMode, WarmTargets},
    pool::Action,
    testkit::{
        Reach,
        ec2::{Ec2Action, InterfaceType},
        script::{Elsewhere, Outside, Player, Script, Setting, Step, play, replays_identically},
        sim::{Sim, SimConfig},
    },
};

const REST: Duration = Duration::from_secs(7200);

/// EC2 calls that change something.
const MUTATING: [Ec2Action; 10] = [
    Ec2Action::AssignIpv6Addresses,
    Ec2Action::AssignPrivateIpAddresses,
    Ec2Action::AttachNetworkInterface,
    Ec2Action::CreateNetworkInterface,
    Ec2Action::CreateTags,
    Ec2Action::DeleteNetworkInterface,
    Ec2Action::DetachNetworkInterface,
    Ec2Action::ModifyNetworkInterfaceAttribute,
    Ec2Action::UnassignIpv6Addresses,
    Ec2Action::UnassignPrivateIpAddresses,
];

fn check<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, TestCaseError> {
    result.map_err(|e| TestCaseError::fail(e.to_string()))
}

fn seconds(n: u64) -> Step {
    Step::Pass(Duration::from_secs(n))
}

fn node(mode: AllocationMode, targets: WarmTargets) -> SimConfig {
    let mut config = SimConfig::with("m5.large", mode, targets, 11).unwrap();
    config.further_subnets.push("10.0.128.0/24".parse().unwrap());
    config
}

fn warm_ips(ips: u32) -> WarmTargets {
    WarmTargets { ips, ..WarmTargets::default() }
}

fn mutations(sim: &Sim) -> u64 {
    let world = sim.world();
    MUTATING.iter().map(|action| world.calls().get(action).copied().unwrap_or(0)).sum()
}

/// Where the node's ENIs are, by device, and what the pool makes of them.
fn standings(sim: &Sim) -> Vec<(String, Standing)> {
    let world = sim.world();
    let block =
        |eni: &vpc_ipam_core::stats::EniStats| world.subnet(&eni.subnet).unwrap().cidr.to_string();
    sim.pool().stats().enis.iter().map(|eni| (block(eni), eni.standing)).collect()
}

#[test]
fn pods_move_into_a_custom_network_and_back() {
    let steps = [
        Step::Burst(6),
        seconds(30),
        Step::Set(Setting::CustomNetwork(Elsewhere::LastSubnet)),
        seconds(30),
        Step::Burst(16),
        seconds(120),
    ];
    let mut player = Player::new(&node(AllocationMode::Secondary, warm_ips(2))).unwrap();
    steps.iter().for_each(|step| player.take(step).unwrap());
    assert_eq!(player.sim().running().len(), 16);
    let retired = Standing::Retired(Retirement::CustomNetwork);
    let home = "10.0.0.0/20".to_owned();
    let away = ("10.0.128.0/24".to_owned(), Standing::Active);
    assert_eq!(standings(player.sim()), [(home, retired), away.clone(), away]);
    let primary = &player.sim().pool().stats().enis[0];
    assert_eq!((primary.total(), primary.assigned()), (6, 6), "idle addresses went back");
    for n in 0..6 {
        player.take(&Step::Release(n)).unwrap();
    }
    player.take(&Step::CrashIn(3, vpc_ipam_core::testkit::sim::InFlight::Either)).unwrap();
    player.take(&seconds(120)).unwrap();
    player.come_to_rest(REST).unwrap();
    assert_eq!(player.sim().pool().stats().enis[0].total(), 0);
    player.take(&Step::Set(Setting::CustomNetwork(Elsewhere::Here))).unwrap();
    player.take(&Step::ReleaseAll).unwrap();
    player.come_to_rest(REST).unwrap();
    assert_eq!(player.sim().pool().stats().total, 2);
    player.take(&Step::Burst(3)).unwrap();
    player.take(&seconds(60)).unwrap();
    assert!(player.sim().pool().stats().enis[0].total() > 0, "the primary ENI serves again");
}

#[test]
fn an_excluded_subnet_is_left_with_the_last_pod() {
    let steps = vec![
        Step::Set(Setting::CustomNetwork(Elsewhere::LastSubnet)),
        Step::Burst(4),
        seconds(60),
        Step::Set(Setting::CustomNetwork(Elsewhere::Here)),
        Step::Outside(Outside::Exclude(1, true)),
        seconds(120),
        Step::Add(4),
        seconds(60),
    ];
    let mut sim = play(&Script::new(node(AllocationMode::Secondary, warm_ips(2)), steps)).unwrap();
    let excluded = Standing::Retired(Retirement::ExcludedSubnet);
    assert_eq!(standings(&sim)[1], ("10.0.128.0/24".to_owned(), excluded));
    let eni = &sim.pool().stats().enis[1];
    assert_eq!((eni.total(), eni.assigned()), (4, 4));
    (0..4).for_each(|n| sim.release(n).unwrap());
    sim.quiesce(REST).unwrap();
    assert_eq!(standings(&sim).len(), 1);
    assert_eq!(sim.world().enis_of(sim.instance()).len(), 1);
}

#[test]
fn a_place_is_there_for_the_trunk_when_it_comes() {
    let steps = vec![Step::Set(Setting::PodEni(true)), Step::Burst(18), seconds(120)];
    let mut sim = play(&Script::new(node(AllocationMode::Secondary, warm_ips(2)), steps)).unwrap();
    assert_eq!((sim.running().len(), sim.pool().stats().enis.len()), (18, 2));
    sim.attach_from_outside(InterfaceType::Trunk, false, 0);
    sim.run_for(Duration::from_secs(120)).unwrap();
    assert_eq!(standings(&sim)[2].1, Standing::Trunk);
    sim.quiesce(REST).unwrap();
}

#[test]
fn both_modes_serve_their_pods_through_toggles_and_restarts() {
    let targets = WarmTargets { ips: 1, prefixes: 1, ..WarmTargets::default() };
    let mut player = Player::new(&node(AllocationMode::Secondary, targets)).unwrap();
    let total = |player: &Player| player.sim().pool().stats().total;
    let held = |player: &Player, n: u32| {
        player
            .sim()
            .running()
            .iter()
            .find(|(key, _)| key.to_string().contains(&format!("-{n}")))
            .map(|(_, ip)| *ip)
    };
    let take = |player: &mut Player, steps: &[Step]| {
        steps.iter().for_each(|step| player.take(step).unwrap());
    };
    let to = |mode| Step::Set(Setting::Mode(mode));
    let restart = Step::Crash(vpc_ipam_core::testkit::sim::InFlight::Lost);
    take(&mut player, &[Step::Add(0), seconds(60), to(AllocationMode::Prefix), seconds(60)]);
    let first = held(&player, 0);
    assert_eq!(total(&player), 17, "an old pod and a prefix");
    take(&mut player, &[restart.clone(), seconds(90), Step::Add(1), seconds(60)]);
    assert_eq!((held(&player, 0), total(&player)), (first, 17));
    let second = held(&player, 1).unwrap();
    let stats = player.sim().pool().stats();
    let prefix = stats.enis[0].cidrs.iter().find(|cidr| cidr.is_prefix).unwrap();
    assert!(prefix.cidr.contains(second));
    // And back: the prefix stays for its pod, new pods get single addresses.
    take(&mut player, &[to(AllocationMode::Secondary), seconds(60), restart, seconds(90)]);
    take(&mut player, &[Step::Add(2), seconds(60)]);
    assert!(!prefix.cidr.contains(held(&player, 2).unwrap()));
    assert_eq!((held(&player, 0), held(&player, 1)), (first, Some(second)));
    assert_eq!(total(&player), 16 + 3, "a prefix, two pods, and one address to spare");
    take(&mut player, &[Step::Release(1)]);
    player.come_to_rest(REST).unwrap();
    assert_eq!(total(&player), 3);
}

#[test]
fn nothing_is_changed_where_nothing_may_be() {
    for metadata_only in [false, true] {
        let mut config = node(AllocationMode::Secondary, warm_ips(3));
        (config.pool.provisioning, config.pool.metadata_only) = (metadata_only, metadata_only);
        let mut player = Player::new(&config).unwrap();
        if metadata_only {
            player.sim().cloud().set_reach(Reach::Metadata);
        }
        let others = |player: &mut Player, what: Outside| {
            player.take(&Step::Outside(what)).unwrap();
        };
        others(&mut player, Outside::Assign(4));
        others(
            &mut player,
            Outside::Attach { kind: InterfaceType::Interface, theirs: false, slots: 5 },
        );
        player.take(&seconds(120)).unwrap();
        player.take(&Step::Burst(7)).unwrap();
        player.take(&seconds(60)).unwrap();
        assert_eq!(player.sim().running().len(), 7, "what others provide is used");
        others(&mut player, Outside::Exclude(0, true));
        player.take(&Step::Set(Setting::Mode(AllocationMode::Prefix))).unwrap();
        player.take(&Step::Set(Setting::CustomNetwork(Elsewhere::LastSubnet))).unwrap();
        (0..7).for_each(|n| player.take(&Step::Release(n)).unwrap());
        player.take(&seconds(600)).unwrap();
        player.take(&Step::Crash(vpc_ipam_core::testkit::sim::InFlight::Lost)).unwrap();
        player.take(&seconds(600)).unwrap();
        assert_eq!(mutations(player.sim()), 0, "metadata only: {metadata_only}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => peaceful(PODS),
        3 => trouble(),
        3 => outside(),
        6 => classes(),
    ]
}

fn with_subnets(config: impl Strategy<Value = SimConfig>) -> impl Strategy<Value = SimConfig> {
    config.prop_map(|mut config| {
        config.further_subnets.push("10.0.128.0/25".parse().unwrap());
        config
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_enis_become_no_promise_is_broken(
        script in script(with_subnets(any_config()), step(), 60),
    ) {
        let mut sim = check(play(&script))?;
        let mut pool = sim.pool().config().clone();
        pool.manage_untagged = true;
        check(sim.inject(vpc_ipam_core::pool::Event::Reconfigured(Box::new(pool))))?;
        check(sim.come_to_rest(REST))?;
    }

    #[test]
    fn classes_change_the_same_way_every_time(
        script in script(with_subnets(any_config()), step(), 40),
    ) {
        check(check(replays_identically(&script))?.ok())?;
    }

    #[test]
    fn without_provisioning_no_history_changes_the_cloud(
        mut script in script(with_subnets(any_config()), prop_oneof![hostile(), classes(), crash()], 60),
        metadata_only in any::<bool>(),
    ) {
        let on = |step: &Step| matches!(step, Step::Set(Setting::Provisioning(true)));
        script.steps.retain(|step| !on(step));
        script.config.pool.provisioning = false;
        script.config.pool.metadata_only = metadata_only;
        let sim = check(play(&script))?;
        let changes = sim.actions().iter().find(|(_, action)| matches!(
            action,
            Action::AssignAddresses { .. }
                | Action::CreateEni { .. }
                | Action::DeleteEni { .. }
                | Action::UnassignAddresses { .. }
        ));
        prop_assert!(changes.is_none(), "{changes:?}");
    }
}
