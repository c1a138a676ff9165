//! Latencies as the verdict reports them.

use std::time::Duration;

use serde::Serialize;

/// Percentiles of a set of durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// By nearest rank: every figure is one that was measured. All zero for an empty set.
    pub(crate) fn of(samples: &[Duration]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            let sample = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            (sample.as_secs_f64() * 1e5).round() / 100.0
        };
        Self { p50: at(50), p90: at(90), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_by_nearest_rank_and_need_no_order() {
        let hundred = Percentiles::of(&ms((1..=100).rev()));
        assert_eq!(hundred, Percentiles { p50: 50.0, p90: 90.0, p99: 99.0 });
        let one = Percentiles::of(&ms([7]));
        assert_eq!(one, Percentiles { p50: 7.0, p90: 7.0, p99: 7.0 });
        assert_eq!(Percentiles::of(&[]), Percentiles::default());
    }

    #[test]
    fn microseconds_survive() {
        assert_eq!(Percentiles::of(&[Duration::from_micros(1_234)]).p50, 1.23);
    }
}
