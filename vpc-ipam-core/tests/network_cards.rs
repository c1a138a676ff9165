//! Random histories of a node with several network cards: pods with one address or one per card, time,
//! failures of one card or of all, crashes. Every step is checked by the simulation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use proptest::{prelude::*, sample::select};
use vpc_ipam_core::{
    cloud::{CloudBackend, InstanceLimits},
    config::{AllocationMode, Family},
    node::managed_cards,
    pool::Action,
    testkit::{
        Reach,
        check::Violation,
        ec2::{Ec2Action, Ec2Error, code, instance_type},
        sim::{CardsConfig, CardsSim},
    },
};

/// More pods than a node of three cards can hold in secondary mode, which is 14.
const PODS: u32 = 18;
/// The sets of managed cards: with a gap, with a gap in the middle of three, without one.
const CARDS: [&[u32]; 3] = [&[0, 2], &[0, 2, 3], &[0, 1]];

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    AddEvery(u32),
    Burst(u32),
    Release(u32),
    Pass(u64),
    FailCloud(usize, usize, u32),
    /// The state file of a card of the list cannot be written.
    FailStore(usize, u32, bool),
    FailHost(u32),
    Reach(usize),
    Crash,
}

const ERRORS: [&str; 5] = [
    code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED,
    code::INSUFFICIENT_FREE_ADDRESSES,
    code::INSUFFICIENT_CIDR_BLOCKS,
    code::REQUEST_LIMIT_EXCEEDED,
    code::INTERNAL_ERROR,
];
const FAILING: [Ec2Action; 6] = [
    Ec2Action::AssignIpv6Addresses,
    Ec2Action::AssignPrivateIpAddresses,
    Ec2Action::AttachNetworkInterface,
    Ec2Action::CreateNetworkInterface,
    Ec2Action::DescribeNetworkInterfaces,
    Ec2Action::UnassignPrivateIpAddresses,
];

fn peaceful() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PODS).prop_map(Step::Add),
        4 => (0..PODS).prop_map(Step::AddEvery),
        1 => (0..=PODS).prop_map(Step::Burst),
        4 => (0..PODS).prop_map(Step::Release),
        4 => (0..3_000u64).prop_map(Step::Pass),
        3 => (3_000..90_000u64).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

fn hostile() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => peaceful(),
        2 => (0..FAILING.len(), 0..ERRORS.len(), 1..4u32)
            .prop_map(|(a, e, n)| Step::FailCloud(a, e, n)),
        2 => (0..3usize, 1..6u32, any::<bool>()).prop_map(|(c, n, k)| Step::FailStore(c, n, k)),
        1 => (1..6u32).prop_map(Step::FailHost),
        1 => (0..3usize).prop_map(Step::Reach),
    ]
}

fn config() -> impl Strategy<Value = CardsConfig> {
    (select(CARDS.to_vec()), 0..3u8, any::<bool>(), any::<u64>()).prop_map(
        |(cards, kind, remember, seed)| {
            let config = match kind {
                0 => CardsConfig::new(cards, seed),
                1 => CardsConfig::with(cards, AllocationMode::Prefix, seed),
                _ => CardsConfig::ipv6(cards, seed),
            };
            let mut config = config.unwrap();
            config.on_all(|pool| pool.remember = remember);
            config
        },
    )
}

fn take(sim: &mut CardsSim, step: &Step) -> Result<(), Violation> {
    match step {
        Step::Add(n) => return sim.add(*n),
        Step::AddEvery(n) => return sim.add_every(*n),
        Step::Burst(n) => {
            return (0..*n)
                .try_for_each(|n| if n % 3 == 0 { sim.add_every(n) } else { sim.add(n) });
        }
        Step::Release(n) => return sim.release(*n),
        Step::Pass(ms) => return sim.run_for(Duration::from_millis(*ms)),
        Step::Crash => return sim.crash(),
        Step::FailCloud(action, error, times) => {
            let error = Ec2Error::new(ERRORS[*error], "scripted");
            sim.world().faults_mut().fail(FAILING[*action], error, *times);
        }
        Step::FailStore(nth, times, keep) => {
            let card = sim.node().cards().nth(*nth).unwrap_or(0);
            sim.store(card).unwrap().fail_saves(*times, *keep);
        }
        Step::FailHost(times) => sim.datapath().fail_enis(*times),
        Step::Reach(n) => {
            sim.cloud().set_reach([Reach::All, Reach::Metadata, Reach::Nothing][*n]);
        }
    }
    Ok(())
}

fn run(config: &CardsConfig, steps: &[Step]) -> Result<CardsSim, Violation> {
    let mut sim = CardsSim::new(config).map_err(|e| Violation(e.to_string()))?;
    for step in steps {
        take(&mut sim, step)?;
    }
    Ok(sim)
}

/// Everything works again, and the runtime has deleted what does not run.
fn come_to_rest(sim: &mut CardsSim) -> Result<(), Violation> {
    sim.world().faults_mut().clear();
    let cards: Vec<u32> = sim.node().cards().collect();
    cards.iter().for_each(|card| sim.store(*card).unwrap().fail_saves(0, false));
    sim.datapath().fail_enis(0);
    sim.cloud().set_reach(Reach::All);
    sim.run_for(Duration::from_secs(120))?;
    for n in (0..PODS).filter(|n| sim.cards_of(*n).is_empty()).collect::<Vec<_>>() {
        sim.release(n)?;
    }
    sim.quiesce(Duration::from_secs(7200))?;
    if sim.unanswered() > 0 {
        return Err(Violation(format!("{} requests were never answered", sim.unanswered())));
    }
    let leases = cards.iter().map(|card| sim.node().checkpoint(*card).leases.len()).sum::<usize>();
    let held = (0..PODS).map(|n| sim.cards_of(n).len()).sum::<usize>();
    if leases != held {
        return Err(Violation(format!("{leases} leases for {held} addresses of pods")));
    }
    Ok(())
}

fn check<T>(result: Result<T, Violation>) -> Result<T, TestCaseError> {
    result.map_err(|e| TestCaseError::fail(e.to_string()))
}

fn is_read(action: &Action) -> bool {
    matches!(action, Action::Describe { .. })
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_card_keeps_its_promises_in_any_history(
        config in config(),
        steps in prop::collection::vec(hostile(), 1..50),
    ) {
        let mut sim = check(run(&config, &steps))?;
        check(come_to_rest(&mut sim))?;
        if config.cards[0].family == Family::V6 {
            // One ENI with a prefix on each card, and nothing ever given back.
            prop_assert_eq!(sim.node().stats().enis.len(), config.cards.len());
            let gives_back = |a: &Action| {
                matches!(a, Action::DeleteEni { .. } | Action::UnassignAddresses { .. })
            };
            prop_assert!(!sim.actions().iter().any(|(_, a)| gives_back(a)));
        }
    }

    #[test]
    fn ordinary_pods_use_all_cards_before_one_is_refused(
        cards in select(CARDS.to_vec()),
        seed in any::<u64>(),
        steps in prop::collection::vec(peaceful(), 1..30),
    ) {
        let config = CardsConfig::new(cards, seed).unwrap();
        let mut sim = check(run(&config, &steps))?;
        check(sim.run_for(Duration::from_secs(120)))?;
        for n in 0..PODS {
            check(sim.release(n))?;
        }
        check(sim.run_for(Duration::from_secs(60)))?;
        let capacity: u32 = config.cards.iter().map(|pool| pool.max_enis * pool.slots).sum();
        let refused = sim.refused().len();
        for n in 0..capacity {
            check(sim.add(PODS + n))?;
            check(sim.run_for(Duration::from_secs(5)))?;
        }
        check(sim.run_for(Duration::from_secs(45)))?;
        prop_assert_eq!(sim.running(), capacity as usize, "{:?}", sim.refused());
        prop_assert_eq!(sim.refused().len(), refused);
        check(sim.add(PODS + capacity))?;
        check(sim.run_for(Duration::from_secs(60)))?;
        prop_assert_eq!(sim.running(), capacity as usize);
        let (_, why) = sim.refused().last().unwrap();
        for card in cards {
            prop_assert!(why.contains(&format!("network card {card}: ")), "{}", why);
        }
    }

    #[test]
    fn pods_on_every_card_fill_the_smallest_one(
        cards in select(CARDS.to_vec()),
        seed in any::<u64>(),
    ) {
        let config = CardsConfig::new(cards, seed).unwrap();
        let mut sim = check(run(&config, &[]))?;
        let fit = config.cards.iter().map(|pool| pool.max_enis * pool.slots).min().unwrap();
        for n in 0..=fit {
            check(sim.add_every(n))?;
        }
        check(sim.run_for(Duration::from_secs(60)))?;
        prop_assert_eq!(sim.running(), fit as usize);
        prop_assert!(sim.cards_of(fit).is_empty() && sim.refused().len() == 1);
        for n in 0..fit {
            prop_assert_eq!(sim.cards_of(n), cards);
        }
        // What the last one had taken in vain is to be had.
        check(sim.run_for(Duration::from_secs(60)))?;
        check(sim.add(PODS))?;
        check(sim.run_for(Duration::from_secs(60)))?;
        prop_assert_eq!(sim.cards_of(PODS), [0]);
    }

    #[test]
    fn one_read_per_round_whatever_the_number_of_cards(
        mut config in config(),
        steps in prop::collection::vec(peaceful(), 1..30),
    ) {
        for pool in &mut config.cards {
            // Quiet or not.
            pool.budget.describe_period_max = Duration::ZERO;
        }
        let mut sim = check(run(&config, &steps))?;
        check(come_to_rest(&mut sim))?;
        let before = sim.actions().len();
        check(sim.run_for(Duration::from_secs(1300)))?;
        let reads = sim.actions()[before..].iter().filter(|(_, a)| is_read(a)).count();
        prop_assert!((18..=22).contains(&reads), "{} reads in 1300 s", reads);
    }

    #[test]
    fn the_same_history_gives_the_same_actions(
        config in config(),
        steps in prop::collection::vec(hostile(), 1..30),
    ) {
        let once = check(run(&config, &steps))?;
        let twice = check(run(&config, &steps))?;
        prop_assert_eq!(once.actions(), twice.actions());
    }
}

#[test]
fn the_simulated_node_manages_the_cards_that_the_rule_names() {
    let limits: InstanceLimits = instance_type("p4d.24xlarge").unwrap().limits();
    for cards in CARDS {
        let config = CardsConfig::new(cards, 1).unwrap();
        let mut sim = CardsSim::new(&config).unwrap();
        sim.run_for(Duration::from_secs(60)).unwrap();
        let mut view = sim.cloud().describe();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(view) = view.as_mut().poll(&mut context) else {
            panic!("the model answers at once")
        };
        let enis = view.unwrap().enis;
        assert_eq!(managed_cards(true, &limits, &enis, &config.cards[0]), cards);
        assert_eq!(managed_cards(false, &limits, &enis, &config.cards[0]), [0]);
        assert_eq!(enis.len(), 4, "one ENI per card, for pods or for fabric");
    }
}
