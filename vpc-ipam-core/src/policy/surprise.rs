//! How far bursts went beyond what was ready, as a histogram that forgets.

/// Fixed-point unit: one burst that has just been seen.
pub(super) const ONE: u32 = 256;

const BUCKETS: usize = 64;
/// Sizes up to this have a bucket each; above, eight share each doubling, up to 1024, which is more
/// than any instance's pods.
const EXACT: u32 = 16;
const PER_DOUBLING: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Surprises {
    /// Bursts by size, in units of [`ONE`].
    counts: [u32; BUCKETS],
}

impl Surprises {
    pub(super) const fn new() -> Self {
        Self { counts: [0; BUCKETS] }
    }

    pub(super) fn record(&mut self, size: u32) {
        if let Some(count) = bucket(size).and_then(|n| self.counts.get_mut(n)) {
            *count = count.saturating_add(ONE);
        }
    }

    /// A burst of `size` was no surprise: one of about that size is forgotten, if there is one.
    pub(super) fn explain(&mut self, size: u32) {
        let (Some(first), Some(last)) = (bucket(size.div_ceil(2)), bucket(size)) else { return };
        let counts = self.counts.get_mut(first..=last).unwrap_or_default();
        if let Some(count) = counts.iter_mut().rev().find(|count| **count > 0) {
            *count = count.saturating_sub(ONE);
        }
    }

    pub(super) fn halve(&mut self) {
        for count in &mut self.counts {
            *count /= 2;
        }
    }

    /// The least number of free addresses with which no more than `allowed` pods of these bursts,
    /// in units of [`ONE`], would have found none. The largest `skip` bursts do not count.
    pub(super) fn spare(&self, allowed: u64, skip: u32) -> u32 {
        let (mut late, mut bursts) = (0u64, 0u64);
        let mut skip = u64::from(skip) * u64::from(ONE);
        for (n, count) in self.counts.iter().enumerate().rev() {
            let skipped = skip.min(u64::from(*count));
            skip -= skipped;
            bursts = bursts.saturating_add(u64::from(*count) - skipped);
            if bursts == 0 {
                continue;
            }
            let below = n.checked_sub(1).map_or(0, largest);
            let step = u64::from(largest(n).saturating_sub(below));
            let next = late.saturating_add(bursts.saturating_mul(step));
            if next > allowed {
                let affordable = allowed.saturating_sub(late) / bursts;
                return largest(n).saturating_sub(u32::try_from(affordable).unwrap_or(u32::MAX));
            }
            late = next;
        }
        0
    }
}

/// Where a burst of `size` is counted; nowhere, if it was none.
fn bucket(size: u32) -> Option<usize> {
    let last = size.checked_sub(1)?;
    let n = if last < EXACT {
        last
    } else {
        let doubling = last.ilog2() - EXACT.ilog2();
        EXACT + doubling * PER_DOUBLING + (last >> (doubling + 1)) - PER_DOUBLING
    };
    usize::try_from(n).ok().map(|n| n.min(BUCKETS - 1))
}

/// The largest size that is counted in this bucket.
fn largest(bucket: usize) -> u32 {
    let n = u32::try_from(bucket).unwrap_or(u32::MAX);
    match n.checked_sub(EXACT) {
        None => n + 1,
        Some(n) => {
            let (doubling, part) = (n / PER_DOUBLING, n % PER_DOUBLING);
            (PER_DOUBLING + part + 1) << (doubling + 1).min(20)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_bucket_that_is_not_smaller_than_it() {
        for size in 1..=1024 {
            let n = bucket(size).unwrap();
            assert!(largest(n) >= size, "{size} in {n}");
            assert!(n == 0 || largest(n - 1) < size, "{size} in {n}");
        }
        assert_eq!(bucket(0), None);
        assert_eq!(bucket(u32::MAX), Some(BUCKETS - 1));
    }

    #[test]
    fn spare_leaves_as_many_pods_without_an_address_as_allowed() {
        let mut surprises = Surprises::new();
        assert_eq!(surprises.spare(0, 0), 0);
        for size in [3, 3, 10] {
            surprises.record(size);
        }
        let spare = |allowed: u32| surprises.spare(u64::from(allowed * ONE), 0);
        assert_eq!(spare(0), 10);
        assert_eq!(spare(2), 8);
        assert_eq!(spare(7), 3);
        assert_eq!(spare(9), 3);
        assert_eq!(spare(10), 2);
        assert_eq!(spare(16), 0);
        assert_eq!(surprises.spare(0, 1), 3);
        assert_eq!(surprises.spare(0, 3), 0);
    }

    #[test]
    fn what_is_halved_often_enough_is_forgotten() {
        let mut surprises = Surprises::new();
        surprises.record(40);
        for _ in 0..9 {
            assert!(surprises.spare(0, 0) >= 40);
            surprises.halve();
        }
        assert_eq!(surprises.spare(0, 0), 0);
    }
}
