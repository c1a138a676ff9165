//! Steady churn.

use std::time::Duration;

use super::{
    PodEvent, Span,
    draw::Draw,
    life::{Life, end, schedule, share},
};
use crate::time::Time;

/// Pods on the node, in percent of what it takes.
const FULL_PERCENT: u32 = 70;
/// How long a pod lives on average.
const LIFE: Duration = Duration::from_secs(600);
/// The pods of the beginning come within this time.
const FILL: Duration = Duration::from_secs(60);

/// A node 70 % full, whose pods come and go at random and live ten minutes on average.
pub fn steady(span: &Span) -> Vec<PodEvent> {
    let mut draw = Draw::node(span);
    let pods = share(span, FULL_PERCENT);
    let mut lives: Vec<Life> = (0..pods)
        .map(|_| Life::new(Time::ZERO + draw.between(Duration::ZERO, FILL), draw.memoryless(LIFE)))
        .collect();
    // As many come as go.
    let gap = LIFE / pods;
    let mut at = Time::ZERO + draw.memoryless(gap);
    while at < end(span) {
        lives.push(Life::new(at, draw.memoryless(LIFE)));
        at = at + draw.memoryless(gap).max(Duration::from_millis(1));
    }
    schedule(span, lives)
}
