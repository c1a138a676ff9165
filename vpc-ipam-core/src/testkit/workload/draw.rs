//! Seeded draws.

use std::time::Duration;

use super::Span;
use crate::testkit::ec2::Random;

/// Numbers that depend on a seed only.
#[derive(Clone, Debug)]
pub(super) struct Draw(Random);

impl Draw {
    /// What all nodes of the fleet have in common.
    pub(super) fn fleet(span: &Span) -> Self {
        Self(Random::new(span.seed))
    }

    /// What is this node's own.
    pub(super) fn node(span: &Span) -> Self {
        let mut random = Random::new(span.seed ^ (u64::from(span.node) + 1).rotate_left(32));
        Self(Random::new(random.next()))
    }

    /// From 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        // 53 bits are what the type holds.
        (self.0.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Anywhere in the range, both ends included.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (ms(low), ms(high));
        Duration::from_millis(low + self.0.next() % high.saturating_sub(low).saturating_add(1))
    }

    /// A time that says nothing about how long it has lasted already, with that mean.
    pub(super) fn memoryless(&mut self, mean: Duration) -> Duration {
        let factor = -(1.0 - self.unit()).ln();
        Duration::from_millis((factor * ms(mean) as f64) as u64)
    }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
