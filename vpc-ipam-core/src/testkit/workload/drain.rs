//! Nodes that are emptied for maintenance.

use std::time::Duration;

use super::{
    PodEvent, Span,
    draw::Draw,
    life::{Life, schedule, share},
};
use crate::time::Time;

/// Pods on the node, in percent of what it takes.
const FULL_PERCENT: u32 = 75;
/// Evictions of one node take this long.
const WIDTH: Duration = Duration::from_secs(60);
/// How long the node stays cordoned.
const CORDONED: Duration = Duration::from_secs(30 * 60);
/// The scheduler fills it again within this time.
const REFILL: Duration = Duration::from_secs(15 * 60);

/// A node 75 % full that is drained once, stays empty for half an hour and fills again. The nodes of
/// a fleet take turns, spread over the run.
pub fn drain(span: &Span) -> Vec<PodEvent> {
    let mut draw = Draw::node(span);
    // The first and the last eighth stay quiet, so that there is a before and an after.
    let turns = span.duration * 3 / 4;
    let turn = turns / span.nodes.max(1) * span.node;
    let at = Time::ZERO + span.duration / 8 + turn;
    let mut lives = Vec::new();
    for _ in 0..share(span, FULL_PERCENT) {
        let from = Time::ZERO + draw.between(Duration::ZERO, Duration::from_secs(60));
        let to = at + draw.between(Duration::ZERO, WIDTH);
        lives.push(Life { from, to });
        let back = at + CORDONED + draw.between(Duration::ZERO, REFILL);
        lives.push(Life::new(back, span.duration));
    }
    schedule(span, lives)
}
