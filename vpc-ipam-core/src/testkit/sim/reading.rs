//! What the pool may make of a reading of the cloud.

use std::{collections::BTreeSet, time::Duration};

use super::Sim;
use crate::{
    addr::Prefix,
    pool::{Action, Event},
    testkit::check::{self, Snapshot, Violation},
};

/// What was given back is not taken in again for so long: a reading may still show it.
const GONE_FOR: Duration = Duration::from_secs(60);

impl Sim {
    /// Feeds the pool an answer and looks at what it makes of it.
    pub(super) fn hear(&mut self, event: Event) -> Result<(), Violation> {
        if !self.is_checked() {
            self.driver.handle(event, self.now);
            return Ok(());
        }
        match &event {
            Event::AddressesAssigned { result: Ok(cidrs), .. } => {
                self.given_back.retain(|cidr, _| !cidrs.contains(cidr));
            }
            Event::EniCreated { result: Ok(eni), .. } => {
                self.given_back.retain(|cidr, _| !eni.cidrs.contains(cidr));
            }
            _ => {}
        }
        let reading = matches!(event, Event::Described { .. });
        let before = Snapshot::of(self.driver.pool());
        let deletes = matches!(event, Event::Persisted { .. });
        self.driver.handle(event, self.now);
        if !deletes {
            check::no_lease_lost(&before, self.driver.pool())?;
        }
        if reading { self.check_reading(&before) } else { Ok(()) }
    }

    fn check_reading(&self, before: &Snapshot) -> Result<(), Violation> {
        let held = |snapshot: &Snapshot| -> BTreeSet<Prefix> {
            snapshot.cidrs.iter().map(|(_, cidr)| *cidr).collect()
        };
        let after = held(&Snapshot::of(self.driver.pool()));
        for cidr in after.difference(&held(before)) {
            let since = self.given_back.get(cidr).map(|at| self.now.since(*at));
            if let Some(since) = since.filter(|since| *since < GONE_FOR) {
                let text = format!("{cidr} was given back {since:?} ago and is taken in again");
                return Err(Violation(text));
            }
        }
        Ok(())
    }

    pub(super) fn note_given_back(&mut self, action: &Action) {
        if let Action::UnassignAddresses { cidrs, .. } = action
            && self.config.detail.checks
        {
            self.given_back.extend(cidrs.iter().map(|cidr| (*cidr, self.now)));
        }
    }
}
