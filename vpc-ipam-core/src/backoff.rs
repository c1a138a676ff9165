//! Delays between retries, and the seeded numbers that spread them.

use std::time::Duration;

/// A small counter-based generator (SplitMix64): the same seed gives the same delays.
///
/// Spreading retries needs no quality beyond "nodes do not march in step".
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A duration in whole milliseconds from zero to `max`, both included.
    pub(crate) fn up_to(&mut self, max: Duration) -> Duration {
        let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.draw() % max_ms.saturating_add(1))
    }
}

/// Exponential backoff: each delay lies between half of and the full `base * 2^failures`.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts one more failure and says how long to wait.
    pub(crate) fn fail(&mut self, jitter: &mut Jitter) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let full = self.base.saturating_mul(factor).min(self.cap);
        let half = full / 2;
        half + jitter.up_to(full - half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn delays_double_up_to_the_cap_and_start_over_after_a_success() {
        let mut jitter = Jitter::new(7);
        let mut backoff = Backoff::new(BASE, CAP);
        for n in 0..40u32 {
            let full = BASE.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(CAP);
            let delay = backoff.fail(&mut jitter);
            assert!(delay >= full / 2 && delay <= full, "attempt {n}: {delay:?}");
        }
        backoff.reset();
        assert!(backoff.fail(&mut jitter) <= BASE);
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_another_one_others() {
        let delays = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..8).map(|_| jitter.up_to(CAP)).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
