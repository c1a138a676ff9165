//! Deaths of the daemon: at any moment, with any outcome of the calls under way.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{Sim, agenda::Item, run};
use crate::{
    checkpoint::{self, Checkpoint},
    driver::{Driver, Job},
    hint,
    pool::{Event, Pool},
    testkit::check::{self, Violation},
    time::Time,
};

/// What becomes of the calls that are under way when the daemon dies. Nobody hears of their outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InFlight {
    /// They took effect.
    Done,
    /// Some took effect, as the seed says.
    #[default]
    Either,
    /// Cloud calls take effect when their time comes, after the next daemon has started; the others as
    /// in [`Either`](Self::Either).
    Late,
    /// They took no effect.
    Lost,
}

/// A moment at which the daemon can die. Every step of a simulation passes one or several; they are
/// counted, so that a replay can name one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Moment {
    /// An action is about to take effect.
    Before(&'static str),
    /// The new state file is written and not yet renamed.
    BeforeRename,
    /// An action has taken effect, and nobody has heard of it.
    After(&'static str),
    /// The pool has taken in a request, an answer or a timeout. Nothing of what it concluded has been
    /// started or told.
    Decided,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(action) => write!(f, "before {action} takes effect"),
            Self::BeforeRename => f.write_str("before the state file is renamed"),
            Self::After(action) => write!(f, "after {action} has taken effect"),
            Self::Decided => f.write_str("after the pool has decided"),
        }
    }
}

/// A death that was ordered with [`Sim::kill_at`] and has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Kill {
    /// The moment's number.
    pub number: u64,
    /// When.
    pub at: Time,
    /// What the daemon was doing.
    pub moment: Moment,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed at moment {} ({}), {}", self.number, self.at, self.moment)
    }
}

#[derive(Debug, Default)]
pub(super) struct Doom {
    passed: u64,
    numbers: BTreeSet<u64>,
    in_flight: InFlight,
    kills: Vec<Kill>,
    record: bool,
    unchecked: bool,
    moments: Vec<Moment>,
}

impl Sim {
    /// Lets the daemon die at the moments of these numbers, each counted by
    /// [`moments`](Self::moments) before it comes. What is called when one comes returns as usual.
    pub fn kill_at(&mut self, numbers: impl IntoIterator<Item = u64>, in_flight: InFlight) {
        self.doom.numbers.extend(numbers);
        self.doom.in_flight = in_flight;
    }

    /// Lets the daemon live: what [`kill_at`](Self::kill_at) has not brought yet does not come.
    pub fn spare(&mut self) {
        self.doom.numbers.clear();
    }

    /// Moments passed so far: the number of the next one.
    pub fn moments(&self) -> u64 {
        self.doom.passed
    }

    /// The deaths that [`kill_at`](Self::kill_at) has brought so far.
    pub fn kills(&self) -> &[Kill] {
        &self.doom.kills
    }

    /// Keeps all moments that follow, for [`moment_log`](Self::moment_log).
    pub fn record_moments(&mut self) {
        self.doom.record = true;
    }

    /// The moments since [`record_moments`](Self::record_moments), in order.
    pub fn moment_log(&self) -> &[Moment] {
        &self.doom.moments
    }

    /// Leaves out the checks of each step until the daemon has died, for a replay of what has been checked.
    pub fn check_from_next_death(&mut self) {
        self.doom.unchecked = true;
    }

    /// Kills the daemon and starts another one from what is stored. Calls under way may or may not
    /// take effect; nobody hears of it. The runtime then deletes the pods whose ADD was not answered
    /// and repeats its DELs.
    ///
    /// # Errors
    ///
    /// The first violation, an unreadable state file included.
    pub fn crash(&mut self) -> Result<(), Violation> {
        self.crash_with(InFlight::Either)
    }

    /// As [`crash`](Self::crash), with that outcome of the calls under way.
    ///
    /// # Errors
    ///
    /// The first violation, an unreadable state file included.
    pub fn crash_with(&mut self, in_flight: InFlight) -> Result<(), Violation> {
        self.doom.unchecked = false;
        if self.config.detail.checks {
            check::restorable(self.driver.pool(), self.now)?;
        }
        self.end_calls(in_flight)?;
        self.restarts += 1;
        let content = self.store.content();
        let leases = content.as_deref().map_or(Ok(Checkpoint::default()), |content| {
            checkpoint::decode(content).map_err(|e| Violation(e.to_string()))
        })?;
        let mut config = self.config.pool.clone();
        config.seed = config.seed.wrapping_add(self.restarts);
        let mut pool = Pool::restore(config, &leases, self.now);
        if let Some(content) = self.store.hint() {
            let hint = hint::decode(&content).map_err(|e| Violation(e.to_string()))?;
            pool.recall(&hint.enis, self.now);
        }
        self.driver =
            Driver::new(pool, self.cloud.clone(), self.datapath.clone(), self.store.clone());
        // Neither the cooldown is stored, nor what was given back.
        self.released.clear();
        self.given_back.clear();
        let unanswered = std::mem::take(&mut self.requests);
        self.drain()?;
        for request in unanswered.into_values() {
            self.answer(&request, false);
            self.request_release(&request.key)?;
        }
        Ok(())
    }

    fn end_calls(&mut self, in_flight: InFlight) -> Result<(), Violation> {
        for (at, item) in self.agenda.take() {
            match (in_flight, item) {
                (_, Item::Deliver(_)) => {}
                (InFlight::Late, Item::Start { job: job @ Job::Cloud(_), .. })
                | (_, Item::Orphan(job)) => self.agenda.push(at, Item::Orphan(job)),
                (InFlight::Done, Item::Start { job, .. }) => drop(run(job)?),
                (InFlight::Lost, Item::Start { .. }) => {}
                (InFlight::Either | InFlight::Late, Item::Start { job, .. }) => {
                    if self.random.up_to(Duration::from_millis(1)).is_zero() {
                        run(job)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts a moment; true if the daemon dies now.
    pub(super) fn comes(&mut self, moment: Moment) -> bool {
        let number = self.doom.passed;
        self.doom.passed += 1;
        if self.doom.record {
            self.doom.moments.push(moment);
        }
        if !self.doom.numbers.remove(&number) {
            return false;
        }
        self.doom.kills.push(Kill { number, at: self.now, moment });
        true
    }

    pub(super) fn is_checked(&self) -> bool {
        self.config.detail.checks && !self.doom.unchecked
    }

    pub(super) fn kill(&mut self) -> Result<(), Violation> {
        self.crash_with(self.doom.in_flight)
    }

    /// Lets an action happen; `None` if the daemon died over it.
    pub(super) fn take_effect(
        &mut self,
        what: &'static str,
        job: Job,
    ) -> Result<Option<Event>, Violation> {
        if self.comes(Moment::Before(what)) {
            drop(job);
            return self.kill().map(|()| None);
        }
        if what == "Persist" && self.comes(Moment::BeforeRename) {
            self.store.stop_before_rename();
            run(job)?;
            return self.kill().map(|()| None);
        }
        let event = run(job)?;
        if what == "Persist" && self.is_checked() {
            check::stored(self.store.content().as_deref(), &self.running)?;
        }
        if self.comes(Moment::After(what)) {
            return self.kill().map(|()| None);
        }
        Ok(Some(event))
    }
}
