//! Single addresses in prefix mode: what serves while the subnet has no free block for a prefix.
//!
//! A single address takes a slot that a prefix could have. So no more are asked for than the pods
//! that wait and the warm targets need, one slot stays free to find out whether there are blocks
//! again, and once prefixes cover the targets all singles without a pod go.

use super::{
    EniView, Growth, Need, Plan, Reason, Shortage, Shrink, Totals, View, earlier, grow::Search,
    shrink,
};
use crate::{
    config::{AllocationMode, PoolConfig},
    time::Time,
};

/// Gives up idle single addresses where there is no other slot for the prefixes that are needed,
/// but none that a waiting pod is about to get. With `probe`, for the request that finds out whether
/// there are blocks at all.
pub(super) fn make_room(search: &mut Search<'_>, totals: &Totals, probe: bool) {
    if !search.view.confirmed || search.held(search.view.holds.all) {
        return;
    }
    if probe && search.enis().iter().any(|eni| has_slot_soon(eni, search.config)) {
        return;
    }
    let mut spare = totals.singles_idle().saturating_sub(search.view.waiting);
    for eni in search.enis() {
        let hold = eni.holds.prefixes;
        if search.done() || spare == 0 || (probe && !search.steps.is_empty()) {
            return;
        }
        let grows = |step: &Growth| matches!(step, Growth::Assign { eni: id, .. } if *id == eni.id);
        let busy = eni.busy || !eni.settled || search.steps.iter().any(grows);
        if busy || eni.idle_singles.is_empty() || hold.ask_max.is_some() != probe {
            continue;
        }
        if search.paused(hold) {
            continue;
        }
        let wanted = if probe { 1 } else { search.need.min(spare) };
        let cidrs = shrink::last(&eni.idle_singles, wanted);
        let given = cidrs.len() as u64;
        search.vacate.push(Shrink::Release { eni: eni.id.clone(), cidrs });
        spare -= given;
        search.take(given);
        search.moving = true;
        if probe {
            return;
        }
    }
}

/// True if a request for a prefix is under way, or can be made once something else has ended.
fn has_slot_soon(eni: &EniView, config: &PoolConfig) -> bool {
    let asked = eni.incoming > eni.incoming_singles;
    asked || eni.leaving > 0 || (eni.busy && eni.free_slots(config) > 0)
}

/// Completes the search for prefixes, which met a subnet without free blocks, with single
/// addresses: as many as are missing, or fewer of them if there are too many.
pub(super) fn singles(prefixes: Search<'_>, totals: &Totals, shortage: Shortage) -> Plan {
    let (view, config, now) = (prefixes.view, prefixes.config, prefixes.now);
    let until = prefixes.exhausted.unwrap_or(now);
    let mut sums = totals.with_singles();
    let asked = prefixes.steps.iter().map(slots).sum::<u64>();
    sums.incoming += asked * u64::from(config.addresses_per_slot());
    let mut plan = Plan {
        grow: prefixes.steps,
        shrink: prefixes.vacate,
        reason: fallback(totals, 0, until, None),
        revisit: prefixes.revisit,
    };
    let Need::Slots { slots: need, slots_max, .. } = Need::of_singles(&sums, config) else {
        if plan.grow.is_empty() && plan.shrink.is_empty() {
            release_surplus(&mut plan, view, &sums, config, now);
        }
        return plan;
    };
    let urgent = sums.unserved();
    let mut search = Search::new(view, config, AllocationMode::Secondary, now);
    find(&mut search, &plan.grow, (need, slots_max, urgent));
    plan.revisit = earlier(plan.revisit, search.revisit);
    let asked = search.steps.iter().map(slots).sum();
    plan.reason = if asked == 0 && plan.grow.is_empty() && urgent > 0 {
        search.reason(totals, shortage)
    } else {
        fallback(totals, asked, until, Some(shortage))
    };
    plan.grow.extend(search.steps);
    plan
}

/// Slots for `need` single addresses, of which `urgent` ones are for pods that wait. Only for those
/// is the last slot of the node taken: without one, nobody could tell when prefixes are to be had
/// again, but by giving up an address that is missing afterwards.
fn find(search: &mut Search<'_>, grow: &[Growth], (need, slots_max, urgent): (u64, u64, u64)) {
    let free: u64 = search.enis().iter().map(|e| u64::from(e.free_slots(search.config))).sum();
    let last = search.places_left() == 0;
    let kept = if last { need.saturating_sub(urgent.max(free.saturating_sub(1))) } else { 0 };
    search.need = need - kept;
    search.allowed = slots_max;
    search.existing_enis_but(|id| {
        grow.iter().any(|step| matches!(step, Growth::Assign { eni, .. } if eni == id))
    });
    if grow.iter().any(|step| matches!(step, Growth::Create { .. })) {
        return;
    }
    if search.places_left() == 1 {
        let urgent = urgent.saturating_sub(need - search.need);
        let most = urgent.max(u64::from(search.config.slots.saturating_sub(1)));
        search.need = search.need.min(most);
    }
    search.new_eni();
}

/// While there are no prefixes to be had: single addresses beyond what the targets ask for.
fn release_surplus(plan: &mut Plan, view: &View, sums: &Totals, config: &PoolConfig, now: Time) {
    let surplus = shrink::surplus_singles(sums, config);
    if surplus == 0 || view.waiting > 0 || shrink::unsettled(view, sums) {
        return;
    }
    if let Some(later) = shrink::too_early(view, now) {
        plan.revisit = earlier(plan.revisit, Some(later));
        return;
    }
    let (steps, released) = shrink::release(view, surplus, |eni| &eni.idle_singles);
    if released > 0 {
        plan.shrink = steps;
        plan.reason = Reason::Surplus {
            released,
            available: sums.available(),
            mode: AllocationMode::Secondary,
            band: sums.band,
        };
    }
}

fn fallback(totals: &Totals, asked: u64, until: Time, shortage: Option<Shortage>) -> Reason {
    Reason::Fallback {
        singles: totals.singles,
        assigned: totals.singles_assigned,
        coming: totals.incoming_singles + asked,
        until,
        shortage,
    }
}

fn slots(step: &Growth) -> u64 {
    match step {
        Growth::Assign { count, .. } | Growth::Create { count } => u64::from(count.slots()),
    }
}

#[cfg(test)]
mod tests;
