//! Why the planner decided as it did: data, and one plain sentence of it.

use std::fmt;

use super::Totals;
use crate::{
    budget::{CallKind, CallLevel},
    config::AllocationMode,
    id::EniId,
    policy::Band,
    time::Time,
};

/// The target that is missed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Shortage {
    /// A warm policy's band.
    Band {
        /// Addresses that a pod could have at once.
        free: u64,
        /// How many should be free, and why.
        band: Band,
        /// Pods that wait.
        waiting: u64,
    },
    /// An ENI of an IPv6 node has no prefix, or there is none.
    Ipv6Prefix {
        /// ENIs.
        enis: u64,
        /// Of these, without a prefix.
        without: u64,
        /// Pods that wait.
        waiting: u64,
    },
    /// `WARM_ENI_TARGET`.
    WarmEnis {
        /// Addresses without a pod.
        available: u64,
        /// Spare ENIs wanted.
        warm: u64,
        /// Addresses of one ENI.
        per_eni: u64,
        /// Pods that wait.
        waiting: u64,
    },
    /// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET`.
    WarmIps {
        /// Addresses without a pod.
        available: u64,
        /// Addresses.
        total: u64,
        /// Spare addresses wanted.
        warm: u64,
        /// Addresses wanted in all.
        minimum: u64,
        /// Pods that wait.
        waiting: u64,
    },
    /// `WARM_PREFIX_TARGET`.
    WarmPrefixes {
        /// Addresses without a pod.
        available: u64,
        /// Prefixes without a pod.
        free: u64,
        /// Free prefixes wanted.
        warm: u64,
        /// Pods that wait.
        waiting: u64,
    },
}

/// Why a plan is what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Prefixes cover the targets again, so single addresses go.
    BackToPrefixes {
        /// Single addresses that go.
        released: u64,
        /// Addresses without a pod in prefixes.
        available: u64,
    },
    /// The node is going away.
    Draining,
    /// Too low, and the subnet has no free block for a prefix, so single addresses serve.
    Fallback {
        /// Single addresses.
        singles: u64,
        /// Of these, those that pods have.
        assigned: u64,
        /// Single addresses under way.
        coming: u64,
        /// Next attempt to get a prefix.
        until: Time,
        /// The target that single addresses miss as well.
        shortage: Option<Shortage>,
    },
    /// This ENI has no pod and the others satisfy every target.
    FreeEni {
        /// ENI.
        eni: EniId,
        /// Addresses that go with it.
        available: u64,
    },
    /// Too low, and every place for an address is taken.
    Full {
        /// Addresses in use.
        assigned: u64,
        /// Addresses.
        total: u64,
        /// Attached ENIs.
        enis: u64,
        /// ENIs allowed.
        max_enis: u32,
        /// Slots per ENI.
        slots: u32,
        /// What a slot holds.
        mode: AllocationMode,
        /// A place is free, but kept for the trunk.
        trunk_place: bool,
        /// ENIs that take a place but serve no new pods.
        retired: u64,
    },
    /// Too low, so the pool grows.
    Growing(Shortage),
    /// Too low, but the last attempts failed.
    Held {
        /// Next attempt.
        until: Time,
    },
    /// Too low, and help is under way.
    InFlight {
        /// Addresses under way.
        incoming: u64,
    },
    /// An ENI has no IPv6 prefix, and the subnet has none to give.
    Ipv6Exhausted {
        /// Next attempt.
        until: Time,
    },
    /// Every pod that the node may run has an address.
    MaxPods {
        /// Addresses, those under way included.
        total: u64,
        /// Pods that the node may run.
        max_pods: u32,
    },
    /// Too low, and the `ENIConfig` that says where new ENIs go does not exist.
    NoEniConfig {
        /// Its name.
        name: String,
    },
    /// Too low, and the node has used up its EC2 calls for the moment.
    NoCalls {
        /// What there is no call for.
        kind: CallKind,
        /// The next call.
        until: Time,
        /// What is done without.
        level: CallLevel,
    },
    /// The pool follows what the cloud shows.
    ProvisioningDisabled,
    /// This ENI serves no new pods, and the last of its pods has gone.
    Retired {
        /// ENI.
        eni: EniId,
    },
    /// All targets are met.
    Settled {
        /// The numbers.
        totals: Totals,
    },
    /// Too low, and the subnet has nothing to give.
    SubnetExhausted {
        /// What was asked for.
        mode: AllocationMode,
        /// Next attempt.
        until: Time,
    },
    /// Too low, but what EC2 itself has to say of the ENIs is not known yet.
    Unconfirmed,
    /// Too low, but the node takes no new pods.
    Unschedulable,
    /// EC2 throttles the account, so what no pod waits for has to wait itself.
    Throttled {
        /// What is done without.
        level: CallLevel,
        /// Calls that EC2 has throttled since the pool began.
        throttled: u64,
        /// When less is done without, if EC2 throttles nothing before.
        relief: Option<Time>,
    },
    /// More than the targets ask for.
    Surplus {
        /// CIDRs that go.
        released: u64,
        /// Addresses without a pod.
        available: u64,
        /// What a CIDR is.
        mode: AllocationMode,
        /// What a warm policy asks for.
        band: Option<Band>,
    },
}

fn unit(mode: AllocationMode) -> &'static str {
    match mode {
        AllocationMode::Prefix => "prefix(es)",
        AllocationMode::Secondary => "address(es)",
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = match self {
            Self::Band { free, band, waiting } => {
                write!(f, "{free} address(es) free, {band}")?;
                waiting
            }
            Self::Ipv6Prefix { enis: 0, waiting, .. } => {
                f.write_str("no ENI serves pods")?;
                waiting
            }
            Self::Ipv6Prefix { enis, without, waiting } => {
                write!(f, "{without} of {enis} ENI(s) without an IPv6 prefix")?;
                waiting
            }
            Self::WarmEnis { available, warm, per_eni, waiting } => {
                write!(
                    f,
                    "{available} address(es) available, WARM_ENI_TARGET {warm} asks for {}",
                    (warm * per_eni).max(1)
                )?;
                waiting
            }
            Self::WarmIps { available, total, warm, minimum, waiting } => {
                write!(
                    f,
                    "{available} of {total} address(es) available, WARM_IP_TARGET {warm} and \
                     MINIMUM_IP_TARGET {minimum} ask for more"
                )?;
                waiting
            }
            Self::WarmPrefixes { available, free, warm, waiting } => {
                write!(
                    f,
                    "{available} address(es) available and {free} prefix(es) free, \
                     WARM_PREFIX_TARGET {warm} asks for {}",
                    (warm * 16).max(1)
                )?;
                waiting
            }
        };
        if *waiting > 0 {
            write!(f, ", {waiting} pod(s) waiting")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackToPrefixes { released, available } => write!(
                f,
                "{available} address(es) available in prefixes, so {released} single address(es) \
                 that stood in for them go"
            ),
            Self::Draining => f.write_str("the node is draining, so nothing is taken or given up"),
            Self::Fallback { singles, assigned, coming, until, shortage } => {
                write!(
                    f,
                    "the subnet has no free /28 block, so {singles} single address(es) are used \
                     meanwhile, {assigned} of them by pods, and {coming} more are coming; the next \
                     attempt to get a prefix follows at {until}"
                )?;
                shortage.iter().try_for_each(|shortage| write!(f, "; {shortage}"))
            }
            Self::FreeEni { eni, available } => {
                write!(f, "{eni} has no pod and its {available} address(es) are not needed")
            }
            Self::Full { assigned, total, enis, max_enis, slots, mode, trunk_place, retired } => {
                write!(
                    f,
                    "{assigned} of {total} addresses in use on {enis} of {max_enis} ENIs, and no ENI \
                     can hold more than {slots} {}",
                    unit(*mode)
                )?;
                if *trunk_place {
                    f.write_str(", while one place is kept for the trunk ENI (ENABLE_POD_ENI)")?;
                }
                if *retired > 0 {
                    write!(f, ", while {retired} of the ENIs serve(s) no new pods")?;
                }
                f.write_str("; run fewer pods or use a larger instance type")
            }
            Self::Growing(shortage) => shortage.fmt(f),
            Self::Held { until } => {
                write!(f, "the last attempts to grow failed, the next one follows at {until}")
            }
            Self::InFlight { incoming } => write!(f, "{incoming} address(es) are under way"),
            Self::Ipv6Exhausted { until } => write!(
                f,
                "the subnet has no free IPv6 /80 block left, the next attempt follows at {until}; free \
                 some or use another subnet"
            ),
            Self::MaxPods { total, max_pods } => {
                write!(f, "{total} address(es) cover the {max_pods} pods that this node may run")
            }
            Self::NoEniConfig { name } => write!(
                f,
                "the ENIConfig {name:?} does not exist, so no ENI can be made for pods; create it, or \
                 correct the label or annotation of the node that names it"
            ),
            Self::NoCalls { kind, until, level } => {
                let why = match level {
                    CallLevel::Normal => "the node has made as many EC2 calls as it may",
                    CallLevel::NoReleases | CallLevel::NoMutations => {
                        "EC2 throttles this account, so the node makes few calls"
                    }
                };
                write!(f, "{why}; the next one for {kind} follows at {until}")
            }
            Self::ProvisioningDisabled => {
                f.write_str("provisioning is disabled, so the pool follows what the cloud shows")
            }
            Self::Retired { eni } => {
                write!(f, "{eni} serves no new pods, and the last of its pods has gone")
            }
            Self::Settled { totals: totals @ Totals { band: Some(band), .. } } => {
                write!(f, "{} of {} address(es) free, {band}", totals.free(), totals.total)
            }
            Self::Settled { totals } => write!(
                f,
                "{} of {} address(es) available, as the targets ask",
                totals.available(),
                totals.total
            ),
            Self::SubnetExhausted { mode, until } => write!(
                f,
                "the subnet has no free {} left, the next attempt follows at {until}; free some \
                 or use a larger subnet",
                match mode {
                    AllocationMode::Prefix => "/28 block",
                    AllocationMode::Secondary => "address",
                }
            ),
            Self::Unconfirmed => {
                f.write_str("EC2 has not described the ENIs yet, so nothing is asked for")
            }
            Self::Unschedulable => f.write_str(
                "the node is unschedulable, so no address is asked for; uncordon it, or set \
                 AWS_MANAGE_ENIS_NON_SCHEDULABLE",
            ),
            Self::Throttled { level, throttled, relief } => {
                let what = match level {
                    CallLevel::NoMutations => "requested or given back unless a pod waits",
                    CallLevel::Normal | CallLevel::NoReleases => "given back",
                };
                write!(f, "EC2 has throttled {throttled} call(s), so nothing is {what}")?;
                relief.iter().try_for_each(|at| write!(f, ", at least until {at}"))
            }
            Self::Surplus { released, available, mode, band } => {
                write!(
                    f,
                    "{available} address(es) available, {released} {} too many",
                    unit(*mode)
                )?;
                band.iter().try_for_each(|band| write!(f, ", {band}"))
            }
        }
    }
}
