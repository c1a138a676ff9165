//! Shrinking: which addresses and which ENI the node can do without.

use super::{
    ENI_AGE_MIN, EniView, Need, Plan, Reason, SHRINK_GAP, Shrink, Totals, View, earlier,
    is_cordoned,
};
use crate::{
    addr::Prefix,
    class::Standing,
    config::{AllocationMode, PoolConfig},
    time::Time,
};

/// Frees an ENI if the others satisfy every target without it, else releases surplus addresses, and
/// single addresses that have stood in for prefixes.
pub(super) fn shrink(view: &View, totals: &Totals, config: &PoolConfig, now: Time) -> Plan {
    let mut plan = Plan::idle(Reason::Settled { totals: *totals });
    if view.waiting > 0 || unsettled(view, totals) {
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
    let singles = totals.singles_idle();
    if surplus == 0 && singles == 0 {
        return plan;
    }
    if let Some(later) = too_early(view, now) {
        plan.revisit = earlier(plan.revisit, Some(later));
        return plan;
    }
    let (steps, released) = release(view, surplus, |eni| &eni.idle);
    plan.shrink = steps;
    if released > 0 {
        let (available, band) = (totals.available(), totals.band);
        plan.reason = Reason::Surplus { released, available, mode: config.mode, band };
        return plan;
    }
    let (steps, released) = release(view, singles, |eni| &eni.idle_singles);
    plan.shrink = steps;
    if released > 0 {
        plan.reason = Reason::BackToPrefixes { released, available: totals.available() };
    }
    plan
}

/// True while what is under way may change the sums or be the better choice, and while only
/// metadata vouches for what is there: nothing is given up on its word.
pub(super) fn unsettled(view: &View, totals: &Totals) -> bool {
    let moving = view.enis.iter().any(|e| e.usable && (e.busy || !e.settled));
    let growing = totals.incoming > 0 || totals.incoming_singles > 0;
    !view.confirmed || growing || moving || view.deleting
}

/// When the next release may be, if that is not now.
pub(super) fn too_early(view: &View, now: Time) -> Option<Time> {
    let last = view.last_shrink.filter(|last| now.since(*last) <= SHRINK_GAP)?;
    Some(last + SHRINK_GAP + MOMENT)
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

/// Surplus of single addresses that is not worth a call: half of what comes and goes with a prefix.
const SINGLES_SLACK: u64 = 8;

/// Single addresses that the warm targets can do without while they serve in place of prefixes.
pub(super) fn surplus_singles(sums: &Totals, config: &PoolConfig) -> u64 {
    let targets = config.targets;
    if let Some(band) = sums.band {
        let over = sums.free() > u64::from(band.high);
        return if over { sums.free().saturating_sub(u64::from(band.fill)) } else { 0 };
    }
    let over = if targets.has_ip_targets() {
        let (warm, minimum) = (u64::from(targets.ips), u64::from(targets.minimum_ips));
        sums.total.saturating_sub((sums.assigned + warm).max(minimum))
    } else {
        let warm = u64::from(targets.prefixes) * u64::from(config.addresses_per_slot());
        sums.available().saturating_sub(warm.max(1))
    };
    if over > SINGLES_SLACK { over } else { 0 }
}

/// Up to `surplus` of the CIDRs that are `idle`, from the ENIs that are nearest to being free.
pub(super) fn release(
    view: &View,
    surplus: u64,
    idle: impl Fn(&EniView) -> &[Prefix],
) -> (Vec<Shrink>, u64) {
    let mut enis: Vec<&EniView> =
        view.enis.iter().filter(|e| e.usable && e.settled && !e.busy).collect();
    enis.sort_by_key(|e| (!e.freeable, e.occupied, std::cmp::Reverse(e.device), &e.id));
    let (mut steps, mut left) = (Vec::new(), surplus);
    for eni in enis {
        let cidrs = last(idle(eni), left);
        if !cidrs.is_empty() {
            left -= cidrs.len() as u64;
            steps.push(Shrink::Release { eni: eni.id.clone(), cidrs });
        }
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

/// The highest `most` of `cidrs`: what stays is compact, and pods are given the lowest first.
pub(super) fn last(cidrs: &[Prefix], most: u64) -> Vec<Prefix> {
    let take = usize::try_from(most).unwrap_or(usize::MAX).min(cidrs.len());
    let mut cidrs = cidrs.to_vec();
    cidrs.sort();
    cidrs.split_off(cidrs.len() - take)
}

/// The ENI to free, and when a too young one would be old enough.
fn eni_to_free<'a>(
    view: &'a View,
    totals: &Totals,
    config: &PoolConfig,
    now: Time,
) -> (Option<&'a EniView>, Option<Time>) {
    let idle = || view.enis.iter().any(|e| e.freeable && e.standing.grows() && e.occupied == 0);
    if !gate(totals, config, idle) {
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

/// Whether the pool is large enough that an ENI may go at all; `idle`: there is one without pods.
pub(super) fn gate(totals: &Totals, config: &PoolConfig, idle: impl FnOnce() -> bool) -> bool {
    if totals.band.is_some() || config.targets.has_ip_targets() {
        return true;
    }
    let per_eni = u64::from(config.addresses_per_eni());
    match config.mode {
        AllocationMode::Prefix => {
            totals.available() >= (u64::from(config.targets.prefixes) + 1) * per_eni || idle()
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
