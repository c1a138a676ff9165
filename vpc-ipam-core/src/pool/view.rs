//! The pool as the planner sees it.

use super::Pool;
use crate::{
    cloud::{AddressCount, EniKind},
    config::AllocationMode,
    eni::Eni,
    plan::{EniView, View},
};

impl Pool {
    /// The pool as the planner sees it, lists of idle CIDRs included.
    pub fn view(&self) -> View {
        let mut view = self.summary();
        self.fill_idle_lists(&mut view);
        view
    }

    /// The view without its lists: costs no more than the number of ENIs.
    pub(super) fn summary(&self) -> View {
        let summary = |eni: &Eni| {
            let mut view = summary(eni);
            view.usable &= !self.lacks_ipv6(eni);
            view.holds = self.growth.supply.holds_of(&eni.subnet);
            view
        };
        let enis = self.enis.values().filter(|eni| is_in_view(eni)).map(summary).collect();
        View { enis, ..self.frame(self.has_trunk()) }
    }

    /// The view without its ENIs; `trunk`: the cloud shows one.
    pub(super) fn frame(&self, trunk: bool) -> View {
        let departing = self.departing.values().filter(|d| d.delete).count();
        View {
            enis: Vec::new(),
            other_enis: narrow(self.foreign.len() + departing),
            trunk,
            unschedulable: self.unschedulable,
            waiting: self.waiting.anyone() as u64,
            creating: self.growth.creating.values().next().copied(),
            deleting: departing > 0,
            draining: self.draining,
            confirmed: self.describing.vouches(),
            last_shrink: self.growth.last_shrink,
            holds: self.growth.holds(),
            calls: self.calls(),
            band: self.policy.band(),
        }
    }

    /// The cloud shows a trunk, whoever has it.
    pub(super) fn has_trunk(&self) -> bool {
        self.foreign_trunk || self.enis.values().any(is_trunk)
    }

    pub(super) fn has_foreign_idle(&self) -> bool {
        self.enis.values().any(|eni| eni.tally().foreign_idle > 0)
    }

    pub(super) fn fill_idle_lists(&self, view: &mut View) {
        for eni_view in &mut view.enis {
            let Some(eni) = self.enis.get(&eni_view.id) else { continue };
            for (prefix, cidr) in eni.cidrs() {
                let free = cidr.slots.leased() == 0 && cidr.slots.resting() == 0;
                if !free || !cidr.confirmed {
                    continue;
                }
                let duty = eni.duty();
                if !duty.standing.shrinks() {
                    continue;
                }
                if duty.serves(prefix) {
                    eni_view.idle.push(*prefix);
                } else if duty.stands_in(prefix) {
                    eni_view.idle_singles.push(*prefix);
                } else {
                    eni_view.foreign_idle.push(*prefix);
                }
            }
        }
    }
}

pub(super) fn is_trunk(eni: &Eni) -> bool {
    !eni.missing && eni.traits.kind == EniKind::Trunk
}

/// What has been disowned is among the foreign ones.
pub(super) fn is_in_view(eni: &Eni) -> bool {
    !eni.missing && !eni.traits.disowned
}

/// One ENI as the planner sees it, but for what is said of its subnet.
pub(super) fn summary(eni: &Eni) -> EniView {
    let tally = eni.tally();
    let mut view = EniView::new(eni.id.clone(), eni.device);
    view.standing = eni.duty().standing;
    view.freeable = eni.traits.freeable();
    view.since = eni.since;
    view.usable = eni.usable();
    view.busy = eni.op.is_some() || !eni.leaving.is_empty();
    view.settled = eni.settled();
    view.hold_until = eni.hold_until;
    view.leaving = narrow(eni.leaving.len());
    view.taken = narrow(usize::try_from(tally.slots).unwrap_or(usize::MAX));
    view.taken = view.taken.saturating_add(view.leaving);
    let adds = eni.op.and_then(|(_, adds)| adds);
    view.incoming = adds.map_or(0, AddressCount::slots);
    view.incoming_singles = match adds {
        Some(AddressCount::Secondary(n)) if eni.duty().mode == AllocationMode::Prefix => n,
        _ => 0,
    };
    view.singles = tally.singles;
    view.singles_assigned = tally.singles_assigned;
    view.singles_cooling = tally.singles_cooling;
    view.entries = tally.entries;
    view.unleased = tally.unleased;
    view.total = tally.total;
    view.assigned = tally.assigned;
    view.cooling = tally.cooling;
    view.occupied = tally.leased + tally.resting;
    view
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
