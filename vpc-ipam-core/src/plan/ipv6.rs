//! IPv6: one prefix on every ENI, for good.
//!
//! A prefix holds more addresses than a node can ever use, so that there is nothing to keep warm, nothing
//! to give back, and no reason for more than one ENI on a card.

use super::{
    EniView, Growth, Plan, Reason, Shortage, SubnetHolds, Totals, View, earlier,
    grow::{attached, has_room, retired, trunk_limits},
    is_cordoned,
};
use crate::{cloud::AddressCount, config::PoolConfig, time::Time};

/// What an ENI is asked for: never more than one.
const ONE: AddressCount = AddressCount::Ipv6Prefixes(1);

/// Addresses of a delegated prefix, a /80.
const PREFIX_SIZE: u64 = 1 << 48;

pub(super) fn plan(view: &View, config: &PoolConfig, now: Time) -> Plan {
    let mut totals = Totals::of(view, config);
    totals.incoming = totals.incoming_entries.saturating_mul(PREFIX_SIZE);
    let settled = Reason::Settled { totals };
    let mut plan = Plan { grow: Vec::new(), shrink: Vec::new(), reason: settled, revisit: None };
    // Not the trunk, nor an ENI whose subnet is excluded.
    let mut ours = view.enis.iter().filter(|eni| eni.standing.grows()).peekable();
    let create = ours.peek().is_none();
    let mut without: Vec<&EniView> = ours.filter(|eni| eni.usable && eni.entries == 0).collect();
    if without.is_empty() && !create {
        return plan;
    }
    if is_cordoned(view, config) {
        plan.reason = Reason::Unschedulable;
        return plan;
    }
    // Metadata may lag behind: what it does not show yet would be asked for twice.
    if !view.confirmed {
        plan.reason = Reason::Unconfirmed;
        return plan;
    }
    without.sort_by_key(|eni| (eni.device, &eni.id));
    let mut search = Search { view, now, moving: view.deleting, revisit: None, exhausted: None };
    let assign = |eni: &EniView| Growth::Assign { eni: eni.id.clone(), count: ONE };
    plan.grow = without.iter().filter(|eni| search.may_grow(eni)).map(|eni| assign(eni)).collect();
    let create = create && search.may_create(config);
    plan.grow.extend(create.then_some(Growth::Create { count: ONE }));
    plan.revisit = search.revisit;
    plan.reason = if plan.grow.is_empty() {
        search.reason(&totals, config)
    } else {
        let (enis, without) = (view.enis.len() as u64, without.len() as u64);
        Reason::Growing(Shortage::Ipv6Prefix { enis, without, waiting: view.waiting })
    };
    plan
}

struct Search<'a> {
    view: &'a View,
    now: Time,
    /// Something under way may end the shortage or make room.
    moving: bool,
    revisit: Option<Time>,
    /// Until when a subnet that had no block is not asked again.
    exhausted: Option<Time>,
}

impl Search<'_> {
    fn held(&mut self, hold: Option<Time>) -> bool {
        let hold = hold.filter(|until| *until > self.now);
        self.revisit = earlier(self.revisit, hold);
        hold.is_some()
    }

    fn paused(&mut self, holds: SubnetHolds) -> bool {
        let paused = self.held(holds.prefixes.until);
        if paused {
            self.exhausted = earlier(self.exhausted, holds.prefixes.until);
        }
        paused
    }

    fn may_grow(&mut self, eni: &EniView) -> bool {
        if eni.busy || eni.incoming > 0 {
            self.moving = true;
            return false;
        }
        let all = self.view.holds.all;
        !(self.held(all) | self.paused(eni.holds) | self.held(eni.hold_until))
    }

    fn may_create(&mut self, config: &PoolConfig) -> bool {
        if self.view.creating.is_some() {
            self.moving = true;
            return false;
        }
        let holds = self.view.holds;
        has_room(self.view, config)
            && !(self.held(holds.all)
                | self.held(holds.create)
                | self.paused(holds.new_eni)
                | self.held(holds.new_eni.secondary.until))
    }

    fn reason(&self, totals: &Totals, config: &PoolConfig) -> Reason {
        if self.moving {
            return Reason::InFlight { incoming: totals.incoming };
        }
        match (self.exhausted, self.revisit) {
            (Some(until), _) => Reason::Ipv6Exhausted { until },
            (None, Some(until)) => Reason::Held { until },
            (None, None) => Reason::Full {
                assigned: totals.assigned,
                total: totals.total,
                enis: attached(self.view),
                max_enis: config.max_enis,
                slots: config.slots,
                mode: config.mode,
                trunk_place: trunk_limits(self.view, config),
                retired: retired(self.view),
            },
        }
    }
}
