//! What can happen to a node.

use std::time::Duration;

use crate::{
    config::{AllocationMode, WarmTargets},
    policy::PolicyConfig,
    testkit::{
        Reach,
        ec2::{Consistency, Ec2Action, Ec2Error, Fault, InterfaceType, RequestRates},
        sim::InFlight,
    },
};

/// One thing that happens. Numbers that name nothing, such as the third ENI of two, make it a step in
/// which nothing happens, so any list of steps is a history.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// The pod of that number comes, or repeats its request.
    Add(u32),
    /// The pods of all lower numbers come at once, those that are there repeating their request.
    Burst(u32),
    /// The daemon is killed and started again.
    Crash(InFlight),
    /// The daemon will be killed when so many [moments](crate::testkit::sim::Moment) have passed; 0 is
    /// the next one.
    CrashIn(u64, InFlight),
    /// How far EC2's answers lag behind, from now on.
    Consistency(Consistency),
    /// Others leave the subnet, until so many more prefixes are free.
    Defragment(usize),
    /// Calls of an action are refused.
    FailCloud {
        /// The action.
        action: Ec2Action,
        /// With what.
        error: Ec2Error,
        /// How many.
        times: u32,
    },
    /// So many set-ups and take-downs of ENIs fail.
    FailHost(u32),
    /// Writes of the state file and of the hint fail.
    FailStore {
        /// How many of each.
        times: u32,
        /// The state file has the new content all the same: the last step of the write failed.
        keeps_content: bool,
    },
    /// Others crowd the subnet: no prefix and at most so many addresses are free.
    Fragment(u32),
    /// All failures end, see [`Sim::heal`](crate::testkit::sim::Sim::heal).
    Heal,
    /// Calls of an action meet a fault.
    Meet {
        /// The action.
        action: Ec2Action,
        /// Which.
        fault: Fault,
        /// How many.
        times: u32,
    },
    /// Instance metadata breaks.
    Metadata(Metadata),
    /// Somebody else changes the node's ENIs.
    Outside(Outside),
    /// Time passes.
    Pass(Duration),
    /// How often EC2 may be called from now on.
    Rates(RequestRates),
    /// From now on so much of the cloud can be reached.
    Reach(Reach),
    /// The pod of that number goes.
    Release(u32),
    /// All pods go that ever came.
    ReleaseAll,
    /// Whether the scheduler places new pods on the node.
    Schedulable(bool),
    /// The settings change.
    Set(Setting),
}

/// What others do behind the daemon's back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outside {
    /// Adds so many addresses, or prefixes in prefix mode, to the last ENI.
    Assign(u32),
    /// Attaches an ENI.
    Attach {
        /// Its purpose.
        kind: InterfaceType,
        /// Whether it carries the tag that keeps the node from using it.
        theirs: bool,
        /// Addresses, or prefixes in prefix mode, that it brings along.
        slots: u32,
    },
    /// Detaches the secondary ENI of that number, pods or no pods, and leaves it lying around.
    Detach(usize),
    /// Says whose the secondary ENI of that number is: true is somebody else's.
    Disown(usize, bool),
    /// Detaches and deletes the secondary ENI of that number, pods or no pods.
    Evict(usize),
    /// Says whether the subnet of that number is for pods: true excludes it.
    Exclude(usize, bool),
    /// Takes the block of that number among those that no pod uses.
    Unassign(usize),
    /// Takes the block of that number among those that pods use.
    UnassignUsed(usize),
}

/// How metadata breaks, until [`Step::Heal`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Metadata {
    /// It lists no ENI.
    Empty,
    /// It shows for so long what it shows now.
    Frozen(Duration),
    /// It does not list the secondary ENI of that number.
    Omits(usize),
    /// It answers every request with this HTTP status.
    Status(u16),
}

/// A [custom network](crate::config::CustomNetwork) of the model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Elsewhere {
    /// Where the node is.
    Here,
    /// Nobody knows where.
    Missing,
    /// In the last subnet of the world.
    LastSubnet,
}

/// One setting of the pool. A combination that [`PoolConfig`](crate::config::PoolConfig) refuses
/// changes nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Setting {
    /// How long a released address rests.
    Cooldown(Duration),
    /// Where new ENIs go.
    CustomNetwork(Elsewhere),
    /// Whether ENIs are ours that no tag says anything of.
    ManageUntagged(bool),
    /// Whether an unschedulable node grows.
    ManageUnschedulable(bool),
    /// Pods that the node may run.
    MaxPods(u32),
    /// What ENIs hold.
    Mode(AllocationMode),
    /// Whether a place is kept for a trunk.
    PodEni(bool),
    /// What decides how much is kept ready.
    Policy(PolicyConfig),
    /// Whether anything may be changed in the cloud.
    Provisioning(bool),
    /// What to keep ready.
    Targets(WarmTargets),
}
