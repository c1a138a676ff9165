//! What happens when.

use std::collections::BTreeMap;

use crate::{driver::Job, pool::Event, time::Time};

#[derive(Debug)]
pub(super) enum Item {
    /// A call takes effect; its answer arrives at `finish`.
    Start { what: &'static str, job: Job, finish: Time },
    /// A call of a daemon that was killed takes effect.
    Orphan(Job),
    /// An answer arrives.
    Deliver(Event),
}

/// By time, and in the order of asking where the time is the same.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    items: BTreeMap<(Time, u64), Item>,
    asked: u64,
}

impl Agenda {
    pub(super) fn push(&mut self, at: Time, item: Item) {
        self.asked += 1;
        self.items.insert((at, self.asked), item);
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.items.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Time) -> Option<Item> {
        let entry = self.items.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    pub(super) fn take(&mut self) -> Vec<(Time, Item)> {
        let items = std::mem::take(&mut self.items);
        items.into_iter().map(|((at, _), item)| (at, item)).collect()
    }
}
