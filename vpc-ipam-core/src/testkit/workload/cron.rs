//! Jobs by the clock.

use std::time::Duration;

use super::{
    PodEvent, Span,
    draw::Draw,
    life::{Life, schedule, share, times},
};
use crate::time::Time;

/// Pods that stay, in percent of what the node takes.
const BASE_PERCENT: u32 = 40;
/// Jobs of the full hour, in percent.
const HOURLY_PERCENT: u32 = 35;
/// Jobs of every five minutes, in percent.
const FREQUENT_PERCENT: u32 = 5;
/// The controller makes all pods of one minute within this time.
const WIDTH: Duration = Duration::from_secs(4);

/// Long-lived pods on 40 % of the node; at every full hour jobs for another 35 % that take one to
/// five minutes, and every five minutes some that take less than one.
pub fn cron(span: &Span) -> Vec<PodEvent> {
    let s = Duration::from_secs;
    let mut draw = Draw::node(span);
    let mut lives: Vec<Life> = (0..share(span, BASE_PERCENT))
        .map(|_| Life::new(Time::ZERO + draw.between(Duration::ZERO, s(60)), span.duration))
        .collect();
    let schedules =
        [(HOURLY_PERCENT, s(3600), (s(60), s(300))), (FREQUENT_PERCENT, s(300), (s(20), s(55)))];
    for (percent, every, (shortest, longest)) in schedules {
        for at in times(span, every, every) {
            for _ in 0..share(span, percent) {
                let from = at + draw.between(Duration::ZERO, WIDTH);
                lives.push(Life::new(from, draw.between(shortest, longest)));
            }
        }
    }
    schedule(span, lives)
}
