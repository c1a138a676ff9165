//! Deployments that are replaced.

use std::time::Duration;

use super::{
    PodEvent, Span,
    draw::Draw,
    life::{Life, schedule, share, times},
};
use crate::time::Time;

/// Pods on the node, in percent of what it takes: room for the new beside the old.
const FULL_PERCENT: u32 = 70;
/// Time between rollouts.
const EVERY: Duration = Duration::from_secs(2 * 3600);
/// A rollout reaches all pods within this time.
const WIDTH: Duration = Duration::from_secs(300);
/// The old pod goes this long after the new one has come: readiness and the grace period.
const OVERLAP: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(35));

/// Deployments that fill 70 % of the node and are replaced every two hours within five minutes, each
/// new pod before its old one goes. The whole fleet at once.
pub fn rollout(span: &Span) -> Vec<PodEvent> {
    let mut draw = Draw::node(span);
    let first = Draw::fleet(span).between(EVERY / 8, EVERY / 2);
    let mut lives = Vec::new();
    for _ in 0..share(span, FULL_PERCENT) {
        let mut from = Time::ZERO + draw.between(Duration::ZERO, Duration::from_secs(60));
        for rollout in times(span, first, EVERY) {
            let next = rollout + draw.between(Duration::ZERO, WIDTH);
            lives.push(Life { from, to: next + draw.between(OVERLAP.0, OVERLAP.1) });
            from = next;
        }
        lives.push(Life::new(from, span.duration));
    }
    schedule(span, lives)
}
