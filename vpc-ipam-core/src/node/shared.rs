//! What is done once for all cards: reading the cloud's view, and storing the hint.
//!
//! All pools take part in each, so that they are in step: while one is under way, no pool asks for
//! another. A pool whose read began before its last change knows that from its own records.

use super::{Node, number::Meaning};
use crate::{
    id::OpId,
    pool::{Action, Event, Pool},
    time::Time,
};

/// One operation of the node, and under which numbers the pools wait for it.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    op: OpId,
    parts: Vec<(usize, OpId)>,
}

impl Node {
    pub(super) fn next_action(&mut self, now: Time) -> Option<Action> {
        for n in 0..self.cards.len() {
            if let Some(action) = self.cards.get_mut(n).and_then(|pool| pool.poll_persist(now)) {
                return Some(self.numbered(n, action));
            }
        }
        if self.remembering.is_none() && self.cards.iter().any(|p| p.wants_to_remember(now)) {
            let op = self.numbers.own();
            let parts = self.cards.iter_mut().map(Pool::remember).enumerate().collect();
            self.remembering = Some(Shared { op, parts });
            return Some(Action::Remember { op });
        }
        for n in 0..self.cards.len() {
            match self.cards.get_mut(n).and_then(Pool::pop_action) {
                Some(Action::Describe { op }) => return Some(self.describe(n, op, now)),
                Some(action) => return Some(self.numbered(n, action)),
                None => {}
            }
        }
        None
    }

    fn numbered(&self, n: usize, mut action: Action) -> Action {
        let op = action.op_mut();
        *op = self.numbers.of_pool(n, *op);
        action
    }

    /// One read for the pool that asked for it and all others.
    fn describe(&mut self, n: usize, op: OpId, now: Time) -> Action {
        if self.describing.is_some() {
            // Not in step, which never happens: then it gets a view of its own.
            return self.numbered(n, Action::Describe { op });
        }
        let mut parts = vec![(n, op)];
        for (other, pool) in self.cards.iter_mut().enumerate().filter(|(other, _)| *other != n) {
            parts.extend(pool.join_describe(now).map(|op| (other, op)));
        }
        let op = self.numbers.own();
        self.describing = Some(Shared { op, parts });
        Action::Describe { op }
    }

    /// Brings an event to the pools that it is for.
    pub(super) fn distribute(&mut self, mut event: Event, now: Time) {
        let op = event.op_mut().copied();
        let to = match (&event, op.map(|op| self.numbers.meaning(op))) {
            (_, Some(Meaning::Pool(n, op))) => vec![(n, op)],
            (_, Some(Meaning::Own)) => self.parts_of(&event),
            (Event::Reconfigured(config), None) => {
                let at = self.cards().position(|card| card == config.card);
                at.map(|n| (n, OpId(0))).into_iter().collect()
            }
            (_, None) => (0..self.cards.len()).map(|n| (n, OpId(0))).collect(),
        };
        if to.is_empty() {
            self.unexpected_events = self.unexpected_events.saturating_add(1);
        }
        for (n, op) in to {
            let mut event = event.clone();
            if let Some(number) = event.op_mut() {
                *number = op;
            }
            if let Some(pool) = self.cards.get_mut(n) {
                pool.handle(event, now);
            }
        }
    }

    /// Who waits for the end of something shared.
    fn parts_of(&mut self, event: &Event) -> Vec<(usize, OpId)> {
        let (shared, op) = match event {
            Event::Described { op, .. } => (&mut self.describing, op),
            Event::Remembered { op, .. } => (&mut self.remembering, op),
            _ => return Vec::new(),
        };
        shared.take_if(|shared| shared.op == *op).map(|shared| shared.parts).unwrap_or_default()
    }
}
