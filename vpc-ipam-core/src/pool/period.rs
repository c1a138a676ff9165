//! How often the cloud's view is read.

use std::time::Duration;

use super::Pool;
use crate::{budget::CallLevel, time::Time};

/// Time between two reads of the cloud's view after the pool has changed something, or the last one
/// has shown something new. The reference's value.
///
/// It doubles with each read that shows what was expected, up to
/// [`Budget::describe_period_max`](crate::budget::Budget::describe_period_max): nearly all calls of a quiet
/// node are such reads. What that costs: that somebody else took an address or an ENI from the node
/// is noticed that much later, and until then a pod may be given such an address.
const PERIOD: Duration = Duration::from_secs(60);
/// Spread of that time, so that nodes which started together drift apart.
const PERIOD_JITTER: Duration = Duration::from_secs(10);
/// Most doublings of that time; the configured limit is far lower.
const PERIOD_DOUBLED_MAX: u32 = 10;

impl Pool {
    /// Time to the next read, if this one shows something new.
    pub(super) fn next_period(&mut self) -> Duration {
        self.period(0) + self.jitter.up_to(PERIOD_JITTER)
    }

    /// Time between two reads after so many in a row that showed what was expected.
    fn period(&self, quiet: u32) -> Duration {
        let stretch = match self.purse.level() {
            CallLevel::Normal => 0,
            CallLevel::NoReleases => 1,
            CallLevel::NoMutations => 2,
        };
        let doubled = quiet.saturating_add(stretch).min(PERIOD_DOUBLED_MAX);
        (PERIOD * (1 << doubled)).min(self.config.budget.describe_period_max.max(PERIOD))
    }

    /// The pool has changed something in the cloud: how that looks there is worth a look.
    pub(super) fn note_mutation(&mut self, now: Time) {
        self.sequence = self.sequence.saturating_add(1);
        if std::mem::take(&mut self.describing.quiet) > 0 {
            let due = now + PERIOD + self.jitter.up_to(PERIOD_JITTER);
            self.describing.due = self.describing.due.min(due);
        }
    }

    /// Nothing is to be expected of the next read.
    pub(super) fn is_quiet(&self) -> bool {
        let lost = |eni: &crate::eni::Eni| eni.missing || eni.tally().orphaned > 0 || eni.unsaved;
        let awaits_trunk = self.config.expects_trunk() && !self.has_trunk();
        self.gone_enis.is_empty()
            && self.gone_cidrs.is_empty()
            && self.departing.is_empty()
            && !self.doubts()
            && self.leases.unplaced().next().is_none()
            && !self.enis.values().any(lost)
            && !awaits_trunk
            // Without provisioning, all that is new comes from others.
            && self.config.provisions()
    }

    /// After a read that showed nothing new, the next one may wait longer.
    pub(super) fn stretch_period(&mut self, quiet: bool, now: Time) {
        self.describing.quiet = if quiet { self.describing.quiet.saturating_add(1) } else { 0 };
        // One that has been asked for in the meantime stays due.
        if self.describing.due > now {
            let longer = self.period(self.describing.quiet).saturating_sub(self.period(0));
            self.describing.due = self.describing.due + longer;
        }
    }
}
