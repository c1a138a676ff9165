//! What a call may and may not have changed.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Violation, ensure};
use crate::{
    addr::Prefix,
    checkpoint::Lease,
    config::{AllocationMode, PoolConfig},
    id::EniId,
    pool::Pool,
    stats::Stats,
};

/// What a pool holds and who has it, to compare with what it is later.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the state file would say.
    pub leases: Vec<Lease>,
    /// The blocks.
    pub cidrs: BTreeSet<(EniId, Prefix)>,
    /// Addresses that pods can have.
    pub total: u64,
    /// Addresses that pods have.
    pub assigned: u64,
    /// Addresses that rest.
    pub cooling: u64,
}

impl Snapshot {
    /// The pool as it is.
    pub fn of(pool: &Pool) -> Self {
        let Stats { total, assigned, cooling, enis, .. } = pool.stats();
        let cidrs = enis
            .iter()
            .flat_map(|eni| eni.cidrs.iter().map(|cidr| (eni.id.clone(), cidr.cidr)))
            .collect();
        Self { leases: pool.checkpoint().leases, cidrs, total, assigned, cooling }
    }
}

/// Nothing has changed since `before`.
///
/// # Errors
///
/// What has.
pub fn unchanged(before: &Snapshot, pool: &Pool) -> Result<(), Violation> {
    let after = Snapshot::of(pool);
    ensure!(*before == after, "{before:?} became {after:?}");
    Ok(())
}

/// Since `before`, no lease has gone: true across everything but a DEL, whatever the cloud shows.
///
/// # Errors
///
/// The first that has gone.
pub fn no_lease_lost(before: &Snapshot, pool: &Pool) -> Result<(), Violation> {
    let after = pool.checkpoint().leases;
    let after: BTreeSet<_> = after.iter().map(|lease| (&lease.key, lease.ip)).collect();
    for lease in &before.leases {
        let kept = after.contains(&(&lease.key, lease.ip));
        ensure!(kept, "the lease of {} on {} has gone", lease.key, lease.ip);
    }
    Ok(())
}

/// `ip`, which a pod was given when the pool looked like `before`, was a good choice: nobody's, on an ENI
/// that serves, in a block of the allocation mode, or a single address in place of a prefix.
///
/// # Errors
///
/// The first violation found.
pub fn placement(before: &Stats, config: &PoolConfig, ip: IpAddr) -> Result<(), Violation> {
    let blocks = before.enis.iter().flat_map(|eni| eni.cidrs.iter().map(move |cidr| (eni, cidr)));
    let Some((eni, block)) = blocks.into_iter().find(|(_, cidr)| cidr.cidr.contains(ip)) else {
        return Err(Violation(format!("{ip} was given and is in no block")));
    };
    ensure!(eni.standing.serves(), "{ip} was given on {}, which is {:?}", eni.id, eni.standing);
    let wrong_kind = config.mode == AllocationMode::Secondary && block.is_prefix;
    ensure!(!wrong_kind, "{ip} was given from the prefix {}", block.cidr);
    let used = block.addresses.iter().find(|address| address.ip == ip);
    let owner = used.and_then(|address| address.key.as_ref());
    ensure!(owner.is_none(), "{ip} of {owner:?} was given once more");
    Ok(())
}
