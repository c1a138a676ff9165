//! One bucket: pure, with time as a parameter.

use std::{collections::VecDeque, time::Duration};

use vpc_ipam_core::{budget::Rate, time::Time};

/// Parts of the full rate. What fills the bucket is counted in them: [`SHARES`] parts for each
/// millisecond at the full rate.
const SHARES: u32 = 16;
/// Time after which the rate grows by one part. From the least to the full one it takes a minute:
/// as long as it takes the core to forget two waves of throttling.
const EASE: Duration = Duration::from_secs(4);
/// Throttled answers within this time were sent at the same rate, which is cut once for them.
const WAVE: Duration = Duration::from_secs(1);

/// A token bucket that gives way when EC2 throttles.
///
/// In any time `t` no more requests pass than its capacity and what the full rate gives in `t`,
/// those that were promised for later included.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// Parts; less than nothing where the next token is promised already.
    level: i64,
    since: Time,
    share: u32,
    /// When the rate grows, if it is not the full one.
    eased: Time,
    wave: Option<Time>,
    /// When requests pass that have their token already.
    promised: VecDeque<Time>,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Time) -> Self {
        let mut bucket = Self {
            rate,
            level: 0,
            since: now,
            share: SHARES,
            eased: now,
            wave: None,
            promised: VecDeque::new(),
        };
        bucket.level = bucket.full();
        bucket
    }

    pub(super) fn is_unlimited(&self) -> bool {
        self.rate.interval.is_zero()
    }

    /// Parts that a token costs.
    fn cost(&self) -> i64 {
        let ms = u32::try_from(self.rate.interval.as_millis()).unwrap_or(u32::MAX);
        i64::from(ms.max(1)) * i64::from(SHARES)
    }

    /// Parts when full. What is promised for later takes its place until then, or it would come on
    /// top of a full bucket.
    fn full(&self) -> i64 {
        let promised = u32::try_from(self.promised.len()).unwrap_or(u32::MAX);
        let calls = self.rate.capacity.max(1).saturating_sub(promised);
        i64::from(calls).saturating_mul(self.cost())
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, now: Time) {
        loop {
            let sent = self.promised.front().copied();
            let eased = (self.share < SHARES).then_some(self.eased);
            let next = sent.into_iter().chain(eased).min();
            let Some(at) = next.filter(|at| *at <= now) else { break };
            self.fill(at);
            if sent == Some(at) {
                self.promised.pop_front();
            } else {
                self.share += 1;
                self.eased = at + EASE;
            }
        }
        self.fill(now);
    }

    fn fill(&mut self, now: Time) {
        let ms = i64::try_from(now.since(self.since).as_millis()).unwrap_or(i64::MAX);
        let came = ms.saturating_mul(i64::from(self.share));
        self.level = self.level.saturating_add(came).min(self.full().max(self.level));
        self.since = self.since.max(now);
    }

    /// Takes a token; false if there is none. Time must have [passed](Self::pass).
    pub(super) fn take(&mut self) -> bool {
        if self.is_unlimited() {
            return true;
        }
        let enough = self.level >= self.cost();
        if enough {
            self.level -= self.cost();
        }
        enough
    }

    /// Puts a token back that was not used.
    pub(super) fn put_back(&mut self) {
        if !self.is_unlimited() {
            self.level = (self.level + self.cost()).min(self.full().max(self.level));
        }
    }

    /// When there is a token, if nothing changes before. Time must have passed.
    pub(super) fn next(&self) -> Time {
        let missing = self.cost().saturating_sub(self.level);
        if self.is_unlimited() || missing <= 0 {
            return self.since;
        }
        let share = i64::from(self.share.max(1));
        let ms = (missing + share - 1) / share;
        self.since + Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// When to look again for those who wait: [`next`](Self::next), or when the rate has grown.
    pub(super) fn look_again(&self) -> Time {
        if self.share < SHARES { self.next().min(self.eased) } else { self.next() }
    }

    /// Promises a token for a request that is sent at `earliest` or later, and says when; `None` if
    /// that would be after `latest`, or if half of the bucket is promised already. Time must have
    /// passed.
    pub(super) fn promise(&mut self, earliest: Time, latest: Time) -> Option<Time> {
        if self.is_unlimited() {
            return Some(earliest);
        }
        let at = self.next().max(earliest);
        let room = self.promised.len() < (self.rate.capacity as usize / 2).max(1);
        if at > latest || !room {
            return None;
        }
        self.level -= self.cost();
        let place = self.promised.partition_point(|other| *other <= at);
        self.promised.insert(place, at);
        Some(at)
    }

    /// EC2 throttled a request. Time must have passed.
    pub(super) fn throttled(&mut self, now: Time) {
        if self.is_unlimited() {
            return;
        }
        self.level = self.level.min(0);
        if self.wave.is_none_or(|at| now.since(at) >= WAVE) {
            self.wave = Some(now);
            self.share = (self.share / 2).max(1);
        }
        self.eased = now + EASE;
    }

    /// Requests that could be sent at once.
    pub(super) fn tokens(&self) -> u32 {
        if self.is_unlimited() {
            return u32::MAX;
        }
        u32::try_from((self.level / self.cost()).max(0)).unwrap_or(u32::MAX)
    }

    pub(super) fn rate_percent(&self) -> u32 {
        self.share * 100 / SHARES
    }
}
