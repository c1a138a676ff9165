//! The buckets in a process: a lock, a clock, and futures that wait.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use vpc_ipam_core::{budget::Rate, time::Time};

use super::{
    CallClass, CallPace, PaceReport,
    line::{Line, Ticket, Turn},
    terms::{Terms, Urgency, terms},
};

/// Longest time for which a request is put off before it is sent again: longer, and the pool plans
/// anew, perhaps something better. Not above the 5 s that the SDK allows.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// A request was not sent: it waited in vain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HeldBack {
    pub(crate) class: CallClass,
    pub(crate) rate: Rate,
    pub(crate) waited: Duration,
    /// Others that still wait.
    pub(crate) waiting: u32,
}

/// Shared by all that send requests to EC2.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: CallPace,
    start: Instant,
    mutating: Mutex<Line>,
    reading: Mutex<Line>,
    listing: Mutex<Line>,
}

impl Pacer {
    pub(crate) fn new(pace: CallPace) -> Self {
        let line =
            |class| Mutex::new(Line::new(class, pace.rate(class), pace.wait_max, Time::ZERO));
        Self {
            pace,
            start: Instant::now(),
            mutating: line(CallClass::Mutating),
            reading: line(CallClass::Reading),
            listing: line(CallClass::Listing),
        }
    }

    fn with<T>(&self, class: CallClass, work: impl FnOnce(&mut Line, Time) -> T) -> T {
        let line = match class {
            CallClass::Mutating => &self.mutating,
            CallClass::Reading => &self.reading,
            CallClass::Listing => &self.listing,
        };
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that time does not run backwards in there.
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        work(&mut line, Time::from_millis(ms))
    }

    fn instant(&self, at: Time) -> Instant {
        self.start + Duration::from_millis(at.as_millis())
    }

    /// Waits until a request of `action` may be sent, on the terms of the task.
    pub(crate) async fn turn(&self, action: &str) -> Result<Paced, HeldBack> {
        let Terms { urgency, retries, listing } = terms();
        let class = CallClass::of(action, listing);
        let begun = Instant::now();
        let held_back = |waiting| HeldBack {
            class,
            rate: self.pace.rate(class),
            waited: begun.elapsed(),
            waiting,
        };
        let entered = self.with(class, |line, now| line.enter(urgency, now));
        let place = Place { pacer: self, class, ticket: Some(entered.map_err(held_back)?) };
        self.wait(place).await.map_err(held_back)?;
        Ok(Paced { class, urgency, retries })
    }

    async fn wait(&self, mut place: Place<'_>) -> Result<(), u32> {
        while let Some(ticket) = place.ticket {
            match self.with(place.class, |line, now| line.ask(ticket, now)) {
                Turn::Go => place.ticket = None,
                Turn::Wait(until) => sleep_until(self.instant(until)).await,
                Turn::HeldBack(waiting) => {
                    place.ticket = None;
                    return Err(waiting);
                }
            }
        }
        Ok(())
    }

    /// A token for sending again what has failed, `backoff` from now or soon thereafter, and how
    /// long to wait before; `None` if it is better not to.
    pub(crate) fn retry(&self, paced: Paced, backoff: Duration) -> Option<Duration> {
        self.with(paced.class, |line, now| {
            let times = (now + backoff, now + RETRY_WAIT_MAX);
            line.retry(paced.urgency, now, times).map(|at| at.since(now))
        })
    }

    /// EC2 throttled a request.
    pub(crate) fn throttled(&self, class: CallClass) {
        self.with(class, |line, now| line.throttled(now));
    }

    /// One for each bucket.
    pub(crate) fn report(&self) -> Vec<PaceReport> {
        CallClass::ALL.map(|class| self.with(class, |line, now| line.report(now))).into()
    }
}

/// A request that had its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) class: CallClass,
    urgency: Urgency,
    /// The SDK may send it again.
    pub(crate) retries: bool,
}

/// A place in the line, given up when the caller goes.
#[derive(Debug)]
struct Place<'a> {
    pacer: &'a Pacer,
    class: CallClass,
    ticket: Option<Ticket>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.pacer.with(self.class, |line, _| line.leave(ticket));
        }
    }
}
