//! The pool beside the cloud.

use std::collections::BTreeSet;

use super::{Violation, ensure};
use crate::{
    addr::Prefix,
    checkpoint::Lease,
    class::is_managed,
    cloud::EniKind,
    config::PoolConfig,
    id::{EniId, InstanceId},
    pool::Pool,
    stats::Stats,
    testkit::{
        cloud::cloud_eni,
        ec2::{Eni, World},
    },
};

/// No address that an ENI of the instance has for itself is in a block of the pool, or leased. Not
/// true of leases whose address others took away from the node and EC2 has used again since.
///
/// # Errors
///
/// The first violation found.
pub fn primaries(pool: &Pool, world: &World, instance: &InstanceId) -> Result<(), Violation> {
    primaries_of(&pool.stats(), &pool.checkpoint().leases, world, instance, |_| true)
}

/// The same of the ENIs that the pool has heard of. Of any other one it cannot know what is its own: a
/// view that lagged behind may have shown the address elsewhere.
pub(super) fn known_primaries(
    stats: &Stats,
    leases: &[Lease],
    world: &World,
    instance: &InstanceId,
) -> Result<(), Violation> {
    let known = |eni: &Eni| stats.enis.iter().any(|other| other.id == eni.id);
    primaries_of(stats, leases, world, instance, known)
}

fn primaries_of(
    stats: &Stats,
    leases: &[Lease],
    world: &World,
    instance: &InstanceId,
    counts: impl Fn(&Eni) -> bool,
) -> Result<(), Violation> {
    for eni in world.enis_of(instance).into_iter().filter(|eni| counts(eni)) {
        let Some(ip) = eni.primary_ip.map(Into::into) else { continue };
        let blocks = stats.enis.iter().flat_map(|eni| &eni.cidrs);
        let block = blocks.map(|cidr| cidr.cidr).find(|cidr| cidr.contains(ip));
        ensure!(block.is_none(), "{ip} of {} itself is in {block:?}", eni.id);
        let lease = leases.iter().find(|lease| lease.ip == ip);
        ensure!(lease.is_none(), "{ip} of {} itself is leased: {lease:?}", eni.id);
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
