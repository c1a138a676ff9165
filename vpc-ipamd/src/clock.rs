//! The daemon's clock: the core's [`Time`] from the machine's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use vpc_ipam_core::time::Time;

/// Wall clock at its creation, advanced by the monotonic clock.
///
/// Times read from it never jump, whatever is done to the wall clock, and yet mean something in a
/// state file that another process reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at: Duration,
}

impl Clock {
    /// A clock that agrees with the wall clock now.
    pub(crate) fn start() -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at }
    }

    /// The present.
    pub(crate) fn now(&self) -> Time {
        let since_epoch = self.started_at.saturating_add(self.started.elapsed());
        Time::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    /// Time since the clock was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long to wait for `deadline`; zero if it has passed.
    pub(crate) fn until(&self, deadline: Time) -> Duration {
        deadline.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards_and_deadlines_are_relative_to_it() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(clock.now() >= now);
        assert!(now > Time::from_millis(1_700_000_000_000), "not since the epoch: {now}");
        assert_eq!(clock.until(Time::ZERO), Duration::ZERO);
        assert!(clock.until(now + Duration::from_secs(3600)) > Duration::from_secs(3000));
    }
}
