//! A rhythm: how large the bursts are in each part of a period such as an hour or a day.

use crate::{plan::earlier, time::Time};

/// How long before a rise is due its addresses are fetched: far longer than an ENI takes to attach.
const AHEAD_MS: u64 = 2 * 60 * 1000;
const UNSEEN: u16 = u16::MAX;

/// A period of `N` parts of equal width, aligned with the epoch and so with UTC.
///
/// It keeps the size of bursts, not levels: a node that runs half of yesterday's pods still sees every
/// job, and a level that rises slowly can be followed without having been foreseen.
#[derive(Clone, Debug)]
pub(super) struct Rhythm<const N: usize> {
    width_ms: u64,
    bursts: [u16; N],
    /// Number of the running part since the epoch.
    part: u64,
    /// The lowest level, and the largest burst, of the running part.
    floor: u32,
    burst: u32,
    /// Not seen from its beginning, so that nothing is learned from it.
    partial: bool,
}

impl<const N: usize> Rhythm<N> {
    pub(super) const fn new(width_ms: u64) -> Self {
        Self { width_ms, bursts: [UNSEEN; N], part: 0, floor: 0, burst: 0, partial: true }
    }

    /// Begins at `now` with nothing learned.
    pub(super) fn begin(&mut self, now: Time, level: u32) {
        self.part = now.as_millis() / self.width_ms;
        (self.floor, self.burst, self.partial) = (level, 0, true);
    }

    /// Time has passed, and `level` has held since the last call.
    pub(super) fn advance(&mut self, now: Time, level: u32) {
        let part = now.as_millis() / self.width_ms;
        // Bursts are forgotten within 16 periods, so that more of them without change teach nothing.
        self.part = self.part.max(part.saturating_sub(17 * N as u64));
        while self.part < part {
            self.learn();
            self.part += 1;
            (self.floor, self.burst, self.partial) = (level, 0, false);
        }
    }

    /// The level is this now, and the last burst has brought so many pods.
    pub(super) fn note(&mut self, level: u32, burst: u32) {
        self.floor = self.floor.min(level);
        self.burst = self.burst.max(burst);
    }

    /// The level to be ready for, given `level` now.
    pub(super) fn expected(&self, now: Time, level: u32) -> u32 {
        let running = self.floor.min(level).saturating_add(self.known(self.part));
        let next = self.part.saturating_add(1);
        let soon = now.as_millis().saturating_add(AHEAD_MS) >= next.saturating_mul(self.width_ms);
        if soon { running.max(level.saturating_add(self.known(next))) } else { running }
    }

    /// When the expectation may change by itself.
    pub(super) fn revisit(&self, now: Time) -> Option<Time> {
        let end = self.part.saturating_add(1).saturating_mul(self.width_ms);
        let later = |ms: u64| Some(Time::from_millis(ms)).filter(|at| *at > now);
        earlier(later(end.saturating_sub(AHEAD_MS)), later(end))
    }

    fn slot(part: u64) -> usize {
        usize::try_from(part % N as u64).unwrap_or(0)
    }

    fn known(&self, part: u64) -> u32 {
        let burst = self.bursts.get(Self::slot(part)).copied().unwrap_or(UNSEEN);
        if burst == UNSEEN { 0 } else { u32::from(burst) }
    }

    /// Half this time, half the times before. Rounded so that a burst that comes each time is known in
    /// full, and one that stays away is forgotten.
    fn learn(&mut self) {
        if self.partial {
            return;
        }
        let burst = u16::try_from(self.burst).unwrap_or(UNSEEN).min(UNSEEN - 1);
        if let Some(known) = self.bursts.get_mut(Self::slot(self.part)) {
            *known = match *known {
                UNSEEN => burst,
                less if less < burst => less + (burst - less).div_ceil(2),
                more => more.midpoint(burst),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rhythm of one part, after these bursts.
    fn after(bursts: &[u32]) -> u32 {
        let mut rhythm = Rhythm::<1>::new(1000);
        rhythm.begin(Time::ZERO, 7);
        for n in 1.. {
            rhythm.advance(Time::from_millis(1000 * n), 7);
            let Some(burst) = bursts.get(n as usize - 1) else { break };
            rhythm.note(7 + burst, *burst);
        }
        rhythm.known(0)
    }

    #[test]
    fn a_burst_that_comes_each_time_is_known_in_full_and_one_that_stays_away_is_forgotten() {
        assert_eq!(after(&[20]), 20);
        assert_eq!(after(&[20, 21, 20, 21]), 21);
        assert_eq!(after(&[0, 20, 20, 20, 20, 20]), 20);
        assert_eq!(after(&[20, 0, 0, 0, 0, 0]), 0);
        assert_eq!(after(&[20, 0]), 10);
    }

    #[test]
    fn after_the_burst_nothing_more_is_expected_and_before_it_the_lowest_level_counts() {
        let mut rhythm = Rhythm::<1>::new(1000 * 1000);
        rhythm.begin(Time::ZERO, 7);
        let start = |n: u64| Time::from_millis(n * 1000 * 1000);
        rhythm.advance(start(1), 7);
        rhythm.note(17, 10);
        rhythm.advance(start(2), 7);
        assert_eq!(rhythm.expected(start(2), 7), 17);
        rhythm.note(17, 10);
        assert_eq!(rhythm.expected(start(2), 17), 17);
        rhythm.note(4, 0);
        assert_eq!(rhythm.expected(start(2), 4), 14);
        rhythm.note(9, 0);
        assert_eq!(rhythm.expected(start(2), 9), 14);
    }
}
