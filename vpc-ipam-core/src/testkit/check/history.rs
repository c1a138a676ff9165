//! What a pool did over time.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Violation, ensure};
use crate::{checkpoint, id::SandboxKey, pool::Action, time::Time};

/// True for actions that change something in the cloud.
pub fn mutates(action: &Action) -> bool {
    matches!(
        action,
        Action::AssignAddresses { .. }
            | Action::CreateEni { .. }
            | Action::DeleteEni { .. }
            | Action::UnassignAddresses { .. }
    )
}

/// From `since` on, nothing was asked for that changes the cloud.
///
/// # Errors
///
/// The first such action.
pub fn no_mutation(actions: &[(Time, Action)], since: Time) -> Result<(), Violation> {
    let first = actions.iter().find(|(at, action)| *at >= since && mutates(action));
    ensure!(first.is_none(), "the cloud must be left alone from {since} on: {first:?}");
    Ok(())
}

/// In no stretch of time were there more calls than a token bucket of `size` that gains `per_hour`
/// tokens an hour lets pass. `calls` must be in order.
///
/// # Errors
///
/// The first call too many.
pub fn paced(
    calls: impl IntoIterator<Item = Time>,
    size: u32,
    per_hour: u32,
) -> Result<(), Violation> {
    /// A token in parts, so that an hour's refill of one is one part a millisecond.
    const TOKEN: u64 = 3_600_000;
    let full = u64::from(size) * TOKEN;
    let (mut parts, mut last) = (full, Time::ZERO);
    for (number, at) in calls.into_iter().enumerate() {
        let passed = at.as_millis().saturating_sub(last.as_millis());
        parts = parts.saturating_add(passed.saturating_mul(u64::from(per_hour))).min(full);
        last = at;
        ensure!(
            parts >= TOKEN,
            "call {number} at {at} is more than {size} at once and {per_hour} an hour"
        );
        parts -= TOKEN;
    }
    Ok(())
}

/// A restart would find these leases in the state file: each that a pod relies on.
///
/// # Errors
///
/// The first that it would not find, or that the file cannot be read.
pub fn stored<'a>(
    content: Option<&[u8]>,
    leases: impl IntoIterator<Item = (&'a SandboxKey, &'a IpAddr)>,
) -> Result<(), Violation> {
    let found = content.map(checkpoint::decode).transpose();
    let found = found.map_err(|e| Violation(format!("the state file cannot be read: {e}")))?;
    let found = found.map(|checkpoint| checkpoint.leases).unwrap_or_default();
    let found: BTreeSet<_> = found.iter().map(|lease| (&lease.key, lease.ip)).collect();
    for (key, ip) in leases {
        let there = found.contains(&(key, *ip));
        ensure!(there, "{key} relies on {ip}, and the state file does not say so");
    }
    Ok(())
}
