//! Warm policies: how many addresses to keep ready beyond those that pods use.
//!
//! A [`WarmPolicy`] is told the demand after every change and answers with a [`Band`]; the planner
//! keeps the free addresses inside it, and the reason of each plan says why the band is what it is.
//! [`StaticTargets`], the default, has no opinion, so that the configured
//! [`WarmTargets`](crate::config::WarmTargets) decide exactly as the reference's do. [`Adaptive`]
//! learns. An embedder brings its own with [`Pool::set_policy`](crate::pool::Pool::set_policy):
//!
//! ```
//! use vpc_ipam_core::{
//!     config::PoolConfig,
//!     policy::{Band, Basis, Demand, WarmPolicy},
//!     time::Time,
//! };
//!
//! /// Half as many free addresses as there are pods.
//! #[derive(Debug, Default)]
//! struct Half(Option<Band>);
//!
//! impl WarmPolicy for Half {
//!     fn observe(&mut self, demand: Demand, _: &PoolConfig, _: Time) {
//!         let free = demand.total() / 2;
//!         let basis = Basis::Other("half as many as pods");
//!         self.0 = Some(Band { low: free, fill: free + 2, high: free + 6, basis });
//!     }
//!
//!     fn band(&self) -> Option<Band> {
//!         self.0
//!     }
//! }
//! ```

mod adaptive;
mod peaks;
mod rhythm;
mod surprise;

use std::{fmt, time::Duration};

pub use self::adaptive::{Adaptive, Bounds};
use crate::{config::PoolConfig, time::Time};

/// What pods take of the pool at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Addresses that are leased.
    pub assigned: u32,
    /// Released addresses that rest, so that no pod can have them yet.
    pub cooling: u32,
    /// Pods that wait for an address.
    pub waiting: u32,
    /// How long fetching more takes: about the longest of the last attempts, an ENI included if there
    /// may be another one. Zero if nothing has been fetched yet.
    pub lead: Duration,
}

impl Demand {
    /// Addresses that it takes to serve everyone.
    pub fn total(&self) -> u32 {
        self.assigned.saturating_add(self.cooling).saturating_add(self.waiting)
    }
}

/// How many addresses should be free: neither leased, nor resting, nor about to go to a pod that
/// waits.
///
/// The pool grows when fewer than `low` are free, until `fill` are; it gives back when more than
/// `high` are free, until `fill` are. A wide band costs addresses, a narrow one EC2 calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Band {
    /// Fewer are too few.
    pub low: u32,
    /// What growing and giving back aim at, from `low` to `high`.
    pub fill: u32,
    /// More are too many.
    pub high: u32,
    /// Why.
    pub basis: Basis,
}

impl Band {
    /// The band with `low <= fill <= high`, whatever a policy has put into it: one that is upside
    /// down would grow and shrink in turns.
    pub(crate) fn in_order(mut self) -> Self {
        self.fill = self.fill.max(self.low);
        self.high = self.high.max(self.fill);
        self
    }
}

/// What a [`Band`] is derived from, as numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Basis {
    /// What was learned from the recent past. All numbers are addresses.
    Learned {
        /// Taken now.
        now: u32,
        /// Most that were taken lately.
        recent: u32,
        /// What is expected at this time of day.
        expected: u32,
        /// Most that were taken within a day.
        day: u32,
        /// By how much bursts have gone beyond these peaks.
        burst: u32,
    },
    /// Too early to have learned anything. The number is a guess at the first burst.
    WarmingUp(u32),
    /// The words of another policy.
    Other(&'static str),
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Learned { now, recent, expected, day, burst } => {
                write!(
                    f,
                    "pods take {now}, took up to {recent} within {} s and {day} within a day, ",
                    adaptive::HOLD_S
                )?;
                if expected > recent {
                    write!(f, "are expected to take {expected} at this time of day, ")?;
                }
                write!(f, "and bursts went {burst} beyond")
            }
            Self::WarmingUp(guess) => {
                write!(f, "too little is known yet, so a burst of {guess} is expected")
            }
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} should be free: {}", self.low, self.high, self.basis)
    }
}

/// Decides how much to keep ready.
///
/// A policy is deterministic: the same calls give the same bands. It has no clock; time is a
/// parameter and never runs backwards.
pub trait WarmPolicy: fmt::Debug + Send + Sync {
    /// Learns what pods take at `now`. Called after every change, and at
    /// [`revisit`](Self::revisit).
    fn observe(&mut self, demand: Demand, config: &PoolConfig, now: Time);

    /// What should be free after the last observation; `None`: the configured targets decide.
    fn band(&self) -> Option<Band>;

    /// When the band may change although the demand does not: later than the last observation.
    fn revisit(&self) -> Option<Time> {
        None
    }
}

/// The configured targets, which the planner follows by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaticTargets;

impl WarmPolicy for StaticTargets {
    fn observe(&mut self, _: Demand, _: &PoolConfig, _: Time) {}

    fn band(&self) -> Option<Band> {
        None
    }
}

/// Which of the built-in policies a pool uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PolicyConfig {
    /// [`Adaptive`], within bounds.
    Adaptive(Bounds),
    /// [`StaticTargets`].
    #[default]
    Static,
}

impl PolicyConfig {
    /// A policy that knows nothing yet.
    pub fn build(self) -> Box<dyn WarmPolicy> {
        match self {
            Self::Adaptive(bounds) => Box::new(Adaptive::new(bounds)),
            Self::Static => Box::new(StaticTargets),
        }
    }
}

#[cfg(test)]
mod tests;
