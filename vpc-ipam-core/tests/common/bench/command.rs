//! What can happen to a node, and how often.

use proptest::{prelude::*, sample::select};
use vpc_ipam_core::{
    cloud::CloudErrorKind,
    config::{AllocationMode, PoolConfig, WarmTargets},
};

use super::cloud::Script;

/// Sandboxes that come and go. One more is never added.
pub(crate) const SANDBOXES: u32 = 20;

/// Answers that are kept back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Store,
    /// Changes.
    Cloud,
    /// Views. They are taken at once and shown late.
    Read,
    Host,
}

#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// An ADD, the first one of its sandbox or not.
    Add(u32),
    /// A DEL, of a sandbox that has an address or not.
    Del(u32),
    /// An ADD of every sandbox of a lower number.
    AddAll(u32),
    /// A DEL of every sandbox of a lower number.
    DelAll(u32),
    /// Nobody wants the answer to the last ADD of this sandbox any more.
    Abandon(u32),
    /// Milliseconds.
    Pass(u64),
    /// From now on calls of this kind take effect, and are answered, only when told to.
    Hold(Kind),
    /// Everything that was kept back happens in order, and nothing is from now on.
    Flow,
    /// The call of that number takes effect.
    Execute(usize),
    /// The call of that number is answered, whatever came before it.
    Answer(usize),
    /// An answer that came already comes again.
    Repeat,
    /// The next write of the state file fails, its content there or not.
    FailWrite(bool),
    /// So many calls of the host fail.
    FailHost(u32),
    /// So many reads and deletions in the cloud fail.
    FailCloud(u32),
    /// How the next growth ends.
    Grows(Script),
    /// Somebody else adds blocks to an ENI, of the pool's mode or not.
    Foreign(usize, u32, bool),
    /// The cloud loses a block, pods or no pods.
    LoseCidr(usize),
    /// The cloud loses an ENI, pods or no pods.
    LoseEni(usize),
    Reconfigure(AllocationMode, WarmTargets, u32),
    Drain,
    /// The daemon dies and starts again. A set bit says that a call under way takes effect.
    Crash(u8),
}

fn mode() -> impl Strategy<Value = AllocationMode> {
    select(vec![AllocationMode::Secondary, AllocationMode::Secondary, AllocationMode::Prefix])
}

fn targets() -> impl Strategy<Value = WarmTargets> {
    let targets = |enis, ips, minimum_ips| WarmTargets { enis, ips, minimum_ips, prefixes: 1 };
    prop_oneof![
        2 => (0..3u32).prop_map(move |enis| targets(enis, 0, 0)),
        3 => (0..5u32, 0..9u32).prop_map(move |(ips, minimum)| targets(1, ips, minimum)),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let kinds = vec![
        CloudErrorKind::AddressLimit,
        CloudErrorKind::AttachmentLimit,
        CloudErrorKind::Gone,
        CloudErrorKind::InsufficientAddresses,
        CloudErrorKind::InsufficientPrefixes,
        CloudErrorKind::Other,
        CloudErrorKind::Throttled,
        CloudErrorKind::Unreachable,
    ];
    prop_oneof![(0..3u32).prop_map(Script::Fewer), select(kinds).prop_map(Script::Fails)]
}

fn command() -> impl Strategy<Value = Command> {
    let kind =
        select(vec![Kind::Store, Kind::Store, Kind::Store, Kind::Host, Kind::Cloud, Kind::Read]);
    prop_oneof![
        14 => (0..SANDBOXES).prop_map(Command::Add),
        7 => (0..=SANDBOXES).prop_map(Command::Del),
        2 => (0..=SANDBOXES).prop_map(Command::AddAll),
        1 => (0..=SANDBOXES).prop_map(Command::DelAll),
        1 => (0..SANDBOXES).prop_map(Command::Abandon),
        3 => (0..2_000u64).prop_map(Command::Pass),
        4 => (2_000..120_000u64).prop_map(Command::Pass),
        3 => kind.prop_map(Command::Hold),
        4 => Just(Command::Flow),
        3 => (0..8usize).prop_map(Command::Execute),
        4 => (0..8usize).prop_map(Command::Answer),
        1 => Just(Command::Repeat),
        2 => any::<bool>().prop_map(Command::FailWrite),
        1 => (1..8u32).prop_map(Command::FailHost),
        1 => (1..3u32).prop_map(Command::FailCloud),
        1 => script().prop_map(Command::Grows),
        1 => (0..3usize, 1..3u32, any::<bool>()).prop_map(|(n, c, own)| Command::Foreign(n, c, own)),
        2 => (0..24usize).prop_map(Command::LoseCidr),
        1 => (0..3usize).prop_map(Command::LoseEni),
        1 => (mode(), targets(), 3..40u32).prop_map(|(m, t, p)| Command::Reconfigure(m, t, p)),
        1 => any::<u8>().prop_map(Command::Crash),
    ]
}

/// Once in a while a node is drained at last.
pub(crate) fn commands() -> impl Strategy<Value = Vec<Command>> {
    let commands = prop::collection::vec(command(), 1..80);
    (commands, prop::option::weighted(0.1, 0..80usize)).prop_map(|(mut commands, drain)| {
        if let Some(n) = drain {
            commands.insert(n.min(commands.len()), Command::Drain);
        }
        commands
    })
}

/// A small node, so that its limits are met soon, in a subnet that may be smaller still.
pub(crate) fn nodes() -> impl Strategy<Value = (PoolConfig, u32)> {
    let limits = (1..4u32, 1..6u32, 3..40u32);
    let cooldowns = select(vec![0u64, 1, 10, 30]);
    let subnets = select(vec![16u32, 64, 256, 256]);
    (mode(), targets(), limits, cooldowns, subnets, any::<u64>()).prop_map(
        |(mode, targets, (max_enis, slots, max_pods), cooldown_s, subnet, seed)| {
            let mut config = PoolConfig::new(mode, targets, max_enis, slots).unwrap();
            config.max_pods = max_pods;
            config.cooldown = std::time::Duration::from_secs(cooldown_s);
            config.add_wait = std::time::Duration::from_secs(15);
            config.seed = seed;
            (config, subnet)
        },
    )
}
