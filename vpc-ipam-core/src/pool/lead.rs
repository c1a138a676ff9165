//! How long it takes from asking the cloud for addresses until pods can have them.

use std::{collections::BTreeMap, time::Duration};

use crate::{id::OpId, time::Time};

/// Of the difference to a shorter attempt, this share is forgotten: a day's slow spell is over after
/// some dozens of attempts, and one quick attempt proves nothing.
const FORGET: u32 = 16;

/// About the longest of the last attempts of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Longest(Duration);

impl Longest {
    fn note(&mut self, took: Duration) {
        self.0 = took.max(self.0 - self.0.saturating_sub(took) / FORGET);
    }
}

/// Growth under way, and how long it has taken so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Lead {
    began: BTreeMap<OpId, Time>,
    addresses: Longest,
    enis: Longest,
}

impl Lead {
    pub(super) fn begin(&mut self, op: OpId, now: Time) {
        self.began.insert(op, now);
    }

    /// More addresses on an ENI have come; `None`: they have not.
    pub(super) fn end_addresses(&mut self, op: OpId, came: bool, now: Time) {
        if let Some(took) = self.end(op, came, now) {
            self.addresses.note(took);
        }
    }

    /// An ENI has come, or not.
    pub(super) fn end_eni(&mut self, op: OpId, came: bool, now: Time) {
        if let Some(took) = self.end(op, came, now) {
            self.enis.note(took);
        }
    }

    fn end(&mut self, op: OpId, came: bool, now: Time) -> Option<Duration> {
        let began = self.began.remove(&op)?;
        came.then(|| now.since(began))
    }

    /// What to reckon with: an ENI takes longest, if there can be another one. Zero if nothing has
    /// come yet.
    pub(super) fn longest(&self, more_enis: bool) -> Duration {
        if more_enis { self.addresses.0.max(self.enis.0) } else { self.addresses.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn attempt(lead: &mut Lead, op: u64, took: Duration, eni: bool, came: bool) {
        let now = Time::from_millis(op * 60_000);
        lead.begin(OpId(op), now);
        if eni {
            lead.end_eni(OpId(op), came, now + took);
        } else {
            lead.end_addresses(OpId(op), came, now + took);
        }
    }

    #[test]
    fn the_longest_attempt_counts_and_is_forgotten_slowly() {
        let mut lead = Lead::default();
        attempt(&mut lead, 1, s(2), false, true);
        attempt(&mut lead, 2, s(1), false, true);
        assert!(lead.longest(true) > Duration::from_millis(1900));
        for op in 3..100 {
            attempt(&mut lead, op, s(1), false, true);
        }
        assert!(lead.longest(true) < Duration::from_millis(1010));
        attempt(&mut lead, 100, s(5), false, true);
        assert_eq!(lead.longest(true), s(5));
    }

    #[test]
    fn enis_count_while_there_can_be_more_and_failures_never() {
        let mut lead = Lead::default();
        attempt(&mut lead, 1, s(1), false, true);
        attempt(&mut lead, 2, s(9), true, true);
        attempt(&mut lead, 3, s(60), true, false);
        attempt(&mut lead, 4, s(60), false, false);
        assert_eq!((lead.longest(true), lead.longest(false)), (s(9), s(1)));
        assert!(lead.began.is_empty());
        lead.end_eni(OpId(9), true, Time::ZERO);
        assert_eq!(lead.longest(true), s(9));
    }
}
