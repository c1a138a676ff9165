//! What must be true of a pool at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Violation, ensure};
use crate::{
    checkpoint::{self, Checkpoint},
    id::SandboxKey,
    pool::Pool,
    stats::Stats,
    time::Time,
};

/// Counts are the sums of what they count.
///
/// # Errors
///
/// The first violation found.
pub fn sums(pool: &Pool) -> Result<(), Violation> {
    sums_of(pool, &pool.stats())
}

pub(super) fn sums_of(pool: &Pool, stats: &Stats) -> Result<(), Violation> {
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
    leases_of(&pool.stats(), &pool.checkpoint())
}

pub(super) fn leases_of(stats: &Stats, checkpoint: &Checkpoint) -> Result<(), Violation> {
    let mut owners: BTreeMap<&SandboxKey, IpAddr> = BTreeMap::new();
    let mut ips = BTreeSet::new();
    let mut blocks = Vec::new();
    for cidr in stats.enis.iter().flat_map(|eni| &eni.cidrs) {
        blocks.push(cidr.cidr);
        for address in &cidr.addresses {
            let ip = address.ip;
            ensure!(cidr.cidr.contains(ip), "{ip} is listed in {}", cidr.cidr);
            ensure!(ips.insert(ip), "{ip} is listed twice");
            if let Some(key) = &address.key {
                let other = owners.insert(key, ip);
                ensure!(other.is_none(), "{key} has {ip} and {other:?}");
            }
        }
    }
    for (n, block) in blocks.iter().enumerate() {
        let overlap = blocks.iter().skip(n + 1).find(|b| b.covers(block) || block.covers(b));
        ensure!(overlap.is_none(), "{block} overlaps {overlap:?}");
    }
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

/// What the pool would store, a pool of the same settings reads back: the same leases, and nothing
/// else, however often.
///
/// # Errors
///
/// The first violation found.
pub fn restorable(pool: &Pool, now: Time) -> Result<(), Violation> {
    let stored = pool.checkpoint();
    let read = checkpoint::decode(&checkpoint::encode(&stored))
        .map_err(|e| Violation(format!("what the pool stores cannot be read: {e}")))?;
    ensure!(read.leases == stored.leases, "stored {:?}, read {:?}", stored.leases, read.leases);
    let restored = Pool::restore(pool.config().clone(), &read, now);
    let again = restored.checkpoint();
    ensure!(again == read, "restored {again:?} from {read:?}");
    Ok(())
}
