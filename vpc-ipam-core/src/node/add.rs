//! ADD: on one card, or on every one.

use std::collections::BTreeMap;

use super::{
    Assign, Assignments, Node, Reply,
    number::Meaning,
    requests::{Every, One, Part, Request},
};
use crate::{
    id::{OpId, PodRef, SandboxKey},
    pool::{self, AssignError, Assignment, Pool, Release, Terms},
    time::Time,
};

/// Attempts to give back what an ADD has taken in vain. If the state file cannot be written even then,
/// the sandbox keeps it until its DEL.
pub(crate) const UNDO_TRIES: u32 = 3;

impl Node {
    pub(super) fn begin_one(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        now: Time,
    ) -> Result<Assign, AssignError> {
        if let Some(op) = self.requests.add_of(&key) {
            return Ok(Assign::Pending(op));
        }
        let op = self.numbers.own();
        let deadline = now + self.cards.first.config().add_wait;
        let holder = self.cards.iter().position(|pool| pool.holds(&key));
        let refused = BTreeMap::new();
        let at = holder.or_else(|| self.next_card(&refused, now)).unwrap_or(0);
        self.start(op, One { key, pod, deadline, at, part: op, refused }, now)
    }

    /// Asks the pool that `one` names.
    fn start(&mut self, op: OpId, mut one: One, now: Time) -> Result<Assign, AssignError> {
        let terms = Terms { interfaces: 1, deadline: Some(one.deadline), made_by: Some(op) };
        let pool = self.cards.get_mut(one.at);
        let Some(pool) = pool else { return Err(AssignError::Released) };
        match pool.assign_as(one.key.clone(), one.pod.clone(), terms, now)? {
            pool::Assign::Ready(assignment) => Ok(Assign::Ready(assignment.into())),
            pool::Assign::Pending(part) => {
                one.part = self.numbers.of_pool(one.at, part);
                self.requests.route(one.part, op);
                self.requests.put(op, Request::One(one));
                Ok(Assign::Pending(op))
            }
        }
    }

    /// The first card with a free address, else the first that may get some, else the first; none of
    /// those that have refused.
    fn next_card(&self, refused: &BTreeMap<usize, String>, now: Time) -> Option<usize> {
        let left = || self.cards.iter().enumerate().filter(|(n, _)| !refused.contains_key(n));
        let free = left().find(|(_, pool)| pool.has_free());
        let hopeful = free.or_else(|| left().find(|(_, pool)| pool.may_serve(now)));
        hopeful.or_else(|| left().next()).map(|(n, _)| n)
    }

    /// Gives a free address to the oldest ordinary pod that waits on another card; true if there was
    /// one.
    pub(super) fn rebalance(&mut self, now: Time) -> bool {
        if self.requests.ones().next().is_none() {
            return false;
        }
        let Some(free) = self.cards.iter().position(Pool::has_free) else { return false };
        let elsewhere = self.requests.ones().filter(|(_, one)| one.at != free);
        let waiting: Vec<_> = elsewhere.map(|(op, one)| (op, one.part)).collect();
        let Some((op, part)) =
            waiting.into_iter().find(|(_, part)| self.withdraw(*part, true, now))
        else {
            return false;
        };
        self.requests.forget_route(part);
        let Some(Request::One(mut one)) = self.requests.take(op) else { return true };
        one.at = free;
        one.refused.clear();
        let answer = self.start(op, one, now);
        self.answer(op, answer);
        true
    }

    /// Takes an ADD out of a pool's queue; false if it is not in there, or, with `anyone`, if it waits for
    /// the address that its sandbox owns.
    fn withdraw(&mut self, part: OpId, anyone: bool, now: Time) -> bool {
        let Meaning::Pool(n, op) = self.numbers.meaning(part) else { return false };
        let Some(pool) = self.cards.get_mut(n) else { return false };
        (!anyone || pool.waits_for_any(op)) && pool.withdraw(op, now)
    }

    /// Passes on an answer that is known already.
    fn answer(&mut self, op: OpId, answer: Result<Assign, AssignError>) {
        match answer {
            Ok(Assign::Pending(_)) => {}
            Ok(Assign::Ready(all)) => self.replies.push_back(Reply { op, result: Ok(all) }),
            Err(error) => self.replies.push_back(Reply { op, result: Err(error) }),
        }
    }

    /// A pool has answered.
    pub(super) fn on_reply(
        &mut self,
        part: OpId,
        result: Result<Assignment, AssignError>,
        now: Time,
    ) {
        match self.requests.take_routed(part) {
            Some((op, Request::One(one))) => self.on_one(op, one, result, now),
            Some((op, Request::Every(every))) => self.on_every(op, every, part, result, now),
            Some((op, Request::Release(key, released))) => {
                self.on_release(op, key, released, part, result);
            }
            None => {}
        }
    }

    /// Only for lack of an address another card is asked.
    fn on_one(
        &mut self,
        op: OpId,
        mut one: One,
        result: Result<Assignment, AssignError>,
        now: Time,
    ) {
        let answer = match result {
            Err(AssignError::NoAddress(text)) => {
                one.refused.insert(one.at, text);
                let next = self.next_card(&one.refused, now).filter(|_| now < one.deadline);
                match next {
                    Some(at) => self.start(op, One { at, ..one }, now),
                    None => Err(AssignError::NoAddress(self.refusals(&one.refused))),
                }
            }
            result => result.map(|assignment| Assign::Ready(assignment.into())),
        };
        self.answer(op, answer);
    }

    fn refusals(&self, refused: &BTreeMap<usize, String>) -> String {
        let text =
            |(n, text): (&usize, &String)| format!("network card {}: {text}", self.cards.card(*n));
        refused.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn begin_every(&mut self, key: SandboxKey, pod: PodRef, now: Time) -> Assign {
        if let Some(op) = self.requests.add_of(&key) {
            return Assign::Pending(op);
        }
        let op = self.numbers.own();
        let terms = Terms {
            interfaces: u32::try_from(self.cards.len()).unwrap_or(u32::MAX),
            deadline: Some(now + self.cards.first.config().add_wait),
            made_by: Some(op),
        };
        let mut every = Every::new(key);
        for n in 0..self.cards.len() {
            let Some(pool) = self.cards.get_mut(n) else { break };
            match pool.assign_as(every.key.clone(), pod.clone(), terms, now) {
                Ok(pool::Assign::Ready(assignment)) => {
                    every.got.insert(n, assignment);
                }
                Ok(pool::Assign::Pending(part)) => {
                    let part = self.numbers.of_pool(n, part);
                    every.open.insert(part, Part::Add(n));
                    self.requests.route(part, op);
                }
                Err(error) => {
                    self.undo(op, &mut every, self.on_card(n, error), now);
                    break;
                }
            }
        }
        let complete = every.open.is_empty() && every.failed.is_none();
        match Assignments::new(every.got.values().cloned()).filter(|_| complete) {
            Some(all) => Assign::Ready(all),
            None => {
                self.go_on(op, every);
                Assign::Pending(op)
            }
        }
    }

    fn on_every(
        &mut self,
        op: OpId,
        mut every: Every,
        part: OpId,
        result: Result<Assignment, AssignError>,
        now: Time,
    ) {
        match (every.open.remove(&part), result) {
            (Some(Part::Add(n)), Ok(assignment)) => {
                // If the ADD has failed, this was the sandbox's before, and stays.
                every.got.insert(n, assignment);
            }
            (Some(Part::Add(n)), Err(error)) => {
                self.undo(op, &mut every, self.on_card(n, error), now);
            }
            (Some(Part::Undo(n)), Err(_)) => {
                every.failures += 1;
                if every.failures < UNDO_TRIES {
                    self.undo_at(op, &mut every, n, now);
                }
            }
            (Some(Part::Undo(_)), Ok(_)) | (None, _) => {}
        }
        self.go_on(op, every);
    }

    /// Waits for what is still open, or answers.
    fn go_on(&mut self, op: OpId, every: Every) {
        if !every.open.is_empty() {
            return self.requests.put(op, Request::Every(every));
        }
        let all = Assignments::new(every.got.into_values());
        let error = every.failed.or(all.is_none().then_some(AssignError::Released));
        let result = match (error, all) {
            (None, Some(all)) => Ok(all),
            (error, _) => Err(error.unwrap_or(AssignError::Released)),
        };
        self.replies.push_back(Reply { op, result });
    }

    /// All or nothing: gives back what the ADD `op` has taken.
    fn undo(&mut self, op: OpId, every: &mut Every, error: AssignError, now: Time) {
        if every.failed.is_some() {
            return;
        }
        every.failed = Some(error);
        for (part, _) in std::mem::take(&mut every.open) {
            if self.withdraw(part, false, now) {
                self.requests.forget_route(part);
            } else if let Meaning::Pool(n, _) = self.numbers.meaning(part) {
                every.open.insert(part, Part::Add(n));
            }
        }
        for n in 0..self.cards.len() {
            self.undo_at(op, every, n, now);
        }
    }

    fn undo_at(&mut self, op: OpId, every: &mut Every, n: usize, now: Time) {
        let Some(pool) = self.cards.get_mut(n) else { return };
        if let Release::Pending(part) = pool.abandon(&every.key, op, now) {
            let part = self.numbers.of_pool(n, part);
            every.open.insert(part, Part::Undo(n));
            self.requests.route(part, op);
        }
    }

    /// The error of one card in the words of the node.
    fn on_card(&self, n: usize, error: AssignError) -> AssignError {
        let card = self.cards.card(n);
        match error {
            AssignError::NoAddress(text) => {
                AssignError::NoAddress(format!("network card {card}: {text}"))
            }
            AssignError::NotDurable(text) => {
                AssignError::NotDurable(format!("network card {card}: {text}"))
            }
            error => error,
        }
    }

    /// Ends an ADD without an answer, as far as the node is concerned.
    pub(super) fn forget_add(&mut self, key: &SandboxKey, now: Time) -> Option<(OpId, Request)> {
        let op = self.requests.add_of(key)?;
        let request = self.requests.take(op)?;
        let parts: Vec<OpId> = match &request {
            Request::One(one) => vec![one.part],
            Request::Every(every) => every.open.keys().copied().collect(),
            Request::Release(..) => Vec::new(),
        };
        for part in parts {
            self.requests.forget_route(part);
            self.withdraw(part, false, now);
        }
        Some((op, request))
    }
}
