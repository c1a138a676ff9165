//! A node: one pool per managed network card, behind one interface.
//!
//! An ordinary pod gets one address, from the first card that has a free one. If none has, it waits on
//! the first card that may get some, and moves as soon as another one has. A pod that asks for an address
//! [on every card](Node::assign_on_every_card) gets one per managed card, in card order, or none: what was
//! taken is given back, durably, before it is told that it failed. If the state file cannot be written
//! at all meanwhile, what could not be given back stays the sandbox's until its DEL.
//!
//! Cards share what costs calls: one read of the cloud's view serves all of them, and so does one file
//! for the [hint](crate::hint). The state file is one per card.
//!
//! A node with one card is its pool: same numbers, same actions, no tables.

mod add;
mod cards;
mod managed;
mod number;
mod release;
mod report;
mod requests;
mod shared;

use std::collections::VecDeque;

use thiserror::Error;

#[cfg(feature = "testkit")]
pub(crate) use self::add::UNDO_TRIES;
pub use self::managed::managed_cards;
use self::{cards::Cards, number::Numbers, requests::Requests, shared::Shared};
use crate::{
    checkpoint::{Changes, Checkpoint},
    cloud::CloudEni,
    config::PoolConfig,
    id::{OpId, PodRef, SandboxKey},
    plan::earlier,
    pool::{self, Action, AssignError, Assignment, Event, Pool, Release},
    time::Time,
};

/// Why pools do not make a node.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NodeError {
    /// The first card carries the primary ENI; a node without it cannot serve ordinary pods.
    #[error("network card 0 is missing; it carries the primary ENI")]
    NoFirstCard,
    /// Two pools of one card, or cards out of order.
    #[error("network card {0} comes twice or out of order; list each card once, lowest first")]
    OutOfOrder(u32),
}

/// What a sandbox has: one address, or one per card in card order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignments {
    first: Assignment,
    others: Vec<Assignment>,
}

impl Assignments {
    fn new(mut all: impl Iterator<Item = Assignment>) -> Option<Self> {
        Some(Self { first: all.next()?, others: all.collect() })
    }

    /// The one on the lowest card.
    pub fn first(&self) -> &Assignment {
        &self.first
    }

    /// All of them, lowest card first.
    pub fn iter(&self) -> impl Iterator<Item = &Assignment> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl From<Assignment> for Assignments {
    fn from(first: Assignment) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// Immediate answer to an ADD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Assign {
    /// The sandbox has these addresses, durably (a repeated ADD).
    Ready(Assignments),
    /// A [`Reply`] with this number will follow.
    Pending(OpId),
}

/// The delayed answer to an ADD or DEL.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The number given by [`Assign::Pending`] or [`Release::Pending`].
    pub op: OpId,
    /// The outcome. For a DEL, what was released.
    pub result: Result<Assignments, AssignError>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Node {
    cards: Cards,
    numbers: Numbers,
    requests: Requests,
    replies: VecDeque<Reply>,
    /// The read of the cloud's view that is under way.
    describing: Option<Shared>,
    /// The write of the hint that is under way.
    remembering: Option<Shared>,
    unexpected_events: u64,
}

impl From<Pool> for Node {
    /// A node whose only managed card is that of `pool`.
    fn from(pool: Pool) -> Self {
        Self::of(Cards { first: pool, others: Vec::new() })
    }
}

impl Node {
    /// A node with empty pools; see [`PoolConfig::on_card`].
    ///
    /// # Errors
    ///
    /// If the cards are not in order, or card 0 is missing.
    pub fn new(cards: Vec<PoolConfig>, now: Time) -> Result<Self, NodeError> {
        let empty = |config| (config, Checkpoint::default());
        Self::restore(cards.into_iter().map(empty).collect(), now)
    }

    /// A node with the leases of each card's checkpoint; see [`Pool::restore`].
    ///
    /// # Errors
    ///
    /// If the cards are not in order, or card 0 is missing.
    pub fn restore(cards: Vec<(PoolConfig, Checkpoint)>, now: Time) -> Result<Self, NodeError> {
        let order = cards.iter().map(|(config, _)| config.card);
        if let Some(card) = order.clone().zip(order.skip(1)).find(|(a, b)| a >= b) {
            return Err(NodeError::OutOfOrder(card.1));
        }
        let mut pools = cards.into_iter().map(|(config, file)| Pool::restore(config, &file, now));
        match pools.next() {
            Some(first) if first.config().card == 0 => {
                Ok(Self::of(Cards { first, others: pools.collect() }))
            }
            _ => Err(NodeError::NoFirstCard),
        }
    }

    fn of(cards: Cards) -> Self {
        let numbers = Numbers::new(cards.len());
        Self {
            cards,
            numbers,
            requests: Requests::default(),
            replies: VecDeque::new(),
            describing: None,
            remembering: None,
            unexpected_events: 0,
        }
    }

    /// Takes in what an earlier life of the node remembered of its ENIs; see [`Pool::recall`].
    pub fn recall(&mut self, enis: &[CloudEni], now: Time) {
        self.cards.iter_mut().for_each(|pool| pool.recall(enis, now));
    }

    /// Gives the sandbox one address, the same one however often it asks.
    ///
    /// # Errors
    ///
    /// If the queue of waiting pods is full.
    pub fn assign(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        now: Time,
    ) -> Result<Assign, AssignError> {
        if self.cards.others.is_empty() {
            return self.cards.first.assign(key, pod, now).map(alone);
        }
        let answer = self.begin_one(key, pod, now);
        self.settle(now);
        answer
    }

    /// Gives the sandbox one address on every managed card, or none. With one card, that is
    /// [`assign`](Self::assign).
    ///
    /// # Errors
    ///
    /// If the queue of waiting pods is full.
    pub fn assign_on_every_card(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        now: Time,
    ) -> Result<Assign, AssignError> {
        if self.cards.others.is_empty() {
            return self.cards.first.assign(key, pod, now).map(alone);
        }
        let answer = self.begin_every(key, pod, now);
        self.settle(now);
        Ok(answer)
    }

    /// Takes back all that the sandbox has, on whatever card. The answer is what was found.
    ///
    /// # Errors
    ///
    /// None at present; releases are never refused.
    pub fn release(&mut self, key: &SandboxKey, now: Time) -> Result<Release, AssignError> {
        if self.cards.others.is_empty() {
            return self.cards.first.release(key, now);
        }
        let answer = self.begin_release(key, now)?;
        self.settle(now);
        Ok(answer)
    }

    /// Takes back what the ADD `op` has made or waits for; see [`Pool::abandon`].
    pub fn abandon(&mut self, key: &SandboxKey, op: OpId, now: Time) -> Release {
        if self.cards.others.is_empty() {
            return self.cards.first.abandon(key, op, now);
        }
        let answer = self.begin_abandon(key, op, now);
        self.settle(now);
        answer
    }

    /// Learns of something that happened. A [`Event::Reconfigured`] is for the card that it names.
    pub fn handle(&mut self, event: Event, now: Time) {
        if self.cards.others.is_empty() {
            return self.cards.first.handle(event, now);
        }
        self.distribute(event, now);
        self.settle(now);
    }

    /// What to do next; drain after every call that takes `&mut self`.
    ///
    /// For [`Action::Persist`], encode the [`checkpoint`](Self::checkpoint) of the card that it names
    /// before any other call; for [`Action::Remember`], [`remembered`](Self::remembered).
    pub fn poll_action(&mut self, now: Time) -> Option<Action> {
        if self.cards.others.is_empty() {
            return self.cards.first.poll_action(now);
        }
        self.next_action(now)
    }

    /// Answers that have become ready; drain after every call that takes `&mut self`.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        if self.cards.others.is_empty() {
            let pool::Reply { op, result } = self.cards.first.poll_reply()?;
            return Some(Reply { op, result: result.map(Assignments::from) });
        }
        self.replies.pop_front()
    }

    /// When to feed [`Event::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.cards.iter().fold(None, |at, pool| earlier(at, pool.poll_timeout()))
    }

    /// Managed cards, lowest first.
    pub fn cards(&self) -> impl Iterator<Item = u32> {
        self.cards.iter().map(|pool| pool.config().card)
    }

    /// The pool of a card; `None` for a card that is not managed.
    pub fn pool(&self, card: u32) -> Option<&Pool> {
        self.cards.iter().find(|pool| pool.config().card == card)
    }

    /// The pool of the lowest card.
    pub fn first(&self) -> &Pool {
        &self.cards.first
    }

    /// The pool of the lowest card, for a node that has no other. On a node with several cards the pool's
    /// numbers are not the node's.
    pub fn first_mut(&mut self) -> &mut Pool {
        &mut self.cards.first
    }

    /// What the state file of a card should say now; nothing for a card that is not managed.
    pub fn checkpoint(&self, card: u32) -> Checkpoint {
        self.pool(card).map(Pool::checkpoint).unwrap_or_default()
    }

    /// What the write of a card's state file changes; see [`Pool::changes`].
    pub fn changes(&self, card: u32) -> Option<Changes> {
        self.pool(card)?.changes()
    }

    /// What a later life should know of the ENIs of all cards.
    pub fn remembered(&self) -> Vec<CloudEni> {
        self.cards.iter().flat_map(Pool::remembered).collect()
    }

    /// Draws all conclusions from what has just changed.
    fn settle(&mut self, now: Time) {
        while self.collect_replies(now) || self.rebalance(now) {}
    }

    /// Hears the answers of the pools; true if there were any.
    fn collect_replies(&mut self, now: Time) -> bool {
        let mut any = false;
        for n in 0..self.cards.len() {
            while let Some(reply) = self.cards.get_mut(n).and_then(Pool::poll_reply) {
                any = true;
                self.on_reply(self.numbers.of_pool(n, reply.op), reply.result, now);
            }
        }
        any
    }
}

/// The answer of the only card.
fn alone(answer: pool::Assign) -> Assign {
    match answer {
        pool::Assign::Ready(assignment) => Assign::Ready(assignment.into()),
        pool::Assign::Pending(op) => Assign::Pending(op),
    }
}

#[cfg(test)]
mod tests;
