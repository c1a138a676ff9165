//! How fast requests leave for EC2: token buckets for everything that this process sends.
//!
//! EC2 throttles an account, not a node: who sends too fast takes the answers of all others. So
//! each request, whoever makes it and why, takes a token of a bucket here first: the pool's
//! actions, their polls, tags, sweeps, and what the SDK sends again. There is one bucket for
//! actions that change something, one for those that read, and a small one for listings of what
//! is not this node's own. One more limit than the core's budget, but of another thing:
//!
//! - The core's budget (`vpc_ipam_core::budget`) decides whether an *operation* is worth its calls
//!   now, before it begins: it merges requests, and does without releases and growth while EC2
//!   throttles.
//! - The buckets here pace the *requests* that operations are made of, however many those become.
//!   They are larger than what the budget lets through on a good day, so that they hold nothing
//!   back then. They matter when things go wrong: retries, polls and clean-up of several
//!   operations at once, and work that is not the pool's.
//!
//! A throttled answer empties its bucket and halves the rate at which it fills; the rate recovers
//! by a sixteenth of the full one at a time. Requests wait in the order in which they came, those
//! for pods before those in the background, of which every fourth goes first, so that nobody
//! starves. Waiting is bounded, and who has waited in vain gets
//! [`Throttled`](vpc_ipam_core::cloud::CloudErrorKind::Throttled) with a cause that says who held
//! it back.
//!
//! # Retries do not multiply
//!
//! Three layers could repeat a request. Each knows of the next:
//!
//! - The SDK makes [up to three attempts](crate::config::SDK_ATTEMPTS) of a call on its own. The
//!   second and third take tokens as well, and are not made if there is none within seconds or
//!   if somebody waits for one already: then the first failure is the answer.
//! - Loops of the backend that try a call until it succeeds ([`once`]) do without the SDK's.
//! - The pool backs off between operations, and asks its budget before each.
//!
//! What a failed operation can cost at the most is in `docs/ec2-calls.md`, and is tested.

mod bucket;
mod line;
mod pacer;
mod terms;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::{fmt, time::Duration};

use vpc_ipam_core::budget::Rate;

pub(crate) use self::{
    pacer::{HeldBack, Paced, Pacer},
    terms::{in_background, once, sweeping},
};
use crate::config::AwsConfigBuilder;

/// EC2 gives an account 50 mutating calls of an API at once and 5 more per second. Half of what can
/// be saved up lets a node attach eight ENIs as fast as it can; a fifth of the rate leaves room for
/// others while one is in trouble.
const MUTATING: Rate = Rate { capacity: 25, interval: Duration::from_secs(1) };
/// EC2 gives an account 100 calls at once and 20 more per second of an API that reads: half, and a
/// fifth.
const READING: Rate = Rate { capacity: 50, interval: Duration::from_millis(250) };
/// EC2 counts listings without ids or filters apart, 50 at once and 10 more per second. A tenth of
/// that at once and a twentieth of the rate: what looks at things beyond this node has time, and
/// is expensive at EC2 even where filters make it cheap in its books.
const LISTING: Rate = Rate { capacity: 5, interval: Duration::from_secs(2) };
/// Longest wait for a token. A bucket whose rate was cut to the least gives a mutating call its
/// token in 16 s; an ADD waits for half a minute.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Sizes of the buckets that pace all requests to EC2; the default suits an account with the usual
/// limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CallPace {
    /// Actions that change something: Create, Attach, Detach, Delete, Assign, Unassign, Modify,
    /// CreateTags.
    pub mutating: Rate,
    /// Actions that read what is this node's own.
    pub reading: Rate,
    /// Actions that read what is not: the sweep for leaked ENIs.
    pub listing: Rate,
    /// Longest time that a request waits for its token.
    pub wait_max: Duration,
}

impl Default for CallPace {
    fn default() -> Self {
        Self { mutating: MUTATING, reading: READING, listing: LISTING, wait_max: WAIT_MAX }
    }
}

impl CallPace {
    /// No limit at all: for emulators, and callers with limits of their own.
    #[must_use]
    pub const fn unlimited() -> Self {
        let none = Rate { capacity: 1, interval: Duration::ZERO };
        Self { mutating: none, reading: none, listing: none, wait_max: WAIT_MAX }
    }

    pub(crate) fn rate(&self, class: CallClass) -> Rate {
        match class {
            CallClass::Mutating => self.mutating,
            CallClass::Reading => self.reading,
            CallClass::Listing => self.listing,
        }
    }
}

impl AwsConfigBuilder {
    /// How fast requests are sent to EC2; the default suits an account with the usual limits.
    #[must_use]
    pub fn pace(mut self, pace: CallPace) -> Self {
        self.config.pace = pace;
        self
    }
}

/// Which bucket a request takes its token from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum CallClass {
    /// Changes something.
    Mutating,
    /// Reads what is this node's own.
    Reading,
    /// Reads what is not.
    Listing,
}

impl CallClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mutating, Self::Reading, Self::Listing];

    fn of(action: &str, listing: bool) -> Self {
        if !action.starts_with("Describe") {
            Self::Mutating
        } else if listing {
            Self::Listing
        } else {
            Self::Reading
        }
    }
}

impl fmt::Display for CallClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mutating => "mutating",
            Self::Reading => "reading",
            Self::Listing => "listing",
        })
    }
}

/// State of one bucket, and what has passed through it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PaceReport {
    /// Which one.
    pub class: CallClass,
    /// Requests that could be sent at once.
    pub tokens: u32,
    /// Rate at which it fills, in percent of the full one.
    pub rate_percent: u32,
    /// Requests that wait for a token.
    pub waiting: u32,
    /// Requests that were let through, retries included.
    pub sent: u64,
    /// Requests that had to wait before.
    pub delayed: u64,
    /// How long, all together.
    pub wait: Duration,
    /// Requests that were given up instead.
    pub held_back: u64,
    /// Retries that were given up, so that the first failure became the answer.
    pub retries_dropped: u64,
    /// Throttled answers.
    pub throttled: u64,
}
