//! From lives of pods to a load that a node can take.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{PodChange, PodEvent, Span, draw::ms};
use crate::time::Time;

/// Nothing that is scheduled, pulled, started and stopped is faster.
const LIFE_MIN: Duration = Duration::from_secs(1);

/// From when to when a pod is meant to run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Life {
    pub(super) from: Time,
    pub(super) to: Time,
}

impl Life {
    pub(super) fn new(from: Time, lasts: Duration) -> Self {
        Self { from, to: from + lasts.max(LIFE_MIN) }
    }
}

pub(super) fn end(span: &Span) -> Time {
    Time::ZERO + span.duration
}

/// That share of the pods that fit, at least one.
pub(super) fn share(span: &Span, percent: u32) -> u32 {
    (u64::from(span.pods_max) * u64::from(percent) / 100).try_into().unwrap_or(u32::MAX).max(1)
}

/// Times from `first` on, `every` so often, before the end.
pub(super) fn times(span: &Span, first: Duration, every: Duration) -> impl Iterator<Item = Time> {
    let (first, end) = (ms(first), ms(span.duration));
    (first..end).step_by(usize::try_from(ms(every).max(1)).unwrap_or(1)).map(Time::from_millis)
}

/// Puts the pods on the node in the order of their starts. One that finds the node full goes to
/// another node, as the scheduler would have it.
pub(super) fn schedule(span: &Span, mut lives: Vec<Life>) -> Vec<PodEvent> {
    lives.sort_unstable();
    let end = end(span);
    let mut running = BinaryHeap::new();
    let mut events = Vec::with_capacity(2 * lives.len());
    let mut pod = 0;
    for life in lives {
        while running.peek().is_some_and(|Reverse(to)| *to <= life.from) {
            running.pop();
        }
        if life.from >= end || running.len() >= usize::try_from(span.pods_max).unwrap_or(usize::MAX)
        {
            continue;
        }
        running.push(Reverse(life.to));
        events.push(PodEvent { at: life.from, change: PodChange::Starts, pod });
        if life.to < end {
            events.push(PodEvent { at: life.to, change: PodChange::Stops, pod });
        }
        pod += 1;
    }
    events.sort_unstable();
    events
}
