//! The pool against the model: what it holds, who has it, and how much there is.

use std::{collections::BTreeSet, net::IpAddr};

use vpc_ipam_core::{
    addr::Prefix,
    pool::Pool,
    stats::{AddressStats, CidrStats, Stats},
    time::Time,
};

use crate::{
    common::bench::Outcome,
    model::{Cidr, Model, Phase, Use, records_of},
};

macro_rules! same {
    ($what:expr, $real:expr, $model:expr) => {
        let (real, model) = (&$real, &$model);
        if real != model {
            return Err(format!("{}: the pool says {real:?}, the model {model:?}", $what));
        }
    };
}

/// Tells the model what the pool has given up, and asks whether it was allowed.
pub(crate) fn what_is_held(model: &mut Model, pool: &Pool, now: Time) -> Outcome {
    let stats = pool.stats();
    for id in model.enis.iter().map(|eni| eni.id.clone()).collect::<Vec<_>>() {
        if !stats.enis.iter().any(|eni| eni.id == id) {
            model.freed(&id, now)?;
        }
    }
    let held: BTreeSet<Prefix> = blocks(&stats).map(|(_, cidr)| cidr).collect();
    for cidr in model.cidrs.iter().map(|cidr| cidr.cidr).collect::<Vec<_>>() {
        if !held.contains(&cidr) {
            model.released(&cidr, now)?;
        }
    }
    Ok(())
}

fn blocks(stats: &Stats) -> impl Iterator<Item = (String, Prefix)> {
    stats.enis.iter().flat_map(|eni| eni.cidrs.iter().map(|cidr| (eni.id.to_string(), cidr.cidr)))
}

pub(crate) fn everything(model: &Model, pool: &Pool) -> Outcome {
    let stats = pool.stats();
    for eni in &stats.enis {
        for cidr in &eni.cidrs {
            let known = model.cidrs.iter().find(|c| c.cidr == cidr.cidr && c.eni == eni.id);
            let Some(known) = known else { return Err(format!("{} is new", cidr.cidr)) };
            same!(cidr.cidr, listed(cidr), in_use(known));
        }
    }
    same!("blocks", blocks(&stats).count(), model.cidrs.len());
    same!("ENIs", stats.enis.len(), model.enis.len());
    counts(&stats, model)?;
    same!("to be written", records_of(&pool.checkpoint()), model.records());
    if let Some(eni) = model.forgotten().next() {
        return Err(format!("still held: {eni:?}"));
    }
    let unwritten = model.leases.iter().find(|lease| match lease.phase {
        Phase::Adding { write, .. } | Phase::Releasing { write, .. } => write > model.writes,
        Phase::Held | Phase::Unsure { .. } => false,
    });
    if let Some(lease) = unwritten.filter(|_| model.write.is_none()) {
        return Err(format!("nobody writes {lease:?}"));
    }
    Ok(())
}

/// Every number, counted.
fn counts(stats: &Stats, model: &Model) -> Outcome {
    let count = |what: fn(&Use) -> bool| {
        let addresses = model.cidrs.iter().flat_map(|cidr| &cidr.addresses);
        addresses.filter(|(_, state)| what(state)).count() as u64
    };
    same!("total", stats.total, count(|_| true));
    same!("assigned", stats.assigned, count(|state| matches!(state, Use::Leased(_))));
    same!("cooling", stats.cooling, count(|state| matches!(state, Use::Resting(_))));
    let orphan = |ip| model.cidr_of(ip).is_none_or(|cidr| !cidr.confirmed);
    let orphans = model.leases.iter().filter(|lease| orphan(lease.ip)).count() as u64;
    same!("orphaned", stats.orphaned, orphans);
    let prefixes = model.cidrs.iter().filter(|cidr| !cidr.cidr.is_host()).count() as u64;
    same!("prefixes", stats.prefixes, prefixes);
    let singles = model.cidrs.iter().filter(|c| c.confirmed && model.stands_in(&c.cidr));
    same!("singles", stats.singles, singles.count() as u64);
    same!("waiting", stats.waiting, model.waiting.len() as u64);
    same!("unexpected", stats.unexpected_events, model.unexpected);
    Ok(())
}

/// What the pool lists: the addresses in use, and those that rest.
fn listed(cidr: &CidrStats) -> Vec<(IpAddr, Use)> {
    let state = |address: &AddressStats| match (&address.key, address.released) {
        (Some(key), None) => Use::Leased(key.clone()),
        (None, Some(released)) => Use::Resting(released),
        other => panic!("{other:?}"),
    };
    cidr.addresses.iter().map(|address| (address.ip, state(address))).collect()
}

/// The same of the model.
fn in_use(cidr: &Cidr) -> Vec<(IpAddr, Use)> {
    let in_use = |(_, state): &&(_, Use)| matches!(state, Use::Leased(_) | Use::Resting(_));
    cidr.addresses.iter().filter(in_use).cloned().collect()
}
