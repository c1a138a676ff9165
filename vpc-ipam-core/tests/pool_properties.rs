//! Random histories of a node: pods, time, failures, crashes and interference. Every step is checked
//! by the simulation; what is checked is in `testkit::check` and `testkit::sim`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use proptest::{prelude::*, sample::select};
use vpc_ipam_core::{
    cloud::InstanceLimits,
    config::{AllocationMode, PoolConfig, WarmTargets},
    policy::{Bounds, PolicyConfig},
    pool::Event,
    testkit::{
        Reach,
        check::Violation,
        ec2::{
            AssignPrivateIpAddresses, Ec2Action, Ec2Error, Ipv4Request, UnassignPrivateIpAddresses,
            code, instance_type,
        },
        sim::{Sim, SimConfig},
    },
};

/// Pods that come and go; a little more than a small node can hold.
const PODS: u32 = 34;

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Burst(u32),
    Release(u32),
    ReleaseAll,
    Pass(u64),
    FailCloud(usize, usize, u32),
    FailStore(u32, bool),
    FailHost(u32),
    Reach(usize),
    /// Somebody else adds addresses to an ENI.
    Foreign(u32),
    /// Somebody else takes an unused address or prefix.
    Steal(usize),
    /// Somebody else detaches and deletes an ENI, pods or no pods.
    Evict(usize),
    /// Somebody tags an ENI as theirs, or takes the tag away again.
    Disown(usize, bool),
    Crash,
    Retarget(WarmTargets),
}

fn errors() -> Vec<Ec2Error> {
    let codes = [
        code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED,
        code::INSUFFICIENT_FREE_ADDRESSES,
        code::INSUFFICIENT_CIDR_BLOCKS,
        code::ATTACHMENT_LIMIT_EXCEEDED,
        code::INVALID_INTERFACE_NOT_FOUND,
        code::REQUEST_LIMIT_EXCEEDED,
        code::INTERNAL_ERROR,
        code::UNAUTHORIZED_OPERATION,
    ];
    codes.into_iter().map(|code| Ec2Error::new(code, "scripted")).collect()
}

const FAILING: [Ec2Action; 7] = [
    Ec2Action::AssignPrivateIpAddresses,
    Ec2Action::AttachNetworkInterface,
    Ec2Action::CreateNetworkInterface,
    Ec2Action::DescribeNetworkInterfaces,
    Ec2Action::DetachNetworkInterface,
    Ec2Action::ModifyNetworkInterfaceAttribute,
    Ec2Action::UnassignPrivateIpAddresses,
];

fn targets() -> impl Strategy<Value = WarmTargets> {
    let targets =
        |enis, ips, minimum_ips, prefixes| WarmTargets { enis, ips, minimum_ips, prefixes };
    prop_oneof![
        (0..3u32).prop_map(move |enis| targets(enis, 0, 0, 1)),
        (0..6u32, 0..9u32, 1..3u32).prop_map(move |(w, m, p)| targets(1, w, m, p)),
        (1..3u32).prop_map(move |p| targets(1, 0, 0, p)),
    ]
}

fn policy() -> impl Strategy<Value = PolicyConfig> {
    let adaptive = (0..5u32, prop::option::of(0..9u32))
        .prop_map(|(min, max)| PolicyConfig::Adaptive(Bounds { min, max }));
    prop_oneof![2 => Just(PolicyConfig::Static), 1 => adaptive]
}

fn peaceful(pods: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..pods).prop_map(Step::Add),
        1 => (0..=pods).prop_map(Step::Burst),
        4 => (0..pods).prop_map(Step::Release),
        1 => Just(Step::ReleaseAll),
        4 => (0..3_000u64).prop_map(Step::Pass),
        3 => (3_000..90_000u64).prop_map(Step::Pass),
        1 => Just(Step::Crash),
        1 => targets().prop_map(Step::Retarget),
    ]
}

fn hostile() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => peaceful(PODS),
        2 => (0..FAILING.len(), 0..8usize, 1..4u32).prop_map(|(a, e, n)| Step::FailCloud(a, e, n)),
        1 => (1..3u32, any::<bool>()).prop_map(|(n, keep)| Step::FailStore(n, keep)),
        1 => (1..9u32).prop_map(Step::FailHost),
        1 => (0..3usize).prop_map(Step::Reach),
        1 => (1..3u32).prop_map(Step::Foreign),
        1 => (0..20usize).prop_map(Step::Steal),
        1 => (0..2usize).prop_map(Step::Evict),
        1 => (0..2usize, any::<bool>()).prop_map(|(n, theirs)| Step::Disown(n, theirs)),
    ]
}

fn config(prefixes: bool) -> impl Strategy<Value = SimConfig> {
    let types = select(vec!["t3.small", "t3.medium", "m5.large"]);
    let subnets = select(vec!["10.0.0.0/20", "10.0.0.0/25", "10.0.0.0/26", "10.0.0.0/27"]);
    let either = any::<bool>();
    (types, subnets, targets(), policy(), any::<u64>(), 4..40u32, either).prop_map(
        move |(type_name, subnet, targets, policy, seed, max_pods, remember)| {
            let mode = if prefixes { AllocationMode::Prefix } else { AllocationMode::Secondary };
            let mut config = SimConfig::with(type_name, mode, targets, seed).unwrap();
            config.subnet = subnet.parse().unwrap();
            config.pool.max_pods = max_pods;
            config.pool.remember = remember;
            config.pool.policy = policy;
            config
        },
    )
}

fn take(sim: &mut Sim, step: &Step) -> Result<(), Violation> {
    match step {
        Step::Add(n) => sim.add(*n),
        Step::Burst(n) => (0..*n).try_for_each(|n| sim.add(n)),
        Step::Release(n) => sim.release(*n),
        Step::ReleaseAll => (0..PODS).try_for_each(|n| sim.release(n)),
        Step::Pass(ms) => sim.run_for(Duration::from_millis(*ms)),
        Step::FailCloud(action, error, times) => {
            let error = errors()[*error].clone();
            sim.world().faults_mut().fail(FAILING[*action], error, *times);
            Ok(())
        }
        Step::FailStore(times, keep) => {
            sim.store().fail_saves(*times, *keep);
            sim.store().fail_hints(*times);
            Ok(())
        }
        Step::FailHost(times) => {
            sim.datapath().fail_enis(*times);
            Ok(())
        }
        Step::Reach(n) => {
            sim.cloud().set_reach([Reach::All, Reach::Metadata, Reach::Nothing][*n]);
            Ok(())
        }
        Step::Foreign(n) => {
            foreign(sim, *n);
            Ok(())
        }
        Step::Steal(n) => {
            steal(sim, *n);
            Ok(())
        }
        Step::Evict(n) => {
            evict(sim, *n);
            Ok(())
        }
        Step::Disown(n, theirs) => {
            disown(sim, *n, *theirs);
            Ok(())
        }
        Step::Crash => sim.crash(),
        Step::Retarget(targets) => {
            let mut config = sim.pool().config().clone();
            config.targets = *targets;
            sim.inject(Event::Reconfigured(Box::new(config)))
        }
    }
}

fn foreign(sim: &Sim, n: u32) {
    let (instance, now) = (sim.instance().clone(), sim.now());
    let mode = sim.pool().config().mode;
    let mut world = sim.world();
    let eni = world.enis_of(&instance).last().unwrap().id.clone();
    let ipv4 = match mode {
        AllocationMode::Prefix => Ipv4Request::Prefixes(n),
        _ => Ipv4Request::Secondary(n),
    };
    let _ = world.assign_private_ip_addresses(&AssignPrivateIpAddresses { eni, ipv4 }, now);
}

/// Takes the `n`-th block that no pod uses. Pods that get an address of it before the pool can know
/// are not the pool's fault.
fn steal(sim: &mut Sim, n: usize) {
    let (instance, now) = (sim.instance().clone(), sim.now());
    let used: Vec<_> = sim.pool().checkpoint().leases.iter().map(|l| l.ip).collect();
    let mut all = Vec::new();
    for eni in sim.world().enis_of(&instance) {
        all.extend(eni.owned().into_iter().map(|cidr| (eni.id.clone(), cidr)));
    }
    all.retain(|(_, cidr)| !used.iter().any(|ip| cidr.contains(*ip)));
    let Some((eni, cidr)) = all.get(n).cloned() else { return };
    let mut request =
        UnassignPrivateIpAddresses { eni, addresses: Vec::new(), prefixes: Vec::new() };
    match cidr.base() {
        std::net::IpAddr::V4(ip) if cidr.is_host() => request.addresses.push(ip),
        _ => request.prefixes.push(cidr),
    }
    if sim.world().unassign_private_ip_addresses(&request, now).is_ok() {
        sim.note_taken((0..cidr.size()).filter_map(|n| cidr.nth(n)));
    }
}

fn secondary_eni(sim: &Sim, n: usize) -> Option<vpc_ipam_core::testkit::ec2::Eni> {
    let world = sim.world();
    let enis = world.enis_of(sim.instance());
    enis.into_iter().filter(|eni| !eni.is_primary()).nth(n).cloned()
}

fn evict(sim: &mut Sim, n: usize) {
    let Some(eni) = secondary_eni(sim, n) else { return };
    let owned = eni.owned();
    let now = sim.now();
    sim.world().evict_eni(&eni.id, now);
    sim.note_taken(owned.iter().flat_map(|cidr| (0..cidr.size()).filter_map(|n| cidr.nth(n))));
}

fn disown(sim: &Sim, n: usize, theirs: bool) {
    let Some(eni) = secondary_eni(sim, n) else { return };
    let value = if theirs { "true" } else { "false" };
    let now = sim.now();
    let mut world = sim.world();
    let request = vpc_ipam_core::testkit::ec2::CreateTags {
        resources: vec![eni.id.to_string()],
        tags: [("node.k8s.amazonaws.com/no_manage".to_owned(), value.to_owned())].into(),
    };
    world.create_tags(&request, now).unwrap();
}

fn run(config: &SimConfig, steps: &[Step]) -> Result<Sim, Violation> {
    let mut sim = Sim::new(config).map_err(|e| Violation(e.to_string()))?;
    for step in steps {
        take(&mut sim, step)?;
    }
    Ok(sim)
}

/// Everything works again, and nothing changes any more.
fn come_to_rest(sim: &mut Sim) -> Result<(), Violation> {
    sim.world().faults_mut().clear();
    sim.store().fail_saves(0, false);
    sim.datapath().fail_enis(0);
    sim.cloud().set_reach(Reach::All);
    (0..3).for_each(|n| disown(sim, n, false));
    sim.quiesce(Duration::from_secs(7200))?;
    if sim.unanswered() > 0 {
        return Err(Violation(format!("{} requests were never answered", sim.unanswered())));
    }
    Ok(())
}

fn check<T>(result: Result<T, Violation>) -> Result<T, TestCaseError> {
    result.map_err(|e| TestCaseError::fail(e.to_string()))
}

fn limits(config: &SimConfig) -> InstanceLimits {
    instance_type(&config.instance_type).unwrap().limits()
}

fn exhausted(pool: &PoolConfig, sim: &Sim) -> bool {
    let world = sim.world();
    let subnet = &world.subnets()[0];
    match pool.mode {
        AllocationMode::Prefix => subnet.free_prefixes() == 0 || subnet.available_ips() == 0,
        _ => subnet.available_ips() < 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn secondary_mode_keeps_its_promises_in_any_history(
        config in config(false),
        steps in prop::collection::vec(hostile(), 1..60),
    ) {
        let mut sim = check(run(&config, &steps))?;
        check(come_to_rest(&mut sim))?;
    }

    #[test]
    fn prefix_mode_keeps_its_promises_in_any_history(
        config in config(true),
        steps in prop::collection::vec(hostile(), 1..60),
    ) {
        let mut sim = check(run(&config, &steps))?;
        check(come_to_rest(&mut sim))?;
    }

    #[test]
    fn a_pool_at_rest_meets_its_targets(
        config in prop_oneof![config(false), config(true)],
        steps in prop::collection::vec(peaceful(PODS), 1..40),
    ) {
        let mut sim = check(run(&config, &steps))?;
        check(come_to_rest(&mut sim))?;
        let pool = sim.pool().config().clone();
        let stats = sim.pool().stats();
        let plan = sim.pool().plan(sim.now());
        let free = stats.total - stats.assigned;
        let limits = limits(&config);
        let enis = stats.enis.len() as u64;
        let capacity = u64::from(limits.enis * limits.slots() * pool.addresses_per_slot());
        let limited = stats.total >= u64::from(pool.max_pods)
            || stats.total == capacity
            || exhausted(&pool, &sim);
        prop_assert!(plan.grow.is_empty() || limited, "{:?}", plan);
        if let PolicyConfig::Adaptive(bounds) = pool.policy {
            let room = u64::from(pool.max_pods).saturating_sub(stats.assigned);
            let least = u64::from(bounds.min.min(bounds.max.unwrap_or(bounds.min))).min(room);
            prop_assert!(free >= least || limited, "{free} free, {:?}", plan);
            prop_assert!(plan.shrink.is_empty(), "{:?}", plan);
            return Ok(());
        }
        if pool.targets.has_ip_targets() && !limited {
            prop_assert!(free >= u64::from(pool.targets.ips), "{free} free, {:?}", plan);
            prop_assert!(stats.total >= u64::from(pool.targets.minimum_ips), "{:?}", plan);
        }
        if pool.mode == AllocationMode::Secondary && !pool.targets.has_ip_targets() && !limited {
            prop_assert!(free >= u64::from(pool.targets.enis * limits.slots()), "{:?}", plan);
        }
        prop_assert!(enis <= u64::from(limits.enis));
    }

    #[test]
    fn no_add_is_refused_while_the_node_can_hold_its_pods(
        mut config in prop_oneof![config(false), config(true)],
        max_pods in 20..40u32,
        steps in prop::collection::vec(peaceful(20), 1..40),
    ) {
        let seed = config.seed;
        let (mode, targets) = (config.pool.mode, config.pool.targets);
        let policy = config.pool.policy;
        config = SimConfig::with("m5.large", mode, targets, seed).unwrap();
        config.pool.max_pods = max_pods;
        config.pool.policy = policy;
        let mut sim = check(run(&config, &steps))?;
        check(sim.run_for(Duration::from_secs(60)))?;
        // 20 pods fit even while the addresses of 20 others rest, within an ADD's patience.
        prop_assert!(sim.refused().is_empty(), "{:?}", sim.refused());
    }

    #[test]
    fn the_same_history_gives_the_same_actions(
        config in prop_oneof![config(false), config(true)],
        steps in prop::collection::vec(hostile(), 1..40),
    ) {
        let once = check(run(&config, &steps))?;
        let twice = check(run(&config, &steps))?;
        prop_assert_eq!(once.actions(), twice.actions());
    }
}
