//! How many EC2 calls a node may make, and what it does without while EC2 throttles.
//!
//! EC2 throttles per account, region and API, so that one busy node can starve a cluster. Each kind
//! of call has a token bucket here, of a size that leaves room for a fleet. What finds no token
//! waits, and is planned anew when there is one, so that one larger request takes the place of
//! several. A throttled call halves its bucket and raises the [`CallLevel`]; both recover with time.

use std::{fmt, time::Duration};

use crate::{backoff::Jitter, time::Time};

/// EC2 gives an account 50 calls of each mutating API and 5 more per second, 100 and 20 for those
/// that read. This is what a node takes of it at most: about 15 nodes can grow as fast as they may
/// at the same time, all day. Nodes make 2 to 80 such calls an hour.
const ASSIGN: Rate = Rate { capacity: 20, interval: Duration::from_secs(3) };
/// As many as any instance has ENIs on a card, then as fast as ENIs can be attached.
const CREATE: Rate = Rate { capacity: 16, interval: Duration::from_secs(10) };
/// Giving back has time.
const DELETE: Rate = Rate { capacity: 8, interval: Duration::from_secs(15) };
/// Once a minute, and after each surprise.
const DESCRIBE: Rate = Rate { capacity: 10, interval: Duration::from_secs(10) };
/// Giving back has time.
const UNASSIGN: Rate = Rate { capacity: 10, interval: Duration::from_secs(10) };
/// Longest time between two reads of the cloud's view while nothing happens.
const DESCRIBE_PERIOD_MAX: Duration = Duration::from_secs(300);

/// Longest interval that throttling stretches a bucket's to: half an ADD's patience, so that a pod
/// that waits sees a second attempt.
const INTERVAL_MAX: Duration = Duration::from_secs(20);
/// Most times that a bucket is halved: the largest one is down to one token by then.
const HALVED_MAX: u32 = 5;
/// Time without throttling after which a bucket doubles again, and the level sinks by a point.
const RELIEF: Duration = Duration::from_secs(30);
/// Spread of that time, so that nodes which were throttled together do not come back together.
const RELIEF_JITTER: Duration = Duration::from_secs(10);
/// Calls that fail within this time met the same wave of throttling, which counts once.
const WAVE: Duration = Duration::from_secs(1);
/// Waves of throttling after which nothing is requested either, but for pods that wait.
const NO_MUTATIONS_AT: u32 = 3;
/// Most waves that count, so that it takes no more than four minutes to forget them.
const WAVES_MAX: u32 = 6;

/// Size of a token bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Calls that can be made at once; at least one.
    pub capacity: u32,
    /// Time after which there is one more. Zero is no limit.
    pub interval: Duration,
}

/// Sizes of the buckets of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// Adding addresses to an ENI: AssignPrivateIpAddresses, AssignIpv6Addresses.
    pub assign: Rate,
    /// A new ENI: CreateNetworkInterface, AttachNetworkInterface and what belongs to them.
    pub create: Rate,
    /// DetachNetworkInterface and DeleteNetworkInterface.
    pub delete: Rate,
    /// Reading the ENIs: DescribeNetworkInterfaces, DescribeInstances.
    pub describe: Rate,
    /// UnassignPrivateIpAddresses.
    pub unassign: Rate,
    /// Longest time between two reads while the pool changes nothing and each read shows what was
    /// expected. A minute reads as often as the reference.
    pub describe_period_max: Duration,
}

impl Budget {
    /// The rate of that kind of call.
    pub fn rate(&self, kind: CallKind) -> Rate {
        match kind {
            CallKind::Assign => self.assign,
            CallKind::Create => self.create,
            CallKind::Delete => self.delete,
            CallKind::Describe => self.describe,
            CallKind::Unassign => self.unassign,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            assign: ASSIGN,
            create: CREATE,
            delete: DELETE,
            describe: DESCRIBE,
            unassign: UNASSIGN,
            describe_period_max: DESCRIBE_PERIOD_MAX,
        }
    }
}

/// A kind of EC2 call, with a bucket of its own as EC2 has one for each API.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum CallKind {
    /// Adding addresses to an ENI.
    Assign,
    /// Creating and attaching an ENI.
    Create,
    /// Detaching and deleting an ENI.
    Delete,
    /// Reading the ENIs.
    Describe,
    /// Taking addresses from an ENI.
    Unassign,
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assign => "adding addresses to an ENI",
            Self::Create => "attaching an ENI",
            Self::Delete => "deleting an ENI",
            Self::Describe => "reading the ENIs",
            Self::Unassign => "giving addresses back",
        })
    }
}

/// What the node does without while EC2 throttles.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum CallLevel {
    /// Nothing.
    #[default]
    Normal,
    /// Nothing is given back, unless it stands in the way of a pod that waits.
    NoReleases,
    /// Nothing is requested either to keep the pool warm. For pods that wait, one request of a kind
    /// at a time, as fast as the halved buckets allow; the first that succeeds ends this level.
    NoMutations,
}

/// How many calls of a kind can be made now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Allowance {
    /// Calls.
    pub calls: u32,
    /// When there is one more, if not as many as there can be.
    pub next: Option<Time>,
}

impl Default for Allowance {
    /// No limit.
    fn default() -> Self {
        Self { calls: u32::MAX, next: None }
    }
}

/// What the planner has to go by. The default is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Calls {
    /// What is done without.
    pub level: CallLevel,
    /// When the level sinks, if nothing is throttled before.
    pub relief: Option<Time>,
    /// Calls that EC2 has throttled since the pool began.
    pub throttled: u64,
    /// Adding addresses to an ENI.
    pub assign: Allowance,
    /// New ENIs.
    pub create: Allowance,
    /// ENIs to delete.
    pub delete: Allowance,
    /// Giving addresses back.
    pub unassign: Allowance,
}

/// What is left of a [`Budget`].
#[derive(Clone, Debug)]
pub(crate) struct Purse {
    assign: Bucket,
    create: Bucket,
    delete: Bucket,
    describe: Bucket,
    unassign: Bucket,
    waves: u32,
    last_wave: Option<Time>,
    relief: Option<Time>,
    throttled: u64,
    /// All buckets are as they were in the beginning: time changes nothing.
    calm: bool,
}

impl Purse {
    pub(crate) fn new(budget: &Budget, now: Time) -> Self {
        Self {
            assign: Bucket::new(budget.assign, now),
            create: Bucket::new(budget.create, now),
            delete: Bucket::new(budget.delete, now),
            describe: Bucket::new(budget.describe, now),
            unassign: Bucket::new(budget.unassign, now),
            waves: 0,
            last_wave: None,
            relief: None,
            throttled: 0,
            calm: true,
        }
    }

    /// Other sizes from now on; what is left stays.
    pub(crate) fn resize(&mut self, budget: &Budget) {
        self.assign.rate = budget.assign;
        self.create.rate = budget.create;
        self.delete.rate = budget.delete;
        self.describe.rate = budget.describe;
        self.unassign.rate = budget.unassign;
        for bucket in self.buckets() {
            bucket.tokens = bucket.tokens.min(bucket.capacity());
        }
        self.calm = false;
    }

    fn bucket(&mut self, kind: CallKind) -> &mut Bucket {
        match kind {
            CallKind::Assign => &mut self.assign,
            CallKind::Create => &mut self.create,
            CallKind::Delete => &mut self.delete,
            CallKind::Describe => &mut self.describe,
            CallKind::Unassign => &mut self.unassign,
        }
    }

    fn buckets(&mut self) -> [&mut Bucket; 5] {
        let Self { assign, create, delete, describe, unassign, .. } = self;
        [assign, create, delete, describe, unassign]
    }

    /// Lets time pass: tokens come, and throttling is forgotten.
    pub(crate) fn pass(&mut self, now: Time, jitter: &mut Jitter) {
        if self.calm {
            return;
        }
        for bucket in self.buckets() {
            bucket.pass(now, jitter);
        }
        while self.relief.is_some_and(|at| at <= now) {
            self.waves = self.waves.saturating_sub(1);
            let again = self.waves > 0;
            self.relief = again.then(|| now + RELIEF + jitter.up_to(RELIEF_JITTER));
        }
        self.calm = self.waves == 0 && self.buckets().into_iter().all(|bucket| bucket.is_calm());
    }

    /// Takes a token; false if there is none. Time must have [passed](Self::pass).
    pub(crate) fn take(&mut self, kind: CallKind, now: Time) -> bool {
        self.calm = false;
        self.bucket(kind).take(now)
    }

    /// EC2 throttled a call.
    pub(crate) fn throttled(&mut self, kind: CallKind, now: Time, jitter: &mut Jitter) {
        self.calm = false;
        self.throttled = self.throttled.saturating_add(1);
        self.bucket(kind).halve(now, jitter);
        if kind == CallKind::Describe && self.level() == CallLevel::NoMutations {
            // Reads that are throttled say nothing about changes.
            return;
        }
        if self.last_wave.is_none_or(|at| now.since(at) >= WAVE) {
            self.last_wave = Some(now);
            let most = if kind == CallKind::Describe { NO_MUTATIONS_AT - 1 } else { WAVES_MAX };
            self.waves = (self.waves + 1).min(most);
        }
        self.relief = Some(now + RELIEF + jitter.up_to(RELIEF_JITTER));
    }

    /// EC2 answered a call.
    pub(crate) fn answered(&mut self, kind: CallKind) {
        if kind != CallKind::Describe {
            self.waves = self.waves.min(NO_MUTATIONS_AT - 1);
        }
    }

    pub(crate) fn level(&self) -> CallLevel {
        match self.waves {
            0 => CallLevel::Normal,
            waves if waves < NO_MUTATIONS_AT => CallLevel::NoReleases,
            _ => CallLevel::NoMutations,
        }
    }

    /// When the next call of that kind can be made, if not now.
    pub(crate) fn wait(&self, kind: CallKind) -> Option<Time> {
        let bucket = match kind {
            CallKind::Assign => &self.assign,
            CallKind::Create => &self.create,
            CallKind::Delete => &self.delete,
            CallKind::Describe => &self.describe,
            CallKind::Unassign => &self.unassign,
        };
        let allowance = bucket.allowance();
        allowance.next.filter(|_| allowance.calls == 0)
    }

    pub(crate) fn calls(&self) -> Calls {
        Calls {
            level: self.level(),
            relief: self.relief,
            throttled: self.throttled,
            assign: self.assign.allowance(),
            create: self.create.allowance(),
            delete: self.delete.allowance(),
            unassign: self.unassign.allowance(),
        }
    }

    /// When the level may sink.
    pub(crate) fn timeout(&self) -> Option<Time> {
        self.relief
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    rate: Rate,
    tokens: u32,
    /// When the last token came, or could have come.
    since: Time,
    halved: u32,
    relief: Option<Time>,
}

impl Bucket {
    fn new(rate: Rate, now: Time) -> Self {
        Self { rate, tokens: rate.capacity.max(1), since: now, halved: 0, relief: None }
    }

    fn capacity(&self) -> u32 {
        (self.rate.capacity >> self.halved).max(1)
    }

    fn interval(&self) -> Duration {
        let stretched = self.rate.interval.saturating_mul(1 << self.halved);
        stretched.min(INTERVAL_MAX.max(self.rate.interval))
    }

    fn is_unlimited(&self) -> bool {
        self.rate.interval.is_zero()
    }

    fn pass(&mut self, now: Time, jitter: &mut Jitter) {
        if self.is_unlimited() {
            return;
        }
        self.refill(now);
        if self.relief.is_some_and(|at| at <= now) {
            self.halved = self.halved.saturating_sub(1);
            let again = self.halved > 0;
            self.relief = again.then(|| now + RELIEF + jitter.up_to(RELIEF_JITTER));
            // The wait for the next token may be over now.
            self.refill(now);
        }
    }

    fn refill(&mut self, now: Time) {
        let interval_ms = self.interval().as_millis().max(1);
        let came = now.since(self.since).as_millis() / interval_ms;
        let missing = self.capacity().saturating_sub(self.tokens);
        let came = u32::try_from(came).unwrap_or(u32::MAX);
        if came >= missing {
            self.tokens = self.tokens.saturating_add(missing);
            self.since = now;
        } else {
            self.tokens = self.tokens.saturating_add(came);
            self.since = self.since + self.interval().saturating_mul(came);
        }
    }

    fn is_calm(&self) -> bool {
        self.is_unlimited() || self.halved == 0 && self.tokens >= self.capacity()
    }

    fn take(&mut self, now: Time) -> bool {
        if self.is_unlimited() {
            return true;
        }
        if self.tokens >= self.capacity() {
            self.since = now;
        }
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }

    fn halve(&mut self, now: Time, jitter: &mut Jitter) {
        self.halved = (self.halved + 1).min(HALVED_MAX);
        self.tokens = self.tokens.min(self.capacity());
        self.since = now;
        self.relief = Some(now + RELIEF + jitter.up_to(RELIEF_JITTER));
    }

    fn allowance(&self) -> Allowance {
        if self.is_unlimited() {
            return Allowance::default();
        }
        let full = self.tokens >= self.capacity();
        let next = (!full).then(|| self.since + self.interval());
        Allowance { calls: self.tokens, next }
    }
}

#[cfg(test)]
mod tests;
