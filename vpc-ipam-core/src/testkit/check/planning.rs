//! What a plan may contain.

use super::{Violation, ensure};
use crate::{
    addr::Prefix,
    class::Standing,
    config::{Family, PoolConfig},
    id::EniId,
    plan::{ENI_AGE_MIN, Growth, Need, Plan, Shrink, Totals, View, plan, trunk_places},
    pool::Pool,
    time::Time,
};

/// The pool never plans past the limits of the instance: places of ENIs and slots of each. What it
/// holds may be more for a moment, while it has seen what came and not yet what went.
///
/// # Errors
///
/// The first violation found.
pub fn limits(pool: &Pool) -> Result<(), Violation> {
    let view = pool.view();
    limits_of(&view, pool.config(), &plan(&view, pool.config(), Time::ZERO))
}

pub(super) fn limits_of(view: &View, config: &PoolConfig, plan: &Plan) -> Result<(), Violation> {
    for step in &plan.grow {
        match step {
            Growth::Assign { eni: id, count } => {
                let eni = view.enis.iter().find(|eni| eni.id == *id);
                let used = eni.map_or(0, |eni| eni.taken + eni.incoming);
                let slots = used + count.slots();
                ensure!(slots <= config.slots, "{id} would use {slots} of {} slots", config.slots);
            }
            Growth::Create { count } => {
                let enis = view.enis.len() as u64
                    + u64::from(view.other_enis)
                    + u64::from(trunk_places(view, config));
                ensure!(enis < u64::from(config.max_enis), "one more than {enis} ENIs");
                let slots = count.slots();
                ensure!(slots <= config.slots, "a new ENI with {slots} of {} slots", config.slots);
            }
        }
    }
    Ok(())
}

/// What a planner made of `view` at `now` keeps its promises: nothing at all where nothing may be changed, no
/// growth past the pods of the node, nothing taken away that the targets need, no ENI freed that is
/// young, in use, resting or not free to go, and never growing and shrinking of the same kind at once.
///
/// # Errors
///
/// The first violation found.
pub fn planned(view: &View, config: &PoolConfig, plan: &Plan, now: Time) -> Result<(), Violation> {
    let idle = plan.grow.is_empty() && plan.shrink.is_empty();
    ensure!(idle || config.provisioning, "a plan without provisioning: {plan:?}");
    ensure!(idle || !view.draining, "a plan on a node that is going away: {plan:?}");
    if config.family == Family::V6 {
        return Ok(());
    }
    let cordoned = view.unschedulable && !config.manage_unschedulable;
    ensure!(!cordoned || plan.grow.is_empty(), "growth on a cordoned node: {plan:?}");
    let totals = Totals::of(view, config);
    let covered = totals.expected().saturating_add(totals.singles_assigned);
    let full = covered >= u64::from(config.max_pods);
    ensure!(!full || plan.grow.is_empty(), "{covered} addresses are enough, and yet {plan:?}");
    for step in &plan.shrink {
        match step {
            Shrink::Free { eni } => freed(view, config, eni, now, cordoned)?,
            Shrink::Release { eni, cidrs } => released(view, plan, eni, cidrs)?,
        }
    }
    stays_enough(view, config, plan)
}

fn freed(
    view: &View,
    config: &PoolConfig,
    id: &EniId,
    now: Time,
    cordoned: bool,
) -> Result<(), Violation> {
    let Some(eni) = view.enis.iter().find(|eni| eni.id == *id) else {
        return Err(Violation(format!("{id} is to be freed and is not there")));
    };
    let age = now.since(eni.since);
    ensure!(eni.freeable, "{id} must stay and is to be freed");
    ensure!(age >= ENI_AGE_MIN, "{id} is to be freed at an age of {age:?}");
    ensure!(eni.occupied == 0, "{id} with {} leased or resting addresses goes", eni.occupied);
    ensure!(!eni.busy, "{id} is to be freed while something else is under way");
    ensure!(!cordoned, "{id} is to be freed on a cordoned node");
    ensure!(!view.deleting, "{id} is to be freed while another one goes");
    let targets = config.targets;
    if eni.standing != Standing::Active || view.band.is_some() {
        return Ok(());
    }
    let others = view.enis.iter().filter(|e| e.id != *id && e.usable && e.standing.serves());
    let (mut available, mut total) = (0, 0);
    for other in others {
        available += other.total.saturating_sub(other.assigned);
        available += other.singles.saturating_sub(other.singles_assigned);
        total += other.total + other.singles;
    }
    let (warm, minimum) = (u64::from(targets.ips), u64::from(targets.minimum_ips));
    ensure!(available >= warm, "without {id}, {available} of {warm} addresses are left");
    ensure!(total >= minimum, "without {id}, {total} of {minimum} addresses are left");
    Ok(())
}

fn released(view: &View, plan: &Plan, id: &EniId, cidrs: &[Prefix]) -> Result<(), Violation> {
    let Some(eni) = view.enis.iter().find(|eni| eni.id == *id) else {
        return Err(Violation(format!("{id} is to lose {cidrs:?} and is not there")));
    };
    for cidr in cidrs {
        let serving = eni.idle.contains(cidr);
        let other = eni.idle_singles.contains(cidr) || eni.foreign_idle.contains(cidr);
        ensure!(serving || other, "{cidr} is in use and is to be released");
        ensure!(!serving || plan.grow.is_empty(), "{cidr} goes while others come: {plan:?}");
    }
    Ok(())
}

/// Without what the plan takes away, the targets ask for nothing that they did not ask for before.
fn stays_enough(view: &View, config: &PoolConfig, plan: &Plan) -> Result<(), Violation> {
    let lacks = |view: &View| {
        let totals = Totals::of(view, config);
        matches!(Need::of(&totals.with_singles(), config), Need::Slots { .. })
    };
    // Single addresses may make room for prefixes that are missing: the pool is low until they come.
    let prefixes_missing =
        matches!(Need::of(&Totals::of(view, config), config), Need::Slots { .. });
    if plan.shrink.is_empty() || lacks(view) || prefixes_missing {
        return Ok(());
    }
    let mut rest = view.clone();
    for step in &plan.shrink {
        match step {
            Shrink::Free { eni } => rest.enis.retain(|e| e.id != *eni),
            Shrink::Release { eni, cidrs } => {
                for eni in rest.enis.iter_mut().filter(|e| e.id == *eni) {
                    let size = |cidr: &Prefix| u64::try_from(cidr.size()).unwrap_or(u64::MAX);
                    for cidr in cidrs.iter().filter(|cidr| eni.idle.contains(cidr)) {
                        eni.entries = eni.entries.saturating_sub(1);
                        eni.unleased = eni.unleased.saturating_sub(1);
                        eni.total = eni.total.saturating_sub(size(cidr));
                    }
                    let singles = cidrs.iter().filter(|cidr| eni.idle_singles.contains(cidr));
                    eni.singles = eni.singles.saturating_sub(singles.count() as u64);
                }
            }
        }
    }
    let (before, after) = (Totals::of(view, config), Totals::of(&rest, config));
    ensure!(!lacks(&rest), "{:?} makes the pool too low: {before:?} become {after:?}", plan.shrink);
    Ok(())
}
