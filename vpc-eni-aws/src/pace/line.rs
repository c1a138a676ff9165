//! Who waits for a token of a bucket, and in which order: pure, with time as a parameter.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use vpc_ipam_core::{budget::Rate, time::Time};

use super::{CallClass, PaceReport, bucket::Bucket, terms::Urgency};

/// Tokens in a row that go to urgent requests while others wait: those get a quarter at the least.
const URGENT_RUN: u32 = 3;
/// Requests that may wait for one bucket. At the full rate a mutating one lets 30 pass in the longest
/// wait; some hundred operations and their polls come to no more than this.
const WAITING_MAX: usize = 256;

/// A place in the line.
pub(super) type Ticket = u64;

/// What a place in the line is worth now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// The request may be sent, once.
    Go,
    /// Ask again then.
    Wait(Time),
    /// Waited in vain, together with as many others.
    HeldBack(u32),
}

/// A bucket and those who wait for it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    bucket: Bucket,
    wait_max: Duration,
    urgent: VecDeque<(Ticket, Time)>,
    background: VecDeque<(Ticket, Time)>,
    /// Tokens that went to urgent requests since the last other one.
    run: u32,
    next: Ticket,
    granted: BTreeSet<Ticket>,
    report: PaceReport,
}

impl Line {
    pub(super) fn new(class: CallClass, rate: Rate, wait_max: Duration, now: Time) -> Self {
        Self {
            bucket: Bucket::new(rate, now),
            wait_max,
            urgent: VecDeque::new(),
            background: VecDeque::new(),
            run: 0,
            next: 0,
            granted: BTreeSet::new(),
            report: PaceReport {
                class,
                tokens: 0,
                rate_percent: 0,
                waiting: 0,
                sent: 0,
                delayed: 0,
                wait: Duration::ZERO,
                held_back: 0,
                retries_dropped: 0,
                throttled: 0,
            },
        }
    }

    fn waiting(&self) -> usize {
        self.urgent.len() + self.background.len()
    }

    fn others(&self) -> u32 {
        u32::try_from(self.waiting()).unwrap_or(u32::MAX)
    }

    /// A place for a request; how many wait, if those are too many.
    pub(super) fn enter(&mut self, urgency: Urgency, now: Time) -> Result<Ticket, u32> {
        if self.waiting() >= WAITING_MAX {
            self.report.held_back += 1;
            return Err(self.others());
        }
        let ticket = self.next;
        self.next += 1;
        match urgency {
            Urgency::Urgent => self.urgent.push_back((ticket, now)),
            Urgency::Background => self.background.push_back((ticket, now)),
        }
        Ok(ticket)
    }

    /// Whose turn it is: tokens that have come go to those who wait.
    fn settle(&mut self, now: Time) {
        self.bucket.pass(now);
        while self.waiting() > 0 && self.bucket.take() {
            let yield_now = self.run >= URGENT_RUN && !self.background.is_empty();
            let first = if yield_now { None } else { self.urgent.pop_front() };
            if first.is_some() {
                self.run += 1;
            } else {
                self.run = 0;
            }
            let Some((ticket, since)) = first.or_else(|| self.background.pop_front()) else {
                break;
            };
            self.granted.insert(ticket);
            self.report.sent += 1;
            let waited = now.since(since);
            if !waited.is_zero() {
                self.report.delayed += 1;
                self.report.wait += waited;
            }
        }
    }

    /// What a place is worth now. Unless it is to wait, it is gone thereafter.
    pub(super) fn ask(&mut self, ticket: Ticket, now: Time) -> Turn {
        self.settle(now);
        if self.granted.remove(&ticket) {
            return Turn::Go;
        }
        let mut places = self.urgent.iter().chain(&self.background);
        let since = places.find(|(other, _)| *other == ticket).map_or(now, |(_, since)| *since);
        let deadline = since + self.wait_max;
        if now >= deadline {
            self.forget(ticket);
            self.report.held_back += 1;
            self.report.wait += now.since(since);
            return Turn::HeldBack(self.others());
        }
        // Never now: whoever asks too early would ask for ever.
        let next = self.bucket.look_again().max(now + Duration::from_millis(1));
        Turn::Wait(next.min(deadline))
    }

    /// The request will not be sent.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if self.granted.remove(&ticket) {
            self.report.sent = self.report.sent.saturating_sub(1);
            self.bucket.put_back();
        }
        self.forget(ticket);
    }

    fn forget(&mut self, ticket: Ticket) {
        self.urgent.retain(|(other, _)| *other != ticket);
        self.background.retain(|(other, _)| *other != ticket);
    }

    /// A token for sending a request again between `earliest` and `latest`, and when. None if there
    /// is none by then, or if others wait: they have not even tried.
    pub(super) fn retry(
        &mut self,
        urgency: Urgency,
        now: Time,
        (earliest, latest): (Time, Time),
    ) -> Option<Time> {
        self.settle(now);
        let ahead = match urgency {
            Urgency::Urgent => self.urgent.len(),
            Urgency::Background => self.waiting(),
        };
        let at = if ahead > 0 { None } else { self.bucket.promise(earliest, latest) };
        match at {
            Some(_) => self.report.sent += 1,
            None => self.report.retries_dropped += 1,
        }
        at
    }

    /// EC2 throttled a request.
    pub(super) fn throttled(&mut self, now: Time) {
        self.settle(now);
        self.report.throttled += 1;
        self.bucket.throttled(now);
    }

    pub(super) fn report(&mut self, now: Time) -> PaceReport {
        self.settle(now);
        PaceReport {
            tokens: self.bucket.tokens(),
            rate_percent: self.bucket.rate_percent(),
            waiting: self.others(),
            ..self.report.clone()
        }
    }
}
