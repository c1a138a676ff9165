//! The planner: what a pool with these numbers should do next, and why.
//!
//! [`plan`] is a pure function of a [`View`]. The pool calls it after every event; a command line
//! tool can call it with a view of its own to show what would happen.

mod calm;
mod fallback;
mod grow;
mod hold;
mod ipv6;
mod ration;
mod reason;
mod shrink;
mod target;

use std::time::Duration;

pub(crate) use self::calm::{Calm, Outline, calm};
pub use self::{
    hold::{Holds, KindHold, SubnetHolds},
    reason::{Reason, Shortage},
    target::{Need, Totals},
};
use crate::{
    addr::Prefix,
    budget::Calls,
    class::Standing,
    cloud::AddressCount,
    config::{AllocationMode, Family, PoolConfig},
    id::EniId,
    policy::Band,
    time::Time,
};

/// Least time between two releases of addresses, so that a pod that comes back finds some. The
/// reference's value.
pub const SHRINK_GAP: Duration = Duration::from_secs(30);
/// Least time that an ENI stays: attaching one takes seconds and EC2 calls. The reference's value.
pub const ENI_AGE_MIN: Duration = Duration::from_secs(60);

/// One ENI as the planner sees it. "Serving" are the CIDRs of the current allocation mode that the
/// cloud confirms. The other kind serves existing pods only, but for single addresses in prefix
/// mode: they are a fallback for a subnet without free blocks, and are counted apart.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EniView {
    /// EC2 id.
    pub id: EniId,
    /// Device index.
    pub device: u32,
    /// What the pool does with it. Only those that serve have serving CIDRs.
    pub standing: Standing,
    /// False for the primary ENI and for those that carry more than pods.
    pub freeable: bool,
    /// When it joined the pool.
    pub since: Time,
    /// False while the host cannot be set up for it: counts as an ENI, but not as capacity.
    pub usable: bool,
    /// A cloud operation is under way, or addresses are on their way out.
    pub busy: bool,
    /// The host's side is what it should be.
    pub settled: bool,
    /// Growth of this ENI failed; try again then.
    pub hold_until: Option<Time>,
    /// Slots in use: CIDRs of either kind, those on their way out included.
    pub taken: u32,
    /// Slots of CIDRs on their way out, counted in `taken`.
    pub leaving: u32,
    /// Slots that a growth under way will take.
    pub incoming: u32,
    /// Of these, slots of single addresses in prefix mode.
    pub incoming_singles: u32,
    /// What its subnet has refused lately.
    pub holds: SubnetHolds,
    /// Serving CIDRs.
    pub entries: u64,
    /// Serving CIDRs without a lease.
    pub unleased: u64,
    /// Addresses in serving CIDRs.
    pub total: u64,
    /// Of these, leased.
    pub assigned: u64,
    /// Of these, resting.
    pub cooling: u64,
    /// Single addresses in prefix mode.
    pub singles: u64,
    /// Of these, leased.
    pub singles_assigned: u64,
    /// Of these, resting.
    pub singles_cooling: u64,
    /// Leased or resting addresses in CIDRs of any kind.
    pub occupied: u64,
    /// Serving CIDRs with neither lease nor resting address: may be released.
    pub idle: Vec<Prefix>,
    /// The same of single addresses in prefix mode.
    pub idle_singles: Vec<Prefix>,
    /// CIDRs that serve nobody, with neither lease nor resting address: of the other allocation mode, or
    /// of an ENI that is retired.
    pub foreign_idle: Vec<Prefix>,
}

impl EniView {
    /// An empty, usable ENI that joined at the epoch. The primary ENI has device 0.
    pub fn new(id: EniId, device: u32) -> Self {
        Self {
            id,
            device,
            standing: Standing::Active,
            freeable: device != 0,
            since: Time::ZERO,
            usable: true,
            busy: false,
            settled: true,
            hold_until: None,
            taken: 0,
            leaving: 0,
            incoming: 0,
            incoming_singles: 0,
            holds: SubnetHolds::default(),
            entries: 0,
            unleased: 0,
            total: 0,
            assigned: 0,
            cooling: 0,
            singles: 0,
            singles_assigned: 0,
            singles_cooling: 0,
            occupied: 0,
            idle: Vec::new(),
            idle_singles: Vec::new(),
            foreign_idle: Vec::new(),
        }
    }

    /// Slots that neither a CIDR nor a growth under way takes.
    fn free_slots(&self, config: &PoolConfig) -> u32 {
        config.slots.saturating_sub(self.taken.saturating_add(self.incoming))
    }
}

/// The pool as the planner sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct View {
    /// ENIs of the pool, in any order.
    pub enis: Vec<EniView>,
    /// Attached ENIs that take a place but are not the pool's: unmanaged and EFA-only ones, those
    /// being deleted.
    pub other_enis: u32,
    /// A trunk is attached.
    pub trunk: bool,
    /// Pods that wait for an address.
    pub waiting: u64,
    /// A new ENI under way, with what it will hold.
    pub creating: Option<AddressCount>,
    /// An ENI is being deleted.
    pub deleting: bool,
    /// The node is going away.
    pub draining: bool,
    /// The node takes no new pods from the scheduler.
    pub unschedulable: bool,
    /// EC2 itself, not just instance metadata, has described the ENIs.
    pub confirmed: bool,
    /// When addresses were last released.
    pub last_shrink: Option<Time>,
    /// What holds growth back.
    pub holds: Holds,
    /// What EC2 calls may be made.
    pub calls: Calls,
    /// How many addresses a warm policy wants free, instead of the configured targets.
    pub band: Option<Band>,
}

/// One step of growth.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Growth {
    /// Add addresses to an ENI.
    Assign {
        /// ENI.
        eni: EniId,
        /// How many.
        count: AddressCount,
    },
    /// Attach another ENI.
    Create {
        /// Addresses it should be born with.
        count: AddressCount,
    },
}

/// One step of shrinking.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Shrink {
    /// Delete an ENI.
    Free {
        /// ENI.
        eni: EniId,
    },
    /// Release addresses of an ENI.
    Release {
        /// ENI.
        eni: EniId,
        /// What to release.
        cidrs: Vec<Prefix>,
    },
}

/// What to do next, all of it at once.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Growth, each step on another ENI.
    pub grow: Vec<Growth>,
    /// Shrinking, each step on another ENI but for CIDRs of the other allocation mode. Empty unless
    /// `grow` is, but for what serves nobody any more, which goes as soon as it is idle, and for single
    /// addresses that make room for prefixes.
    pub shrink: Vec<Shrink>,
    /// Why, in numbers.
    pub reason: Reason,
    /// When the answer may change with nothing but time.
    pub revisit: Option<Time>,
}

impl Plan {
    fn idle(reason: Reason) -> Self {
        Self { grow: Vec::new(), shrink: Vec::new(), reason, revisit: None }
    }
}

/// Decides what a pool that looks like `view` should do at `now`.
///
/// Executing a plan and planning again reaches an empty plan, if the pods do not change.
pub fn plan(view: &View, config: &PoolConfig, now: Time) -> Plan {
    let mut plan = unrationed(view, config, now);
    ration::ration(&mut plan, view);
    plan
}

fn unrationed(view: &View, config: &PoolConfig, now: Time) -> Plan {
    if !config.provisions() {
        return Plan::idle(Reason::ProvisioningDisabled);
    }
    if view.draining {
        return Plan::idle(Reason::Draining);
    }
    if config.family == Family::V6 {
        return ipv6::plan(view, config, now);
    }
    let totals = Totals::of(view, config);
    let need = Need::of(&totals, config);
    let mut plan = match need {
        Need::Slots { .. } if is_cordoned(view, config) => Plan::idle(Reason::Unschedulable),
        Need::Slots { .. } => grow::grow(view, &totals, need, config, now),
        Need::MaxPods if view.waiting > 0 => {
            Plan::idle(Reason::MaxPods { total: totals.expected(), max_pods: config.max_pods })
        }
        Need::MaxPods | Need::Nothing => shrink::shrink(view, &totals, config, now),
    };
    if view.confirmed {
        shrink::unwanted(view, config, now, &mut plan);
    }
    plan
}

/// True if the node takes no new pods, and ENIs are to be left as they are because of that.
fn is_cordoned(view: &View, config: &PoolConfig) -> bool {
    view.unschedulable && !config.manage_unschedulable
}

/// Places for ENIs that are kept for a trunk.
pub(crate) fn trunk_places(view: &View, config: &PoolConfig) -> u32 {
    u32::from(config.expects_trunk() && !view.trunk)
}

/// True if [`plan`] could make use of the lists of idle CIDRs in the view. Lets a caller leave them
/// empty, which makes planning after each pod cheap.
pub fn wants_idle_lists(view: &View, config: &PoolConfig) -> bool {
    let totals = Totals::of(view, config);
    config.family == Family::V4
        && (shrink::surplus(&totals, config) > 0 || totals.singles_idle() > 0)
}

pub(crate) fn count(mode: AllocationMode, slots: u32) -> AddressCount {
    match mode {
        AllocationMode::Prefix => AddressCount::Prefixes(slots),
        AllocationMode::Secondary => AddressCount::Secondary(slots),
    }
}

/// The earlier one of two optional times.
pub(crate) fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
