//! A rhythm: how far the level rises in each part of a period such as an hour or a day.

use crate::{plan::earlier, time::Time};

/// How long before a rise is due its addresses are fetched: far longer than an ENI takes to attach.
const AHEAD_MS: u64 = 2 * 60 * 1000;
const UNSEEN: u16 = u16::MAX;

/// A period of `N` parts of equal width, aligned with the epoch and so with UTC.
///
/// It keeps rises, not levels: a node that runs half of yesterday's pods still sees every job.
#[derive(Clone, Debug)]
pub(super) struct Rhythm<const N: usize> {
    width_ms: u64,
    rises: [u16; N],
    /// Number of the running part since the epoch.
    part: u64,
    start: u32,
    peak: u32,
    /// Not seen from its beginning, so that nothing is learned from it.
    partial: bool,
}

impl<const N: usize> Rhythm<N> {
    pub(super) const fn new(width_ms: u64) -> Self {
        Self { width_ms, rises: [UNSEEN; N], part: 0, start: 0, peak: 0, partial: true }
    }

    /// Begins at `now` with nothing learned.
    pub(super) fn begin(&mut self, now: Time, level: u32) {
        self.part = now.as_millis() / self.width_ms;
        (self.start, self.peak, self.partial) = (level, level, true);
    }

    /// Time has passed, and `level` has held since the last call.
    pub(super) fn advance(&mut self, now: Time, level: u32) {
        let part = now.as_millis() / self.width_ms;
        // Rises are forgotten within 16 periods, so that more of them without change teach nothing.
        self.part = self.part.max(part.saturating_sub(17 * N as u64));
        while self.part < part {
            self.learn();
            self.part += 1;
            (self.start, self.peak, self.partial) = (level, level, false);
        }
    }

    pub(super) fn note(&mut self, level: u32) {
        self.peak = self.peak.max(level);
    }

    /// The level to be ready for, given `level` now.
    pub(super) fn expected(&self, now: Time, level: u32) -> u32 {
        let running = self.start.saturating_add(self.rise(self.part));
        let next = self.part.saturating_add(1);
        let soon = now.as_millis().saturating_add(AHEAD_MS) >= next.saturating_mul(self.width_ms);
        if soon { running.max(level.saturating_add(self.rise(next))) } else { running }
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

    fn rise(&self, part: u64) -> u32 {
        let rise = self.rises.get(Self::slot(part)).copied().unwrap_or(UNSEEN);
        if rise == UNSEEN { 0 } else { u32::from(rise) }
    }

    /// Half this time, half the times before, rounded down: a rise that stays away is forgotten.
    fn learn(&mut self) {
        if self.partial {
            return;
        }
        let rise = self.peak.saturating_sub(self.start);
        let rise = u16::try_from(rise).unwrap_or(UNSEEN).min(UNSEEN - 1);
        if let Some(known) = self.rises.get_mut(Self::slot(self.part)) {
            *known = if *known == UNSEEN { rise } else { known.midpoint(rise) };
        }
    }
}
