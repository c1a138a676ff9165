//! What a simulation counts.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    cloud::{CloudError, CloudErrorKind},
    plan::View,
    pool::Event,
};

/// Failed cloud calls by kind, retries included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloudFailures {
    /// The request rate was exceeded.
    pub throttled: u64,
    /// The subnet had nothing to give.
    pub exhausted: u64,
    /// Nothing answered.
    pub unreachable: u64,
    /// Anything else.
    pub other: u64,
}

impl CloudFailures {
    pub(super) fn note(&mut self, event: &Event) {
        let Some(error) = failure(event) else { return };
        let count = match error.kind {
            CloudErrorKind::Throttled => &mut self.throttled,
            _ if error.is_subnet_exhausted() => &mut self.exhausted,
            CloudErrorKind::Unreachable => &mut self.unreachable,
            _ => &mut self.other,
        };
        *count += 1;
    }

    /// Adds those of another node.
    pub fn add(&mut self, other: Self) {
        self.throttled += other.throttled;
        self.exhausted += other.exhausted;
        self.unreachable += other.unreachable;
        self.other += other.other;
    }
}

fn failure(event: &Event) -> Option<&CloudError> {
    match event {
        Event::AddressesAssigned { result, .. } => result.as_ref().err(),
        Event::AddressesUnassigned { result, .. } | Event::EniDeleted { result, .. } => {
            result.as_ref().err()
        }
        Event::Described { result, .. } => result.as_ref().err(),
        Event::EniCreated { result, .. } => result.as_ref().err(),
        _ => None,
    }
}

/// What one pool holds, or the sum over several.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Level {
    /// Addresses for pods.
    pub held: u64,
    /// Those that pods have.
    pub assigned: u64,
    /// Those that rest.
    pub cooling: u64,
    /// ENIs.
    pub enis: u64,
    /// Pods that wait.
    pub waiting: u64,
}

impl Level {
    pub(super) fn of(view: &View) -> Self {
        let mut level = Self { waiting: view.waiting, ..Self::default() };
        for eni in &view.enis {
            level.held += eni.total + eni.singles;
            level.assigned += eni.assigned + eni.singles_assigned;
            level.cooling += eni.cooling + eni.singles_cooling;
            level.enis += 1;
        }
        level
    }

    /// Adds another level.
    pub fn add(&mut self, other: Self) {
        self.held += other.held;
        self.assigned += other.assigned;
        self.cooling += other.cooling;
        self.enis += other.enis;
        self.waiting += other.waiting;
    }

    /// Addresses that no pod has.
    pub fn idle(self) -> u64 {
        self.held.saturating_sub(self.assigned)
    }
}

/// How long pods waited, to the millisecond.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Waits {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Waits {
    /// One pod waited that long.
    pub fn note(&mut self, wait: Duration) {
        *self.counts.entry(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)).or_default() += 1;
        self.total += 1;
    }

    /// Adds those of another node.
    pub fn add(&mut self, other: &Self) {
        for (ms, count) in &other.counts {
            *self.counts.entry(*ms).or_default() += count;
        }
        self.total += other.total;
    }

    /// Pods.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The shortest wait that so many of a thousand pods did not exceed; 1000 is the longest wait.
    pub fn per_mille(&self, share: u32) -> Duration {
        let rank = (self.total * u64::from(share.min(1000))).div_ceil(1000).max(1);
        let mut seen = 0;
        for (ms, count) in &self.counts {
            seen += count;
            if seen >= rank {
                return Duration::from_millis(*ms);
            }
        }
        Duration::ZERO
    }

    /// Wait in milliseconds and how many pods waited so long, ascending.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(ms, count)| (*ms, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_waits_that_pods_had() {
        let mut waits = Waits::default();
        assert_eq!(waits.per_mille(990), Duration::ZERO);
        for ms in 1..=100 {
            waits.note(Duration::from_millis(ms));
        }
        let at = |share| waits.per_mille(share).as_millis();
        assert_eq!((at(0), at(500), at(990), at(1000)), (1, 50, 99, 100));
        let mut twice = waits.clone();
        twice.add(&waits);
        assert_eq!((twice.len(), twice.per_mille(500)), (200, waits.per_mille(500)));
    }
}
