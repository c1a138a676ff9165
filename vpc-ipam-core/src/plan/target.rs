//! The warm targets as arithmetic: how much is missing, and whether it may be had.

use super::{Shortage, View};
use crate::{
    cloud::AddressCount,
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
    /// Single addresses in prefix mode. They are in none of the sums above.
    pub singles: u64,
    /// Of these, leased.
    pub singles_assigned: u64,
    /// Of these, resting.
    pub singles_cooling: u64,
    /// Single addresses under way in prefix mode.
    pub incoming_singles: u64,
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
            sum.incoming_entries += u64::from(eni.incoming.saturating_sub(eni.incoming_singles));
            sum.incoming_singles += u64::from(eni.incoming_singles);
            if eni.usable {
                sum.total = sum.total.saturating_add(eni.total);
                sum.assigned += eni.assigned;
                sum.cooling += eni.cooling;
                sum.entries += eni.entries;
                sum.unleased += eni.unleased;
                sum.singles += eni.singles;
                sum.singles_assigned += eni.singles_assigned;
                sum.singles_cooling += eni.singles_cooling;
            }
        }
        match (view.creating, config.mode) {
            (Some(AddressCount::Secondary(n)), AllocationMode::Prefix) => {
                sum.incoming_singles += u64::from(n);
            }
            (Some(count), _) => sum.incoming_entries += u64::from(count.slots()),
            (None, _) => {}
        }
        sum.incoming = sum.incoming_entries * u64::from(config.addresses_per_slot());
        sum
    }

    /// The sums over addresses of either kind: what counts while single addresses serve as well.
    pub fn with_singles(self) -> Self {
        Self {
            total: self.total.saturating_add(self.singles),
            assigned: self.assigned + self.singles_assigned,
            cooling: self.cooling + self.singles_cooling,
            incoming: self.incoming + self.incoming_singles,
            singles: 0,
            singles_assigned: 0,
            singles_cooling: 0,
            incoming_singles: 0,
            ..self
        }
    }

    /// Single addresses that nobody uses.
    pub fn singles_idle(&self) -> u64 {
        self.singles.saturating_sub(self.singles_assigned).saturating_sub(self.singles_cooling)
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
    pub(super) fn unserved(&self) -> u64 {
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
        Self::in_slots_of(u64::from(config.addresses_per_slot()), totals, config)
    }

    /// The same with slots that give one address each, as a fallback for prefixes.
    pub(super) fn of_singles(totals: &Totals, config: &PoolConfig) -> Self {
        Self::in_slots_of(1, totals, config)
    }

    fn in_slots_of(per_slot: u64, totals: &Totals, config: &PoolConfig) -> Self {
        let Some((missing, shortage)) = missing(totals, config) else { return Self::Nothing };
        let max_pods = u64::from(config.max_pods);
        let covered = totals.expected().saturating_add(totals.singles_assigned);
        if covered >= max_pods {
            return Self::MaxPods;
        }
        let mut slots = missing.div_ceil(per_slot);
        if let Shortage::WarmPrefixes { warm, .. } = shortage
            && per_slot > 1
        {
            // Reference rule: half-used prefixes satisfy the target, but if it is missed, whole
            // free prefixes are taken.
            slots = slots.max(warm.saturating_sub(totals.unleased + totals.incoming_entries));
        }
        let slots_max = (max_pods - covered).div_ceil(per_slot);
        let whole_enis = matches!(shortage, Shortage::WarmEnis { .. });
        Self::Slots { slots: slots.clamp(1, slots_max), whole_enis, slots_max, shortage }
    }
}

/// Addresses that are missing, `None` if none are.
fn missing(totals: &Totals, config: &PoolConfig) -> Option<(u64, Shortage)> {
    let targets = config.targets;
    let (available, total) = (totals.available(), totals.total);
    let (waiting, unserved, spare) = (totals.waiting, totals.unserved(), totals.spare());
    let (short, shortage) = if let Some(band) = totals.band {
        let free = spare - signed(totals.cooling);
        let short = if free < i64::from(band.low) { below(free, band.fill.into()) } else { 0 };
        (short, Shortage::Band { free: totals.free(), band, waiting })
    } else if targets.has_ip_targets() {
        let (warm, minimum) = (u64::from(targets.ips), u64::from(targets.minimum_ips));
        let short = below(spare, warm).max(minimum.saturating_sub(totals.expected())).max(unserved);
        (short, Shortage::WarmIps { available, total, warm, minimum, waiting })
    } else if config.mode == AllocationMode::Prefix {
        let warm = u64::from(targets.prefixes);
        let goal = warm * u64::from(config.addresses_per_slot());
        let free = totals.unleased;
        let short = below(spare, goal.max(1)).max(unserved);
        (short, Shortage::WarmPrefixes { available, free, warm, waiting })
    } else {
        let (warm, per_eni) = (u64::from(targets.enis), u64::from(config.addresses_per_eni()));
        let short = below(spare, (warm * per_eni).max(1)).max(unserved);
        (short, Shortage::WarmEnis { available, warm, per_eni, waiting })
    };
    (short > 0).then_some((short, shortage))
}

/// How far `value` is below `goal`; zero if it is not.
fn below(value: i64, goal: u64) -> u64 {
    u64::try_from(signed(goal).saturating_sub(value)).unwrap_or(0)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
