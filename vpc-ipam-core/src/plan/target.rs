//! The warm targets as arithmetic: how much is missing, and whether it may be had.

use super::{Shortage, View};
use crate::{
    config::{AllocationMode, PoolConfig},
    policy::Band,
};

/// Sums over the usable ENIs that serve new pods, of a [`View`], and what its warm policy asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Totals {
    /// Addresses.
    pub total: u64,
    /// Of these, leased.
    pub assigned: u64,
    /// Of these, resting: available soon, not now.
    pub cooling: u64,
    /// CIDRs.
    pub entries: u64,
    /// CIDRs without a lease.
    pub unleased: u64,
    /// CIDRs under way.
    pub incoming_entries: u64,
    /// Addresses under way.
    pub incoming: u64,
    /// Pods that wait.
    pub waiting: u64,
    /// How many addresses the warm policy wants free; `None`: the configured targets decide.
    pub band: Option<Band>,
}

impl Totals {
    /// Sums up `view`.
    pub fn of(view: &View, config: &PoolConfig) -> Self {
        let band = view.band.map(Band::in_order);
        let mut sum = Self { waiting: view.waiting, band, ..Self::default() };
        for eni in view.enis.iter().filter(|eni| eni.standing.serves()) {
            sum.incoming_entries += u64::from(eni.incoming);
            if eni.usable {
                sum.total = sum.total.saturating_add(eni.total);
                sum.assigned += eni.assigned;
                sum.cooling += eni.cooling;
                sum.entries += eni.entries;
                sum.unleased += eni.unleased;
            }
        }
        sum.incoming_entries += view.creating.map_or(0, |count| u64::from(count.slots()));
        sum.incoming = sum.incoming_entries * u64::from(config.addresses_per_slot());
        sum
    }

    /// Addresses once everything under way has arrived.
    pub fn expected(&self) -> u64 {
        self.total.saturating_add(self.incoming)
    }

    /// Addresses without a pod, resting ones included: the `V` of the warm targets.
    pub fn available(&self) -> u64 {
        self.total.saturating_sub(self.assigned)
    }

    /// Addresses that a pod could have at once, which the band is about.
    pub fn free(&self) -> u64 {
        self.available().saturating_sub(self.cooling)
    }

    /// Addresses that stay available once everything under way has arrived and every waiting pod
    /// has got one; negative if that is not enough.
    fn spare(&self) -> i64 {
        signed(self.expected()) - signed(self.assigned) - signed(self.waiting)
    }

    /// Waiting pods that neither a free address nor one under way will serve. Resting addresses
    /// do not count: a burst of pods must not wait for the cooldown of the last one.
    fn unserved(&self) -> u64 {
        let serving = self.expected().saturating_sub(self.assigned).saturating_sub(self.cooling);
        self.waiting.saturating_sub(serving)
    }
}

/// What the targets ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Need {
    /// Too low, but the node may not run more pods than it has addresses for.
    MaxPods,
    /// Enough.
    Nothing,
    /// Too low.
    Slots {
        /// Slots to add, at least one.
        slots: u64,
        /// Fill each ENI that is touched.
        whole_enis: bool,
        /// Most slots that the node's pods can use.
        slots_max: u64,
        /// Which target is missed.
        shortage: Shortage,
    },
}

impl Need {
    /// Compares `totals` with the targets, in their order of precedence.
    pub fn of(totals: &Totals, config: &PoolConfig) -> Self {
        let per_slot = u64::from(config.addresses_per_slot());
        let Some((slots, shortage)) = missing(totals, config) else { return Self::Nothing };
        let max_pods = u64::from(config.max_pods);
        if totals.expected() >= max_pods {
            return Self::MaxPods;
        }
        let slots_max = (max_pods - totals.expected()).div_ceil(per_slot);
        let whole_enis = matches!(shortage, Shortage::WarmEnis { .. });
        Self::Slots { slots: slots.clamp(1, slots_max), whole_enis, slots_max, shortage }
    }
}

/// Slots that are missing, `None` if none are.
fn missing(totals: &Totals, config: &PoolConfig) -> Option<(u64, Shortage)> {
    let targets = config.targets;
    let per_slot = u64::from(config.addresses_per_slot());
    let (available, total) = (totals.available(), totals.total);
    let (waiting, unserved, spare) = (totals.waiting, totals.unserved(), totals.spare());
    if let Some(band) = totals.band {
        let free = spare - signed(totals.cooling);
        let short = if free < i64::from(band.low) { below(free, band.fill.into()) } else { 0 };
        let shortage = Shortage::Band { free: totals.free(), band, waiting };
        return (short > 0).then(|| (short.div_ceil(per_slot), shortage));
    }
    if targets.has_ip_targets() {
        let (warm, minimum) = (u64::from(targets.ips), u64::from(targets.minimum_ips));
        let short = below(spare, warm).max(minimum.saturating_sub(totals.expected())).max(unserved);
        let shortage = Shortage::WarmIps { available, total, warm, minimum, waiting };
        return (short > 0).then(|| (short.div_ceil(per_slot), shortage));
    }
    if config.mode == AllocationMode::Prefix {
        let goal = u64::from(targets.prefixes) * per_slot;
        let short = below(spare, goal.max(1)).max(unserved);
        // Reference rule: half-used prefixes satisfy the target, but if it is missed, whole free
        // prefixes are taken.
        let free = totals.unleased + totals.incoming_entries;
        let slots = short.div_ceil(per_slot).max(u64::from(targets.prefixes).saturating_sub(free));
        let shortage = Shortage::WarmPrefixes {
            available,
            free: totals.unleased,
            warm: u64::from(targets.prefixes),
            waiting,
        };
        return (short > 0).then_some((slots, shortage));
    }
    let goal = u64::from(targets.enis) * u64::from(config.addresses_per_eni());
    let short = below(spare, goal.max(1)).max(unserved);
    let shortage = Shortage::WarmEnis {
        available,
        warm: u64::from(targets.enis),
        per_eni: u64::from(config.addresses_per_eni()),
        waiting,
    };
    (short > 0).then(|| (short.div_ceil(per_slot), shortage))
}

/// How far `value` is below `goal`; zero if it is not.
fn below(value: i64, goal: u64) -> u64 {
    u64::try_from(signed(goal).saturating_sub(value)).unwrap_or(0)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
