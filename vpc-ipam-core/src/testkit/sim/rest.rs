//! The end of troubles, and what must be true when nothing moves any more.

use std::time::Duration;

use super::Sim;
use crate::testkit::{
    Reach,
    check::{self, Violation},
    ec2::{Consistency, RequestRates},
};

impl Sim {
    /// Ends every failure, every limit of the request rate, every inconsistency of EC2 and metadata,
    /// every claim of others to ENIs of the node, and the exclusion of subnets. What was done is not
    /// undone.
    pub fn heal(&mut self) {
        {
            let mut world = self.world();
            world.faults_mut().clear();
            world.set_request_rates(&RequestRates::unlimited());
            world.set_consistency(Consistency::STRONG);
            world.heal_imds(&self.instance);
        }
        self.store.fail_saves(0, false);
        self.store.fail_hints(0);
        self.datapath.fail_enis(0);
        self.cloud.set_reach(Reach::All);
        self.disown_none();
        self.exclude_none();
    }

    /// Lets time pass until one life of the daemon has changed nothing in the cloud for ten minutes.
    ///
    /// # Errors
    ///
    /// If that takes more than `limit`, or the first violation.
    pub fn quiesce(&mut self, limit: Duration) -> Result<(), Violation> {
        const QUIET: Duration = Duration::from_secs(600);
        let end = self.now + limit;
        while self.now < end {
            // A daemon that has just started may not have looked yet.
            let before = (self.changes, self.restarts);
            self.run_for(QUIET)?;
            if (self.changes, self.restarts) == before && !self.is_changing() {
                return check::nothing_leaked(self.driver.pool(), &self.world(), &self.instance);
            }
        }
        Err(Violation(format!("the pool still changes the cloud after {limit:?}")))
    }

    /// True if the pool has begun a change that it has not heard the end of.
    fn is_changing(&self) -> bool {
        let view = self.driver.pool().view();
        let begun = view.enis.iter().any(|eni| eni.busy || eni.leaving > 0);
        begun || view.creating.is_some() || view.deleting
    }

    /// [`heal`](Self::heal) and [`quiesce`](Self::quiesce): afterwards every request has been answered,
    /// and the pool holds what EC2 says the node holds.
    ///
    /// # Errors
    ///
    /// If the pool does not come to rest within `limit`, or the first violation.
    pub fn come_to_rest(&mut self, limit: Duration) -> Result<(), Violation> {
        self.heal();
        self.quiesce(limit)?;
        if self.unanswered() > 0 {
            return Err(Violation(format!("{} requests were never answered", self.unanswered())));
        }
        Ok(())
    }
}
