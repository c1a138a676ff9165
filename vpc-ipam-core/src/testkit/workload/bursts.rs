//! Batches.

use std::time::Duration;

use super::{
    PodEvent, Span,
    draw::Draw,
    life::{Life, end, schedule, share},
};
use crate::time::Time;

/// Pods that stay, in percent of what the node takes.
const BASE_PERCENT: u32 = 25;
/// Size of a batch, smallest and largest, in percent.
const BATCH_PERCENT: (u32, u32) = (20, 60);
/// Time between batches on average.
const GAP: Duration = Duration::from_secs(20 * 60);
/// A batch is scheduled within this time.
const WIDTH: Duration = Duration::from_secs(5);
/// How long its pods live.
const LIFE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(360));

/// A few long-lived pods, and at random moments batches of a fifth to three fifths of the node that
/// come within seconds and go after some minutes.
pub fn bursts(span: &Span) -> Vec<PodEvent> {
    let mut draw = Draw::node(span);
    let mut lives: Vec<Life> = (0..share(span, BASE_PERCENT))
        .map(|_| Life::new(Time::ZERO + draw.between(Duration::ZERO, WIDTH), span.duration))
        .collect();
    let mut at = Time::ZERO + draw.memoryless(GAP);
    while at < end(span) {
        let (low, high) = BATCH_PERCENT;
        let percent = low + (draw.unit() * f64::from(high - low)) as u32;
        for _ in 0..share(span, percent) {
            let from = at + draw.between(Duration::ZERO, WIDTH);
            lives.push(Life::new(from, draw.between(LIFE.0, LIFE.1)));
        }
        at = at + draw.memoryless(GAP).max(WIDTH);
    }
    schedule(span, lives)
}
