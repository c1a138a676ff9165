//! Growth: where the missing slots come from.

use super::{
    EniView, Growth, Need, Plan, Reason, Shortage, Totals, View, count, earlier, trunk_places,
};
use crate::{
    config::{AllocationMode, CustomNetwork, PoolConfig},
    time::Time,
};

/// Slots on existing ENIs first, lowest device first; then one more ENI. Several ENIs may grow at
/// once, one ENI is created at a time.
pub(super) fn grow(
    view: &View,
    totals: &Totals,
    need: Need,
    config: &PoolConfig,
    now: Time,
) -> Plan {
    let Need::Slots { slots, whole_enis, slots_max, shortage } = need else {
        return Plan {
            grow: Vec::new(),
            shrink: Vec::new(),
            reason: Reason::Settled { totals: *totals },
            revisit: None,
        };
    };
    let mut search = Search {
        view,
        config,
        now,
        whole_enis,
        need: slots,
        allowed: slots_max,
        steps: Vec::new(),
        revisit: None,
        moving: view.creating.is_some()
            || view.deleting
            || super::shrink::retired_to_free(view, config, now).0.is_some(),
        missing_config: None,
    };
    search.existing_enis();
    search.new_eni();
    let reason = search.reason(totals, shortage);
    Plan { grow: search.steps, shrink: Vec::new(), reason, revisit: search.revisit }
}

struct Search<'a> {
    view: &'a View,
    config: &'a PoolConfig,
    now: Time,
    whole_enis: bool,
    /// Slots still to find.
    need: u64,
    /// Slots that may still be added without passing the pods of the node.
    allowed: u64,
    steps: Vec<Growth>,
    revisit: Option<Time>,
    /// Something under way may end the shortage or make room.
    moving: bool,
    /// The `ENIConfig` that a new ENI would need.
    missing_config: Option<&'a str>,
}

impl Search<'_> {
    /// True, and remembered as a time to look again, if `hold` is not over.
    fn held(&mut self, hold: Option<Time>) -> bool {
        match hold {
            Some(until) if until > self.now => {
                self.revisit = earlier(self.revisit, Some(until));
                true
            }
            _ => false,
        }
    }

    fn subnet_paused(&mut self) -> bool {
        let holds = &self.view.holds;
        match self.config.mode {
            AllocationMode::Prefix => self.held(holds.prefixes),
            AllocationMode::Secondary => self.held(holds.secondary),
        }
    }

    /// How many of `free` slots to ask for.
    fn ask(&self, free: u64) -> u32 {
        let wanted = if self.whole_enis { free } else { free.min(self.need) };
        let ask_max = self.view.holds.ask_max.map_or(u64::MAX, u64::from);
        u32::try_from(wanted.min(self.allowed).min(ask_max)).unwrap_or(u32::MAX)
    }

    fn take(&mut self, slots: u64) {
        self.need = self.need.saturating_sub(slots);
        self.allowed = self.allowed.saturating_sub(slots);
    }

    /// A short subnet is probed with one request at a time.
    fn probing(&self) -> bool {
        self.view.holds.ask_max.is_some() && !self.steps.is_empty()
    }

    fn existing_enis(&mut self) {
        if self.held(self.view.holds.all) {
            return;
        }
        let mut enis: Vec<&EniView> =
            self.view.enis.iter().filter(|e| e.usable && e.standing.grows()).collect();
        enis.sort_by_key(|e| (e.device, &e.id));
        for eni in enis {
            let free =
                u64::from(self.config.slots.saturating_sub(eni.taken.saturating_add(eni.incoming)));
            if self.need == 0 || self.allowed == 0 || self.probing() {
                return;
            }
            let vacated = u64::from(eni.leaving) + eni.foreign_idle.len() as u64;
            if eni.busy || vacated > 0 {
                // Its free slots, and those it is giving up, can be asked for within the second
                // it takes; a new ENI takes ten.
                self.moving = true;
                self.take(free + vacated);
                continue;
            }
            if free == 0 || self.held(eni.hold_until) || self.subnet_paused() {
                continue;
            }
            let slots = self.ask(free);
            self.steps.push(Growth::Assign {
                eni: eni.id.clone(),
                count: count(self.config.mode, slots),
            });
            self.take(u64::from(slots));
        }
    }

    fn new_eni(&mut self) {
        if self.need == 0
            || self.allowed == 0
            || self.probing()
            || !has_room(self.view, self.config)
        {
            return;
        }
        if let CustomNetwork::Missing { name } = &self.config.custom_network {
            self.missing_config = Some(name);
            return;
        }
        let holds = self.view.holds.clone();
        let held = self.held(holds.all)
            | self.held(holds.create)
            | self.subnet_paused()
            // The ENI itself takes an address.
            | self.held(holds.secondary);
        if held || self.view.creating.is_some() {
            return;
        }
        let slots = self.ask(u64::from(self.config.slots));
        self.steps.push(Growth::Create { count: count(self.config.mode, slots) });
        self.take(u64::from(slots));
    }

    fn reason(&self, totals: &Totals, shortage: Shortage) -> Reason {
        if !self.steps.is_empty() {
            return Reason::Growing(shortage);
        }
        if self.moving {
            return Reason::InFlight { incoming: totals.incoming };
        }
        if let Some(name) = self.missing_config {
            return Reason::NoEniConfig { name: name.to_owned() };
        }
        let holds = &self.view.holds;
        let paused = match self.config.mode {
            AllocationMode::Prefix => holds.prefixes,
            AllocationMode::Secondary => holds.secondary,
        };
        match (self.revisit, paused.filter(|until| *until > self.now)) {
            (Some(_), Some(until)) => Reason::SubnetExhausted { mode: self.config.mode, until },
            (Some(until), None) => Reason::Held { until },
            (None, _) => Reason::Full {
                assigned: totals.assigned,
                total: totals.total,
                enis: attached(self.view),
                max_enis: self.config.max_enis,
                slots: self.config.slots,
                mode: self.config.mode,
                trunk_place: trunk_limits(self.view, self.config),
                retired: retired(self.view),
            },
        }
    }
}

/// Places that are taken, ENIs under way included.
pub(super) fn attached(view: &View) -> u64 {
    view.enis.len() as u64 + u64::from(view.other_enis) + u64::from(view.creating.is_some())
}

/// True if one more ENI may be attached.
pub(super) fn has_room(view: &View, config: &PoolConfig) -> bool {
    attached(view) + u64::from(trunk_places(view, config)) < u64::from(config.max_enis)
}

/// True if there would be room but for the place that is kept for the trunk.
pub(super) fn trunk_limits(view: &View, config: &PoolConfig) -> bool {
    trunk_places(view, config) > 0 && attached(view) < u64::from(config.max_enis)
}

/// ENIs that take a place but serve no new pods.
pub(super) fn retired(view: &View) -> u64 {
    view.enis.iter().filter(|e| !e.standing.serves()).count() as u64
}
