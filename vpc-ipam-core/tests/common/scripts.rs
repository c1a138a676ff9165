//! Nodes and histories to try, as strategies that shrink.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};
use vpc_ipam_core::{
    config::{AllocationMode, WarmTargets},
    policy::{Bounds, PolicyConfig},
    testkit::{
        Reach,
        ec2::{Consistency, Ec2Action, Ec2Error, Fault, InterfaceType, Rate, RequestRates, code},
        script::{Elsewhere, Metadata, Outside, Script, Setting, Step},
        sim::{InFlight, SimConfig},
    },
};

/// Pods that come and go; a little more than a small node can hold.
pub(crate) const PODS: u32 = 34;

const FAILING: [Ec2Action; 7] = [
    Ec2Action::AssignPrivateIpAddresses,
    Ec2Action::AttachNetworkInterface,
    Ec2Action::CreateNetworkInterface,
    Ec2Action::DescribeNetworkInterfaces,
    Ec2Action::DetachNetworkInterface,
    Ec2Action::ModifyNetworkInterfaceAttribute,
    Ec2Action::UnassignPrivateIpAddresses,
];

const CODES: [&str; 8] = [
    code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED,
    code::INSUFFICIENT_FREE_ADDRESSES,
    code::INSUFFICIENT_CIDR_BLOCKS,
    code::ATTACHMENT_LIMIT_EXCEEDED,
    code::INVALID_INTERFACE_NOT_FOUND,
    code::REQUEST_LIMIT_EXCEEDED,
    code::INTERNAL_ERROR,
    code::UNAUTHORIZED_OPERATION,
];

/// Errors that EC2 may answer with at any time.
pub(crate) fn ec2_error() -> impl Strategy<Value = Ec2Error> {
    select(&CODES[..]).prop_map(|code| Ec2Error::new(code, "scripted"))
}

/// Warm targets of all three kinds, fit for both modes.
pub(crate) fn targets() -> impl Strategy<Value = WarmTargets> {
    let targets =
        |enis, ips, minimum_ips, prefixes| WarmTargets { enis, ips, minimum_ips, prefixes };
    prop_oneof![
        (0..3u32).prop_map(move |enis| targets(enis, 0, 0, 1)),
        (0..6u32, 0..9u32, 1..3u32).prop_map(move |(w, m, p)| targets(1, w, m, p)),
        (1..3u32).prop_map(move |p| targets(1, 0, 0, p)),
    ]
}

/// The targets, or a policy that learns.
pub(crate) fn policy() -> impl Strategy<Value = PolicyConfig> {
    let adaptive = (0..5u32, option::of(0..9u32))
        .prop_map(|(min, max)| PolicyConfig::Adaptive(Bounds { min, max }));
    prop_oneof![2 => Just(PolicyConfig::Static), 1 => adaptive]
}

/// What becomes of the calls of a daemon that dies. [`InFlight::Late`] is left out: see its
/// documentation.
pub(crate) fn in_flight() -> impl Strategy<Value = InFlight> {
    select(vec![InFlight::Lost, InFlight::Done, InFlight::Either])
}

fn ms(range: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    range.prop_map(|ms| Step::Pass(Duration::from_millis(ms)))
}

/// What happens on a node where everything works.
pub(crate) fn peaceful(pods: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..pods).prop_map(Step::Add),
        1 => (0..=pods).prop_map(Step::Burst),
        4 => (0..pods).prop_map(Step::Release),
        1 => Just(Step::ReleaseAll),
        4 => ms(0..3_000),
        3 => ms(3_000..90_000),
        1 => crash(),
        1 => targets().prop_map(|targets| Step::Set(Setting::Targets(targets))),
    ]
}

/// The daemon dies, now or in the middle of what it does next.
pub(crate) fn crash() -> impl Strategy<Value = Step> {
    prop_oneof![
        in_flight().prop_map(Step::Crash),
        (0..40u64, in_flight()).prop_map(|(moments, calls)| Step::CrashIn(moments, calls)),
    ]
}

/// Failures of the cloud, the disk and the kernel.
pub(crate) fn trouble() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (select(&FAILING[..]), ec2_error(), 1..4u32)
            .prop_map(|(action, error, times)| Step::FailCloud { action, error, times }),
        2 => meet(),
        2 => (1..3u32, any::<bool>())
            .prop_map(|(times, keeps_content)| Step::FailStore { times, keeps_content }),
        2 => (1..9u32).prop_map(Step::FailHost),
        2 => select(vec![Reach::All, Reach::Metadata, Reach::Nothing]).prop_map(Step::Reach),
        1 => metadata().prop_map(Step::Metadata),
        1 => rates().prop_map(Step::Rates),
        1 => consistency().prop_map(Step::Consistency),
        1 => (0..40u32).prop_map(Step::Fragment),
        1 => (1..4usize).prop_map(Step::Defragment),
        1 => Just(Step::Heal),
    ]
}

/// Calls that take effect in part, or without an answer.
pub(crate) fn meet() -> impl Strategy<Value = Step> {
    let lost = select(vec![Ec2Error::no_answer(), Ec2Error::internal()]);
    let fault = prop_oneof![
        2 => lost.prop_map(Fault::AnswerLost),
        1 => (1..4u32).prop_map(Fault::Fewer),
        1 => (0..4u32).prop_map(|n| Fault::Partly(n, Ec2Error::internal())),
    ];
    (select(&FAILING[..]), fault, 1..5u32).prop_map(|(action, fault, times)| Step::Meet {
        action,
        fault,
        times,
    })
}

/// Metadata that is broken, and not merely late.
pub(crate) fn metadata() -> impl Strategy<Value = Metadata> {
    prop_oneof![
        Just(Metadata::Empty),
        (1..900u64).prop_map(|s| Metadata::Frozen(Duration::from_secs(s))),
        (0..2usize).prop_map(Metadata::Omits),
        select(vec![401, 404]).prop_map(Metadata::Status),
    ]
}

/// The documented request rates, or a tenth and less of them.
pub(crate) fn rates() -> impl Strategy<Value = RequestRates> {
    let tight = (1..4u32, 1..3u32).prop_map(|(size, refill)| {
        let rate = Rate { size, refill };
        Ec2Action::ALL.iter().fold(RequestRates::unlimited(), |all, a| all.with(*a, rate))
    });
    prop_oneof![Just(RequestRates::unlimited()), Just(RequestRates::documented()), tight]
}

/// Answers of EC2 that are some seconds old.
pub(crate) fn consistency() -> impl Strategy<Value = Consistency> {
    (0..5_000u64, any::<bool>(), 0..5_000u64).prop_map(|(lag, monotonic, unseen)| Consistency {
        lag: Duration::from_millis(lag),
        monotonic,
        unseen: Duration::from_millis(unseen),
    })
}

/// What others do to the node's ENIs.
pub(crate) fn outside() -> impl Strategy<Value = Step> {
    use InterfaceType::{Efa, EfaOnly, Interface, Trunk};
    let kinds = select(vec![Interface, Interface, Trunk, Efa, EfaOnly]);
    let what = prop_oneof![
        2 => (1..3u32).prop_map(Outside::Assign),
        2 => (0..20usize).prop_map(Outside::Unassign),
        1 => (0..4usize).prop_map(Outside::UnassignUsed),
        2 => (0..2usize).prop_map(Outside::Evict),
        1 => (0..2usize).prop_map(Outside::Detach),
        1 => (kinds, any::<bool>(), 0..4u32)
            .prop_map(|(kind, theirs, slots)| Outside::Attach { kind, theirs, slots }),
        2 => (0..2usize, any::<bool>()).prop_map(|(n, theirs)| Outside::Disown(n, theirs)),
    ];
    what.prop_map(Step::Outside)
}

/// What decides which ENIs serve pods, and whether anything may be changed at all.
pub(crate) fn classes() -> impl Strategy<Value = Step> {
    let places = vec![Elsewhere::Here, Elsewhere::Missing, Elsewhere::LastSubnet];
    let modes = vec![AllocationMode::Prefix, AllocationMode::Secondary];
    let outside = prop_oneof![
        2 => (0..2usize, any::<bool>()).prop_map(|(n, excluded)| Outside::Exclude(n, excluded)),
        1 => (0..3usize, any::<bool>()).prop_map(|(n, theirs)| Outside::Disown(n, theirs)),
    ];
    let setting = prop_oneof![
        2 => select(places).prop_map(Setting::CustomNetwork),
        1 => any::<bool>().prop_map(Setting::ManageUntagged),
        1 => any::<bool>().prop_map(Setting::ManageUnschedulable),
        2 => select(modes).prop_map(Setting::Mode),
        1 => any::<bool>().prop_map(Setting::PodEni),
        1 => any::<bool>().prop_map(Setting::Provisioning),
    ];
    prop_oneof![
        4 => outside.prop_map(Step::Outside),
        5 => setting.prop_map(Step::Set),
        1 => any::<bool>().prop_map(Step::Schedulable),
    ]
}

/// Anything.
pub(crate) fn hostile() -> impl Strategy<Value = Step> {
    prop_oneof![8 => peaceful(PODS), 5 => trouble(), 4 => outside()]
}

/// A small node with any targets and policy.
pub(crate) fn config(mode: AllocationMode) -> impl Strategy<Value = SimConfig> {
    let types = select(vec!["t3.small", "t3.medium", "m5.large"]);
    let subnets = select(vec!["10.0.0.0/20", "10.0.0.0/25", "10.0.0.0/26", "10.0.0.0/27"]);
    let either = any::<bool>();
    (types, subnets, targets(), policy(), any::<u64>(), 4..40u32, either).prop_map(
        move |(type_name, subnet, targets, policy, seed, max_pods, remember)| {
            let mut config = SimConfig::with(type_name, mode, targets, seed).unwrap();
            config.subnet = subnet.parse().unwrap();
            config.pool.max_pods = max_pods;
            config.pool.remember = remember;
            config.pool.policy = policy;
            config
        },
    )
}

/// A node in either mode.
pub(crate) fn any_config() -> impl Strategy<Value = SimConfig> {
    prop_oneof![config(AllocationMode::Secondary), config(AllocationMode::Prefix)]
}

/// A node and up to `length` steps.
pub(crate) fn script(
    config: impl Strategy<Value = SimConfig>,
    step: impl Strategy<Value = Step>,
    length: usize,
) -> impl Strategy<Value = Script> {
    (config, vec(step, 1..length)).prop_map(|(config, steps)| Script::new(config, steps))
}
