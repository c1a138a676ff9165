//! Shrinking: which addresses and which ENI the node can do without.

use super::{
    ENI_AGE_MIN, EniView, Need, Plan, Reason, SHRINK_GAP, Shrink, Totals, View, earlier,
    is_cordoned,
};
use crate::{
    class::Standing,
    config::{AllocationMode, PoolConfig},
    time::Time,
};

/// Frees an ENI if the others satisfy every target without it, else releases surplus addresses.
pub(super) fn shrink(view: &View, totals: &Totals, config: &PoolConfig, now: Time) -> Plan {
    let mut plan = Plan {
        grow: Vec::new(),
        shrink: Vec::new(),
        reason: Reason::Settled { totals: *totals },
        revisit: None,
    };
    // What is under way may change the sums or be the better choice, and nothing is given up on the
    // word of metadata.
    let moving = view.enis.iter().any(|e| e.usable && (e.busy || !e.settled));
    let growing = view.waiting > 0 || totals.incoming_entries > 0;
    if !view.confirmed || growing || moving || view.deleting {
        return plan;
    }
    let (free, revisit) = if is_cordoned(view, config) {
        (None, None)
    } else {
        eni_to_free(view, totals, config, now)
    };
    plan.revisit = revisit;
    if let Some(eni) = free {
        plan.reason = Reason::FreeEni { eni: eni.id.clone(), available: eni.total };
        plan.shrink.push(Shrink::Free { eni: eni.id.clone() });
        return plan;
    }
    let surplus = surplus(totals, config);
    if surplus == 0 {
        return plan;
    }
    if let Some(last) = view.last_shrink
        && now.since(last) <= SHRINK_GAP
    {
        plan.revisit = earlier(plan.revisit, Some(last + SHRINK_GAP + MOMENT));
        return plan;
    }
    let (steps, released) = release(view, surplus);
    if released > 0 {
        plan.reason = Reason::Surplus {
            released,
            available: totals.available(),
            mode: config.mode,
            band: totals.band,
        };
        plan.shrink = steps;
    }
    plan
}

/// The least time that is more than none: all gaps must be exceeded, not just reached.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(1);

/// CIDRs that the warm targets can do without.
pub(super) fn surplus(totals: &Totals, config: &PoolConfig) -> u64 {
    let targets = config.targets;
    let per_slot = u64::from(config.addresses_per_slot());
    if let Some(band) = totals.band {
        if totals.free() <= u64::from(band.high) {
            return 0;
        }
        let needed = totals.assigned + totals.cooling + u64::from(band.fill);
        return totals.unleased.min(totals.entries.saturating_sub(needed.div_ceil(per_slot)));
    }
    let (warm, minimum) = (u64::from(targets.ips), u64::from(targets.minimum_ips));
    match (targets.has_ip_targets(), config.mode) {
        (true, AllocationMode::Prefix) => {
            let needed = (totals.assigned + warm).max(minimum).div_ceil(per_slot);
            totals.unleased.min(totals.entries.saturating_sub(needed))
        }
        (true, AllocationMode::Secondary) => {
            let needed = (totals.assigned + warm).max(minimum);
            totals.total.saturating_sub(needed)
        }
        (false, AllocationMode::Prefix) => {
            totals.unleased.saturating_sub(u64::from(targets.prefixes))
        }
        (false, AllocationMode::Secondary) => 0,
    }
}

/// Up to `surplus` idle CIDRs, from the ENIs that are nearest to being free.
fn release(view: &View, surplus: u64) -> (Vec<Shrink>, u64) {
    let mut enis: Vec<&EniView> =
        view.enis.iter().filter(|e| e.usable && e.settled && !e.busy).collect();
    enis.sort_by_key(|e| (!e.freeable, e.occupied, std::cmp::Reverse(e.device), &e.id));
    let (mut steps, mut left) = (Vec::new(), surplus);
    for eni in enis {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(eni.idle.len());
        if take == 0 {
            continue;
        }
        // The highest ones: what stays is compact, and pods are given the lowest first.
        let mut cidrs = eni.idle.clone();
        cidrs.sort();
        let cidrs = cidrs.split_off(cidrs.len() - take);
        left -= cidrs.len() as u64;
        steps.push(Shrink::Release { eni: eni.id.clone(), cidrs });
    }
    (steps, surplus - left)
}

/// What serves nobody any more and only blocks slots and addresses: idle CIDRs of the other allocation
/// mode and of retired ENIs, and a retired ENI that has no pod left.
pub(super) fn unwanted(view: &View, config: &PoolConfig, now: Time, plan: &mut Plan) {
    let (free, revisit) = retired_to_free(view, config, now);
    plan.revisit = earlier(plan.revisit, revisit);
    if let Some(eni) = free {
        if matches!(plan.reason, Reason::Settled { .. }) {
            plan.reason = Reason::Retired { eni: eni.id.clone() };
        }
        plan.shrink.push(Shrink::Free { eni: eni.id.clone() });
    }
    for eni in view.enis.iter().filter(|e| e.settled && !e.busy && !e.foreign_idle.is_empty()) {
        let goes = |step: &Shrink| matches!(step, Shrink::Free { eni: id } if *id == eni.id);
        // Its addresses go with it, with one call instead of two.
        if !plan.shrink.iter().any(goes) && !is_about_to_go(eni, view, config) {
            let cidrs = eni.foreign_idle.clone();
            plan.shrink.push(Shrink::Release { eni: eni.id.clone(), cidrs });
        }
    }
}

/// A retired ENI without a pod, which the pool is going to free.
fn is_about_to_go(eni: &EniView, view: &View, config: &PoolConfig) -> bool {
    let retired = matches!(eni.standing, Standing::Retired(_));
    retired && eni.freeable && eni.occupied == 0 && !is_cordoned(view, config)
}

/// The retired ENI to free now, and when a too young one would be old enough. One at a time.
pub(super) fn retired_to_free<'a>(
    view: &'a View,
    config: &PoolConfig,
    now: Time,
) -> (Option<&'a EniView>, Option<Time>) {
    if !view.confirmed || view.deleting {
        return (None, None);
    }
    let ready = |e: &&EniView| e.settled && !e.busy && is_about_to_go(e, view, config);
    let first = view.enis.iter().filter(ready).min_by_key(|e| (e.since, &e.id));
    match first {
        Some(eni) if now.since(eni.since) < ENI_AGE_MIN => (None, Some(eni.since + ENI_AGE_MIN)),
        eni => (eni, None),
    }
}

/// The ENI to free, and when a too young one would be old enough.
fn eni_to_free<'a>(
    view: &'a View,
    totals: &Totals,
    config: &PoolConfig,
    now: Time,
) -> (Option<&'a EniView>, Option<Time>) {
    if !gate(view, totals, config) {
        return (None, None);
    }
    let mut revisit = None;
    let mut best: Option<&EniView> = None;
    for eni in &view.enis {
        let idle = eni.freeable
            && eni.standing == Standing::Active
            && eni.occupied == 0
            && eni.settled
            && !eni.busy;
        if !idle || !dispensable(eni, view, totals, config) {
            continue;
        }
        if now.since(eni.since) < ENI_AGE_MIN {
            revisit = earlier(revisit, Some(eni.since + ENI_AGE_MIN));
            continue;
        }
        let order = |e: &EniView| (e.total, std::cmp::Reverse(e.device), e.id.clone());
        if best.is_none_or(|b| order(eni) < order(b)) {
            best = Some(eni);
        }
    }
    (best, revisit)
}

/// Whether the pool is large enough that an ENI may go at all.
fn gate(view: &View, totals: &Totals, config: &PoolConfig) -> bool {
    if totals.band.is_some() || config.targets.has_ip_targets() {
        return true;
    }
    let per_eni = u64::from(config.addresses_per_eni());
    match config.mode {
        AllocationMode::Prefix => {
            totals.available() >= (u64::from(config.targets.prefixes) + 1) * per_eni
                || view.enis.iter().any(|e| e.freeable && e.standing.grows() && e.occupied == 0)
        }
        AllocationMode::Secondary => {
            totals.available() >= (u64::from(config.targets.enis) + 1) * per_eni
        }
    }
}

/// Addresses that the ENIs but `without` could hold.
fn capacity(view: &View, without: &EniView, config: &PoolConfig) -> u64 {
    let others = view.enis.iter().filter(|e| e.usable && e.id != without.id);
    let holds = |e: &EniView| match e.standing {
        Standing::Active => u64::from(config.addresses_per_eni()),
        _ => e.total,
    };
    others.map(holds).fold(0, u64::saturating_add)
}

/// True if the other ENIs satisfy every target.
fn dispensable(eni: &EniView, view: &View, totals: &Totals, config: &PoolConfig) -> bool {
    let mut rest = *totals;
    if eni.usable {
        rest.total -= eni.total.min(rest.total);
        rest.assigned -= eni.assigned.min(rest.assigned);
        rest.cooling -= eni.cooling.min(rest.cooling);
        rest.entries -= eni.entries.min(rest.entries);
        rest.unleased -= eni.unleased.min(rest.unleased);
    }
    if let Some(band) = rest.band {
        // Attaching an ENI takes seconds and several calls, so one goes only if the others could
        // hold as much as the band allows before it is asked for more.
        let high = totals.assigned + totals.cooling + u64::from(band.high);
        return (eni.total == 0 || totals.free() > u64::from(band.high))
            && rest.free() >= u64::from(band.fill)
            && capacity(view, eni, config) >= high;
    }
    let per_slot = u64::from(config.addresses_per_slot());
    let rounded = |n: u32| u64::from(n).div_ceil(per_slot) * per_slot;
    let targets = config.targets;
    let prefixes_left =
        config.mode == AllocationMode::Secondary || rest.unleased >= u64::from(targets.prefixes);
    rest.available() >= rounded(targets.ips)
        && rest.total >= rounded(targets.minimum_ips)
        && prefixes_left
        // Whatever the single rules say: never free what would be wanted back at once.
        && matches!(Need::of(&rest, config), Need::Nothing)
}
