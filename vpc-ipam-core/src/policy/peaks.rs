//! The highest level within a sliding window.

use crate::time::Time;

/// Peaks of `N` intervals of equal width, the running one first.
#[derive(Clone, Debug)]
pub(super) struct Peaks<const N: usize> {
    width_ms: u64,
    /// Number of the running interval since the epoch.
    interval: u64,
    peaks: [u32; N],
}

impl<const N: usize> Peaks<N> {
    pub(super) const fn new(width_ms: u64) -> Self {
        Self { width_ms, interval: 0, peaks: [0; N] }
    }

    /// Time has passed, and `level` has held since the last call.
    pub(super) fn advance(&mut self, now: Time, level: u32) {
        let interval = now.as_millis() / self.width_ms;
        let begun = usize::try_from(interval.saturating_sub(self.interval)).unwrap_or(N).min(N);
        self.peaks.rotate_right(begun);
        for peak in self.peaks.iter_mut().take(begun) {
            *peak = level;
        }
        self.interval = self.interval.max(interval);
    }

    pub(super) fn note(&mut self, level: u32) {
        if let Some(peak) = self.peaks.first_mut() {
            *peak = level.max(*peak);
        }
    }

    pub(super) fn max(&self) -> u32 {
        self.peaks.iter().copied().max().unwrap_or(0)
    }

    /// When a maximum above `level` may next be forgotten.
    pub(super) fn revisit(&self, level: u32) -> Option<Time> {
        let end = self.interval.saturating_add(1).saturating_mul(self.width_ms);
        (self.max() > level).then_some(Time::from_millis(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_nobody_mentioned_again_has_held_and_is_forgotten_after_the_window() {
        let mut peaks = Peaks::<3>::new(10);
        peaks.note(9);
        peaks.advance(Time::from_millis(1000), 9);
        peaks.advance(Time::from_millis(1010), 2);
        assert_eq!(peaks.max(), 9);
        assert_eq!(peaks.revisit(2), Some(Time::from_millis(1020)));
        peaks.advance(Time::from_millis(1029), 2);
        assert_eq!(peaks.max(), 9);
        peaks.advance(Time::from_millis(1030), 2);
        assert_eq!((peaks.max(), peaks.revisit(2)), (2, None));
    }
}
