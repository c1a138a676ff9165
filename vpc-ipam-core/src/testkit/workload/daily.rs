//! Day and night.

use std::{f64::consts::TAU, time::Duration};

use super::{
    PodEvent, Span,
    draw::Draw,
    life::{Life, end, schedule},
};
use crate::time::Time;

/// Pods at the quietest and at the busiest hour, as shares of what the node takes.
const LOW: f64 = 0.2;
const HIGH: f64 = 0.7;
/// How long a pod lives on average. On a node for 56 pods that makes some 2,500 starts a day.
const LIFE: Duration = Duration::from_secs(870);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The busiest hour; the simulation starts at midnight.
const BUSIEST: Duration = Duration::from_secs(15 * 3600);

/// From 20 % full at three in the morning to 70 % at three in the afternoon, as autoscaled services
/// do; pods live a quarter of an hour on average. A run starts at midnight.
pub fn daily(span: &Span) -> Vec<PodEvent> {
    let mut draw = Draw::node(span);
    let capacity = f64::from(span.pods_max.max(1));
    let mut lives: Vec<Life> = (0..(capacity * level(Time::ZERO)) as u32)
        .map(|_| {
            let from = Time::ZERO + draw.between(Duration::ZERO, Duration::from_secs(60));
            Life::new(from, draw.memoryless(LIFE))
        })
        .collect();
    // Thinning: draw at the busiest hour's rate, keep what the hour justifies.
    let gap = LIFE.div_f64(capacity * HIGH);
    let mut at = Time::ZERO + draw.memoryless(gap);
    while at < end(span) {
        if draw.unit() < level(at) / HIGH {
            lives.push(Life::new(at, draw.memoryless(LIFE)));
        }
        at = at + draw.memoryless(gap).max(Duration::from_millis(1));
    }
    schedule(span, lives)
}

fn level(at: Time) -> f64 {
    let phase = (at.since(Time::ZERO).as_secs_f64() - BUSIEST.as_secs_f64()) / DAY.as_secs_f64();
    let middle = f64::midpoint(LOW, HIGH);
    middle + (HIGH - middle) * (phase * TAU).cos()
}
