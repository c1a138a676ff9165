//! What the warm policy is told.

use super::Pool;
use crate::{
    policy::{Demand, WarmPolicy},
    time::Time,
};

impl Pool {
    /// Lets `policy` decide how much to keep ready, in place of the configured one. It is told the
    /// demand once the ENIs are known, and after every change from then on.
    ///
    /// An [`Event::Reconfigured`](super::Event::Reconfigured) that changes the configured policy
    /// brings that one back.
    pub fn set_policy(&mut self, policy: Box<dyn WarmPolicy>, now: Time) {
        self.policy = policy;
        self.settle(now);
    }

    pub(super) fn learn(&mut self, now: Time) {
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let sums = self.enis.sums();
        let attached = self.enis.len() + self.foreign.len() + self.growth.creating.len();
        let more_enis = count(attached as u64) < self.config.max_enis;
        let demand = Demand {
            assigned: count(sums.leased),
            cooling: count(sums.resting),
            waiting: count(self.waiting.anyone() as u64),
            lead: self.growth.lead.longest(more_enis),
        };
        self.policy.observe(demand, &self.config, now);
    }
}
