//! Bounded waiting: how often and how long something is tried.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::sleep;
use vpc_ipam_core::cloud::{CloudError, CloudErrorKind};

/// How often a thing is tried, and how long the pauses are. Pauses double up to a cap, and up to
/// `jitter_percent` more is added so that nodes which failed together do not try together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Backoff {
    /// Tries, the first included. There is no pause after the last.
    pub(crate) tries: u32,
    /// First pause.
    pub(crate) first: Duration,
    /// Longest pause before jitter.
    pub(crate) cap: Duration,
    /// Jitter, in percent of the pause.
    pub(crate) jitter_percent: u32,
}

/// Before the first look whether a new ENI is attached: EC2 takes a second or more, and so does the
/// kernel's link, without which nothing can be done with it.
pub(crate) const ATTACH_TIME: Duration = Duration::from_secs(1);

/// Waiting for EC2 to show a new ENI as attached: each look is a call. The reference polls instance
/// metadata 12 times from 100 ms on, for nearly three minutes; EC2 shows the ENI within seconds. About
/// half a minute in all.
pub(crate) const ATTACHED: Backoff = Backoff {
    tries: 9,
    first: Duration::from_secs(1),
    cap: Duration::from_secs(5),
    jitter_percent: 15,
};

/// Detaching. The reference's numbers: about 220 s in all.
pub(crate) const DETACH: Backoff = Backoff {
    tries: 12,
    first: Duration::from_millis(200),
    cap: Duration::from_secs(60),
    jitter_percent: 15,
};

/// Before the first try to delete a detached ENI. The reference pauses for 2 s; most detachments take
/// 1 to 5 s. Deleting has time, and a try that is too early costs two calls.
pub(crate) const DETACH_TIME: Duration = Duration::from_secs(3);

/// Waiting for an ENI whose deletion came too early to become available.
pub(crate) const DETACHED: Backoff = Backoff {
    tries: 6,
    first: Duration::from_secs(1),
    cap: Duration::from_secs(5),
    jitter_percent: 15,
};

/// Deleting. The reference's numbers: about 300 s in all.
pub(crate) const DELETE: Backoff = Backoff {
    tries: 12,
    first: Duration::from_millis(500),
    cap: Duration::from_secs(60),
    jitter_percent: 15,
};

/// Tagging. The reference's numbers: about 9 s in all.
pub(crate) const TAGS: Backoff = Backoff {
    tries: 5,
    first: Duration::from_millis(500),
    cap: Duration::from_secs(60),
    jitter_percent: 30,
};

impl Backoff {
    /// The pause after try number `done` (from 1), or `None` if that was the last.
    fn pause(&self, done: u32, seed: u64) -> Option<Duration> {
        if done >= self.tries {
            return None;
        }
        let factor = 1u32.checked_shl(done.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(factor).min(self.cap);
        // Not random, but different from node to node and try to try, which is what counts.
        let mut hasher = DefaultHasher::new();
        (seed, done).hash(&mut hasher);
        let percent = u32::try_from(hasher.finish() % u64::from(self.jitter_percent.max(1)))
            .unwrap_or_default();
        Some(pause + pause * percent / 100)
    }

    /// A counter over this backoff. `object` makes its jitter its own.
    pub(crate) fn start(self, object: &str) -> Tries {
        let mut hasher = DefaultHasher::new();
        object.hash(&mut hasher);
        Tries { backoff: self, seed: hasher.finish(), done: 0 }
    }
}

/// Tries made so far.
#[derive(Debug)]
pub(crate) struct Tries {
    backoff: Backoff,
    seed: u64,
    done: u32,
}

impl Tries {
    /// Counts a failed try without a pause; false if that was the last one.
    pub(crate) fn count(&mut self) -> bool {
        self.done = self.done.saturating_add(1);
        self.done < self.backoff.tries
    }

    /// Call after a failed try: pauses and returns true, or returns false at once if that was the
    /// last one.
    pub(crate) async fn again(&mut self) -> bool {
        self.done = self.done.saturating_add(1);
        match self.backoff.pause(self.done, self.seed) {
            Some(pause) => {
                sleep(pause).await;
                true
            }
            None => false,
        }
    }
}

/// True where trying the same again may help.
pub(crate) fn may_pass(error: &CloudError) -> bool {
    !matches!(
        error.kind,
        CloudErrorKind::Disabled | CloudErrorKind::Gone | CloudErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_end() {
        for backoff in [ATTACHED, DETACH, DETACHED, DELETE, TAGS] {
            let pauses: Vec<_> = (1..100).map_while(|done| backoff.pause(done, 7)).collect();
            assert_eq!(pauses.len(), 11.min(backoff.tries as usize - 1));
            for (n, pause) in pauses.iter().enumerate() {
                let plain = backoff.first.saturating_mul(1 << n).min(backoff.cap);
                let most = plain * (100 + backoff.jitter_percent) / 100;
                assert!(*pause >= plain && *pause < most, "{n}: {pause:?}");
            }
        }
    }

    #[test]
    fn the_whole_wait_is_near_the_reference() {
        let total = |b: Backoff| -> u64 {
            (1..b.tries).filter_map(|n| b.pause(n, 1)).map(|p| p.as_secs()).sum()
        };
        assert!((190..250).contains(&total(DETACH)), "{}", total(DETACH));
        assert!((270..350).contains(&total(DELETE)), "{}", total(DELETE));
        assert!((20..40).contains(&total(ATTACHED)), "{}", total(ATTACHED));
    }

    #[test]
    fn jitter_differs_between_objects() {
        let first = |object: &str| {
            let tries = DELETE.start(object);
            DELETE.pause(8, tries.seed)
        };
        let all: std::collections::BTreeSet<_> =
            (0..50).map(|n| first(&format!("eni-{n}"))).collect();
        assert!(all.len() > 5, "{all:?}");
    }
}
