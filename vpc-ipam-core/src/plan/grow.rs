//! Growth: where the missing slots come from.

use super::{
    EniView, Growth, KindHold, Need, Plan, Reason, Shortage, Shrink, Totals, View, count, earlier,
    fallback, shrink, trunk_places,
};
use crate::{
    config::{AllocationMode, CustomNetwork, PoolConfig},
    id::EniId,
    time::Time,
};

/// Slots on existing ENIs first, lowest device first; then one more ENI. Several ENIs may grow at
/// once, one ENI is created at a time. What a subnet without free blocks cannot give as prefixes
/// comes as single addresses.
pub(super) fn grow(
    view: &View,
    totals: &Totals,
    need: Need,
    config: &PoolConfig,
    now: Time,
) -> Plan {
    let Need::Slots { slots, whole_enis, slots_max, shortage } = need else {
        return Plan::idle(Reason::Settled { totals: *totals });
    };
    let mut search = Search::new(view, config, config.mode, now);
    search.whole_enis = whole_enis;
    search.need = slots;
    search.allowed = slots_max;
    search.existing_enis();
    if config.mode == AllocationMode::Prefix {
        fallback::make_room(&mut search, totals, false);
    }
    search.new_eni();
    // An ENI on its way is born with a slot for that request.
    let last = search.places_left() == 0 && view.creating.is_none();
    if config.mode == AllocationMode::Prefix && last {
        fallback::make_room(&mut search, totals, true);
    }
    if search.lacks_blocks() {
        return fallback::singles(search, totals, shortage);
    }
    let reason = search.reason(totals, shortage);
    Plan { grow: search.steps, shrink: search.vacate, reason, revisit: search.revisit }
}

pub(super) struct Search<'a> {
    pub(super) view: &'a View,
    pub(super) config: &'a PoolConfig,
    /// What is asked for.
    pub(super) kind: AllocationMode,
    pub(super) now: Time,
    whole_enis: bool,
    /// Slots still to find.
    pub(super) need: u64,
    /// Slots that may still be added without passing the pods of the node.
    pub(super) allowed: u64,
    pub(super) steps: Vec<Growth>,
    /// What gives way to growth that will be planned once it is gone.
    pub(super) vacate: Vec<Shrink>,
    pub(super) revisit: Option<Time>,
    /// Something under way may end the shortage or make room.
    pub(super) moving: bool,
    /// Until when some place for what is needed is held because its subnet had nothing to give.
    pub(super) exhausted: Option<Time>,
    /// The `ENIConfig` that a new ENI would need.
    missing_config: Option<&'a str>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        view: &'a View,
        config: &'a PoolConfig,
        kind: AllocationMode,
        now: Time,
    ) -> Self {
        Self {
            view,
            config,
            kind,
            now,
            whole_enis: false,
            need: 0,
            allowed: 0,
            steps: Vec::new(),
            vacate: Vec::new(),
            revisit: None,
            moving: view.creating.is_some()
                || view.deleting
                || shrink::retired_to_free(view, config, now).0.is_some(),
            exhausted: None,
            missing_config: None,
        }
    }

    /// True, and remembered as a time to look again, if `hold` is not over.
    pub(super) fn held(&mut self, hold: Option<Time>) -> bool {
        match hold {
            Some(until) if until > self.now => {
                self.revisit = earlier(self.revisit, Some(until));
                true
            }
            _ => false,
        }
    }

    /// The same for what a subnet has refused.
    pub(super) fn paused(&mut self, hold: KindHold) -> bool {
        let held = self.held(hold.until);
        if held {
            self.exhausted = earlier(self.exhausted, hold.until);
        }
        held
    }

    pub(super) fn done(&self) -> bool {
        self.need == 0 || self.allowed == 0
    }

    /// How many of `free` slots to ask for.
    fn ask(&self, free: u64, hold: KindHold) -> u64 {
        let wanted = if self.whole_enis { free } else { free.min(self.need) };
        wanted.min(self.allowed).min(hold.ask_max.map_or(u64::MAX, u64::from))
    }

    pub(super) fn take(&mut self, slots: u64) {
        self.need = self.need.saturating_sub(slots);
        self.allowed = self.allowed.saturating_sub(slots);
    }

    /// A short subnet is probed with one request at a time.
    pub(super) fn probing(&self, hold: KindHold) -> bool {
        hold.ask_max.is_some() && !self.steps.is_empty()
    }

    /// ENIs that may grow, in the order in which they grow.
    pub(super) fn enis(&self) -> Vec<&'a EniView> {
        let grows = |e: &&EniView| e.usable && e.standing.grows();
        let mut enis: Vec<&EniView> = self.view.enis.iter().filter(grows).collect();
        enis.sort_by_key(|e| (e.device, &e.id));
        enis
    }

    fn existing_enis(&mut self) {
        self.existing_enis_but(|_| false);
    }

    /// Existing ENIs, without those that something else has been planned for.
    pub(super) fn existing_enis_but(&mut self, taken: impl Fn(&EniId) -> bool) {
        if self.held(self.view.holds.all) {
            return;
        }
        for eni in self.enis() {
            if self.done() {
                return;
            }
            if !taken(&eni.id) {
                self.existing_eni(eni);
            }
        }
    }

    fn existing_eni(&mut self, eni: &EniView) {
        let free = u64::from(eni.free_slots(self.config));
        let hold = eni.holds.of(self.kind);
        if self.probing(hold) {
            return;
        }
        let vacated = u64::from(eni.leaving) + eni.foreign_idle.len() as u64;
        if eni.busy || vacated > 0 {
            if self.kind == AllocationMode::Prefix && self.paused(hold) {
                return;
            }
            // Its free slots, and those it is giving up, can be asked for within the second
            // it takes; a new ENI takes ten.
            self.moving = true;
            self.take(free + vacated);
            return;
        }
        if free == 0 || self.held(eni.hold_until) || self.paused(hold) {
            return;
        }
        self.assign(eni, self.ask(free, hold));
    }

    fn assign(&mut self, eni: &EniView, slots: u64) {
        let count = count(self.kind, u32::try_from(slots).unwrap_or(u32::MAX));
        self.steps.push(Growth::Assign { eni: eni.id.clone(), count });
        self.take(slots);
    }

    pub(super) fn new_eni(&mut self) {
        let hold = self.view.holds.new_eni.of(self.kind);
        if self.done() || self.probing(hold) || self.places_left() == 0 {
            return;
        }
        if let CustomNetwork::Missing { name } = &self.config.custom_network {
            self.missing_config = Some(name);
            return;
        }
        let holds = self.view.holds;
        let held = self.held(holds.all)
            | self.held(holds.create)
            | self.paused(hold)
            // The ENI itself takes an address.
            | self.held(holds.new_eni.secondary.until);
        if held || self.view.creating.is_some() {
            return;
        }
        let slots = self.ask(u64::from(self.config.slots), hold);
        let count = count(self.kind, u32::try_from(slots).unwrap_or(u32::MAX));
        self.steps.push(Growth::Create { count });
        self.take(slots);
    }

    /// ENIs that the node can still have.
    pub(super) fn places_left(&self) -> u64 {
        places_left(self.view, self.config)
    }

    /// True if prefixes are needed where the subnet has no free block.
    fn lacks_blocks(&self) -> bool {
        self.kind == AllocationMode::Prefix && !self.done() && self.exhausted.is_some()
    }

    pub(super) fn reason(&self, totals: &Totals, shortage: Shortage) -> Reason {
        if !self.steps.is_empty() {
            return Reason::Growing(shortage);
        }
        if self.moving {
            return Reason::InFlight { incoming: totals.incoming };
        }
        if let Some(name) = self.missing_config {
            return Reason::NoEniConfig { name: name.to_owned() };
        }
        match (self.revisit, self.exhausted) {
            (Some(_), Some(until)) => Reason::SubnetExhausted { mode: self.kind, until },
            (Some(until), None) => Reason::Held { until },
            (None, _) => Reason::Full {
                assigned: totals.assigned + totals.singles_assigned,
                total: totals.total + totals.singles,
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

fn places_left(view: &View, config: &PoolConfig) -> u64 {
    let taken = attached(view) + u64::from(trunk_places(view, config));
    u64::from(config.max_enis).saturating_sub(taken)
}

/// True if one more ENI may be attached.
pub(super) fn has_room(view: &View, config: &PoolConfig) -> bool {
    places_left(view, config) > 0
}

/// True if there would be room but for the place that is kept for the trunk.
pub(super) fn trunk_limits(view: &View, config: &PoolConfig) -> bool {
    trunk_places(view, config) > 0 && attached(view) < u64::from(config.max_enis)
}

/// ENIs that take a place but serve no new pods.
pub(super) fn retired(view: &View) -> u64 {
    view.enis.iter().filter(|e| !e.standing.serves()).count() as u64
}
