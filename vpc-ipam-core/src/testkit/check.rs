//! Invariants of a pool that hold between any two calls. For the tests of embedders too.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use thiserror::Error;

use super::{
    cloud::cloud_eni,
    ec2::{Eni, World},
};
use crate::{
    addr::Prefix,
    class::is_managed,
    cloud::EniKind,
    config::PoolConfig,
    id::{EniId, InstanceId, SandboxKey},
    plan::{Growth, plan, trunk_places},
    pool::Pool,
    time::Time,
};

/// A broken invariant: what, and the numbers.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct Violation(pub String);

macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(Violation(format!($($text)*)));
        }
    };
}

/// Everything that must be true of any pool at any time.
///
/// # Errors
///
/// The first violation found.
pub fn pool(pool: &Pool) -> Result<(), Violation> {
    sums(pool)?;
    leases(pool)?;
    limits(pool)
}

/// Counts are the sums of what they count.
///
/// # Errors
///
/// The first violation found.
pub fn sums(pool: &Pool) -> Result<(), Violation> {
    let stats = pool.stats();
    let (mut total, mut assigned, mut prefixes) = (0, 0, 0);
    for eni in &stats.enis {
        total += eni.total();
        assigned += eni.assigned();
        prefixes += eni.cidrs.iter().filter(|cidr| cidr.is_prefix).count() as u64;
    }
    ensure!(stats.total == total, "total is {}, the ENIs hold {total}", stats.total);
    ensure!(stats.assigned == assigned, "assigned is {}, not {assigned}", stats.assigned);
    ensure!(stats.prefixes == prefixes, "prefixes is {}, not {prefixes}", stats.prefixes);
    ensure!(
        stats.assigned + stats.cooling <= stats.total,
        "{} assigned and {} cooling of {}",
        stats.assigned,
        stats.cooling,
        stats.total
    );
    pool.audit().map_err(Violation)
}

/// No address and no owner twice; each lease inside exactly one block, or orphaned; the checkpoint
/// says the same as the statistics.
///
/// # Errors
///
/// The first violation found.
pub fn leases(pool: &Pool) -> Result<(), Violation> {
    let stats = pool.stats();
    let mut owners: BTreeMap<SandboxKey, IpAddr> = BTreeMap::new();
    let mut ips = BTreeSet::new();
    let mut blocks = Vec::new();
    for cidr in stats.enis.iter().flat_map(|eni| &eni.cidrs) {
        blocks.push(cidr.cidr);
        for address in &cidr.addresses {
            let ip = address.ip;
            ensure!(cidr.cidr.contains(ip), "{ip} is listed in {}", cidr.cidr);
            ensure!(ips.insert(ip), "{ip} is listed twice");
            if let Some(key) = &address.key {
                let other = owners.insert(key.clone(), ip);
                ensure!(other.is_none(), "{key} has {ip} and {other:?}");
            }
        }
    }
    for (n, block) in blocks.iter().enumerate() {
        let overlap = blocks.iter().skip(n + 1).find(|b| b.covers(block) || block.covers(b));
        ensure!(overlap.is_none(), "{block} overlaps {overlap:?}");
    }
    let checkpoint = pool.checkpoint();
    let mut last = None;
    let mut seen = BTreeSet::new();
    for lease in &checkpoint.leases {
        ensure!(last < Some(lease.ip), "{} is out of order or doubled in the checkpoint", lease.ip);
        last = Some(lease.ip);
        ensure!(seen.insert(&lease.key), "{} is twice in the checkpoint", lease.key);
        let inside = blocks.iter().any(|block| block.contains(lease.ip));
        let placed = owners.get(&lease.key) == Some(&lease.ip);
        ensure!(placed == inside, "{} is leased, but its block does not say so", lease.ip);
    }
    Ok(())
}

/// The pool never plans past the limits of the instance: places of ENIs and slots of each. What it
/// holds may be more for a moment, while it has seen what came and not yet what went.
///
/// # Errors
///
/// The first violation found.
pub fn limits(pool: &Pool) -> Result<(), Violation> {
    let config = pool.config();
    let view = pool.view();
    let plan = plan(&view, config, Time::ZERO);
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
                    + u64::from(trunk_places(&view, config));
                ensure!(enis < u64::from(config.max_enis), "one more than {enis} ENIs");
                let slots = count.slots();
                ensure!(slots <= config.slots, "a new ENI with {slots} of {} slots", config.slots);
            }
        }
    }
    Ok(())
}

/// What the pool holds is what EC2 says the instance holds on its card, but for blocks kept because pods still use
/// them; and no ENI is left unattached. True of a pool at rest whose clean-ups did not fail.
///
/// # Errors
///
/// The first violation found.
pub fn nothing_leaked(pool: &Pool, world: &World, instance: &InstanceId) -> Result<(), Violation> {
    let stats = pool.stats();
    let PoolConfig { card, family, .. } = *pool.config();
    let mut enis = world.enis_of(instance);
    enis.retain(|eni| eni.attachment.as_ref().is_some_and(|a| a.card == card));
    let owned: BTreeSet<(EniId, Prefix)> = enis
        .iter()
        .flat_map(|eni| eni.owned().into_iter().map(|cidr| (eni.id.clone(), cidr)))
        .filter(|(_, cidr)| family.takes(cidr))
        .collect();
    let mut held = BTreeSet::new();
    for eni in &stats.enis {
        for cidr in &eni.cidrs {
            let block = (eni.id.clone(), cidr.cidr);
            let kept = cidr.assigned() > 0;
            ensure!(kept || owned.contains(&block), "{block:?} is held, but not on the instance");
            held.insert(block);
        }
    }
    let is_others = |eni: &&Eni| {
        cloud_eni(world, eni, family)
            .is_none_or(|eni| eni.kind == EniKind::EfaOnly || !is_managed(&eni, pool.config()))
    };
    let others: BTreeSet<EniId> =
        enis.iter().copied().filter(is_others).map(|eni| eni.id.clone()).collect();
    let leaked = owned.difference(&held).find(|(eni, _)| !others.contains(eni));
    ensure!(leaked.is_none(), "{leaked:?} is on the instance, but not in the pool");
    let known: BTreeSet<&EniId> = stats.enis.iter().map(|eni| &eni.id).collect();
    let unknown = enis.iter().find(|e| !known.contains(&e.id) && !others.contains(&e.id));
    ensure!(unknown.is_none(), "an ENI is attached, but not in the pool: {unknown:?}");
    let loose = world.enis().find(|eni| eni.attachment.is_none() && !world.is_abandoned(eni));
    ensure!(loose.is_none(), "an ENI was left behind: {loose:?}");
    Ok(())
}
