//! Random histories of an IPv6 node. Every step is checked by the simulation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;
use vpc_ipam_core::{
    cloud::AddressCount,
    pool::Action,
    testkit::{
        Reach,
        check::Violation,
        ec2::{AssignPrivateIpAddresses, Ec2Action, Ec2Error, Ipv4Request, code},
        sim::{Sim, SimConfig},
    },
};

/// More pods than the node has IPv4 addresses.
const PODS: u32 = 60;

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Burst(u32),
    Release(u32),
    Pass(u64),
    FailCloud(usize, usize, u32),
    FailStore(u32, bool),
    FailHost(u32),
    Reach(usize),
    /// Somebody gives the primary ENI IPv4 addresses.
    Ipv4(u32),
    Crash,
}

const ERRORS: [&str; 4] = [
    code::INSUFFICIENT_CIDR_BLOCKS,
    code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED,
    code::REQUEST_LIMIT_EXCEEDED,
    code::INTERNAL_ERROR,
];
const FAILING: [Ec2Action; 2] =
    [Ec2Action::AssignIpv6Addresses, Ec2Action::DescribeNetworkInterfaces];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PODS).prop_map(Step::Add),
        1 => (0..=PODS).prop_map(Step::Burst),
        4 => (0..PODS).prop_map(Step::Release),
        4 => (0..3_000u64).prop_map(Step::Pass),
        3 => (3_000..200_000u64).prop_map(Step::Pass),
        2 => (0..FAILING.len(), 0..ERRORS.len(), 1..4u32)
            .prop_map(|(a, e, n)| Step::FailCloud(a, e, n)),
        1 => (1..3u32, any::<bool>()).prop_map(|(n, keep)| Step::FailStore(n, keep)),
        1 => (1..9u32).prop_map(Step::FailHost),
        1 => (0..3usize).prop_map(Step::Reach),
        1 => (1..4u32).prop_map(Step::Ipv4),
        1 => Just(Step::Crash),
    ]
}

fn take(sim: &mut Sim, step: &Step) -> Result<(), Violation> {
    match step {
        Step::Add(n) => return sim.add(*n),
        Step::Burst(n) => return (0..*n).try_for_each(|n| sim.add(n)),
        Step::Release(n) => return sim.release(*n),
        Step::Pass(ms) => return sim.run_for(Duration::from_millis(*ms)),
        Step::Crash => return sim.crash(),
        Step::FailCloud(action, error, times) => {
            let error = Ec2Error::new(ERRORS[*error], "scripted");
            sim.world().faults_mut().fail(FAILING[*action], error, *times);
        }
        Step::FailStore(times, keep) => sim.store().fail_saves(*times, *keep),
        Step::FailHost(times) => sim.datapath().fail_enis(*times),
        Step::Reach(n) => {
            sim.cloud().set_reach([Reach::All, Reach::Metadata, Reach::Nothing][*n]);
        }
        Step::Ipv4(n) => {
            let (eni, now) = (sim.world().instances()[0].primary_eni.clone(), sim.now());
            let request = AssignPrivateIpAddresses { eni, ipv4: Ipv4Request::Secondary(*n) };
            let _ = sim.world().assign_private_ip_addresses(&request, now);
        }
    }
    Ok(())
}

fn run(seed: u64, remember: bool, steps: &[Step]) -> Result<Sim, Violation> {
    let mut config = SimConfig::ipv6("t3.small", seed).unwrap();
    config.pool.remember = remember;
    let mut sim = Sim::new(&config).map_err(|e| Violation(e.to_string()))?;
    for step in steps {
        take(&mut sim, step)?;
    }
    sim.world().faults_mut().clear();
    sim.store().fail_saves(0, false);
    sim.datapath().fail_enis(0);
    sim.cloud().set_reach(Reach::All);
    sim.quiesce(Duration::from_secs(7200))?;
    Ok(sim)
}

fn is_request(action: &Action) -> bool {
    matches!(action, Action::AssignAddresses { count: AddressCount::Ipv6Prefixes(1), .. })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_prefix_serves_all_pods_in_any_history(
        seed in any::<u64>(),
        remember in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut sim = run(seed, remember, &steps).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(sim.unanswered(), 0);
        let changes = sim.actions().iter().filter(|(_, a)| matches!(
            a,
            Action::AssignAddresses { .. }
                | Action::CreateEni { .. }
                | Action::DeleteEni { .. }
                | Action::UnassignAddresses { .. }
        ));
        prop_assert!(changes.clone().all(|(_, a)| is_request(a)), "{:?}", changes.collect::<Vec<_>>());
        let stats = sim.pool().stats();
        // A daemon that was killed while it asked cannot know; another one is never asked for.
        prop_assert!(stats.prefixes >= 1, "{stats:?}");
        let crashed = steps.iter().any(|step| matches!(step, Step::Crash));
        prop_assert!(stats.prefixes == 1 || crashed, "{stats:?}");
        prop_assert_eq!(stats.total, stats.prefixes << 48);
        // Whatever happened before: now every pod gets an address at once.
        let refused = sim.refused().len();
        (0..PODS).try_for_each(|n| sim.add(n)).unwrap();
        sim.run_for(Duration::from_secs(1)).unwrap();
        prop_assert_eq!(sim.running().len(), PODS as usize);
        prop_assert_eq!(sim.refused().len(), refused);
    }
}
