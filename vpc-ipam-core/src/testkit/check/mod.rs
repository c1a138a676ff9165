//! Invariants as functions, for the tests of embedders too.
//!
//! [`pool`] says whether a pool is sound between any two calls. The others compare a pool with the
//! cloud, with what it was before, or look at what it did over time. [`Sim`](super::sim::Sim) calls
//! them at every step, and adds what only somebody can see who knows the whole node.
//!
//! | # | Invariant | Checked by |
//! |---:|---|---|
//! | 1 | No address is leased twice; each lies in exactly one block | [`leases`]; `Sim`: no two running pods share an address |
//! | 2 | A sandbox owns at most one address | [`leases`] |
//! | 3 | No ENI's own address is in a block or leased | [`primaries`] |
//! | 4 | Counts are sums | [`sums`] |
//! | 5 | Assigned and resting addresses are among the total | [`sums`] |
//! | 6 | The state file has the leases that were answered | [`stored`] |
//! | 7 | Metrics are the sums | [`sums`] for the [`Stats`](crate::stats::Stats) that metrics are made of |
//! | 8 | A repeated ADD gives the same answer and changes nothing | [`unchanged`]; `Sim::add` |
//! | 9 | After a DEL the address rests, and counts are as before | `Sim`: at every start of a pod; [`Snapshot`] |
//! | 10 | A failed write leaves everything as before | [`unchanged`], [`stored`] |
//! | 11 | A DEL of an unknown sandbox changes nothing | [`unchanged`]; `Sim::release` |
//! | 12 | No new pod on an ENI or block that serves none | [`placement`] |
//! | 13 | The lowest address never used comes first | the pool's own tests: [`Stats`](crate::stats::Stats) forget recycled addresses |
//! | 14 | Nothing that pods use is removed | [`no_lease_lost`]: the pool has no forced removal |
//! | 15 | Restoring what was stored gives the same leases | [`restorable`] |
//! | 16 | A crash leaves the old state file or the new one | [`crash_everywhere`](super::script::crash_everywhere), [`restorable`] |
//! | 17 | Never too low and too high at once | [`planned`] |
//! | 18 | Shrinking never makes the pool low | [`planned`]; `Sim::quiesce`: a fixed point is reached |
//! | 19 | Places of ENIs and slots are not exceeded | [`limits`] |
//! | 20 | What is freed is free to go | [`planned`] |
//! | 21 | EC2 is called within a budget | [`paced`] |
//! | 22 | Nothing is changed in the cloud that must not be | [`planned`], [`no_mutation`] |
//! | 23 | No growth past the pods of the node | [`planned`] |
//! | 24 | A failed reading removes nothing | [`no_lease_lost`]; `Sim`: no address of a running pod leaves |
//! | 25 | Only EC2's word removes | [`no_lease_lost`]; `Sim`: the same |
//! | 26 | What was released is not taken back for a minute | `Sim`: at every reading |
//! | 27 | A reading that shows what is known changes nothing | [`unchanged`]; `Sim::quiesce` |
//! | 28 | One address per card, or none | `vpc-ipamd`, which runs a pool per card |

mod change;
mod cloud;
mod history;
mod planning;
mod state;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::{
    change::{Snapshot, no_lease_lost, placement, unchanged},
    cloud::{nothing_leaked, primaries},
    history::{mutates, no_mutation, paced, stored},
    planning::{limits, planned},
    state::{leases, restorable, sums},
};
use super::ec2::World;
use crate::{id::InstanceId, plan::plan, pool::Pool, time::Time};

/// A broken invariant: what, and the numbers.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct Violation(pub String);

/// Ends a check that does not hold.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err($crate::testkit::check::Violation(format!($($text)*)));
        }
    };
}
use ensure;

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

/// [`pool`], [`planned`] and, where a world is given, [`primaries`] of the ENIs that the pool has
/// heard of: one look for all.
pub(super) fn step(
    pool: &Pool,
    now: Time,
    world: Option<(&World, &InstanceId)>,
) -> Result<(), Violation> {
    let (stats, checkpoint, view) = (pool.stats(), pool.checkpoint(), pool.view());
    state::sums_of(pool, &stats)?;
    state::leases_of(&stats, &checkpoint)?;
    let plan = plan(&view, pool.config(), now);
    planning::limits_of(&view, pool.config(), &plan)?;
    planned(&view, pool.config(), &plan, now)?;
    match world {
        Some((world, id)) => cloud::known_primaries(&stats, &checkpoint.leases, world, id),
        None => Ok(()),
    }
}
