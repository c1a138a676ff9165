//! Invariants 8 and 12: repeated and refused ADDs.

use std::collections::{BTreeMap, BTreeSet};

use vpc_ipam_core::{
    checkpoint::Checkpoint,
    id::{OpId, SandboxKey},
    pool::{Action, Assign, AssignError, Release, Reply},
};

use crate::{
    common::bench::{Input, Outcome, Seen, Watch},
    state::{Counters, counters},
};

/// The state before each call, and the answers so far.
#[derive(Default)]
pub(super) struct Repeats {
    before: Option<(Checkpoint, Counters)>,
    answers: BTreeMap<SandboxKey, std::net::IpAddr>,
    asked: BTreeMap<OpId, SandboxKey>,
    dels: BTreeMap<OpId, SandboxKey>,
    /// Their DEL could not be written. Before an ADD of theirs is answered, the file must surely have
    /// their lease: that write is not the ADD's.
    unsure: BTreeSet<SandboxKey>,
    /// The call is an ADD that was asked for before, and it may make the pool write.
    repeated: bool,
    may_write: bool,
}

impl Watch for Repeats {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        self.repeated = false;
        match input {
            Input::Add(key, Ok(Assign::Ready(assignment))) => {
                (self.repeated, self.may_write) = (true, false);
                self.unsure.remove(*key);
                let first = self.answers.get(*key);
                if first.is_some_and(|ip| *ip != assignment.ip) {
                    return Err(format!("{key} had {first:?}, now {assignment:?}"));
                }
            }
            Input::Add(key, Ok(Assign::Pending(op))) => {
                self.repeated = self.asked.contains_key(op);
                self.may_write = self.unsure.contains(*key);
                self.asked.insert(*op, (*key).clone());
            }
            Input::Del(key, release) => {
                self.answers.remove(*key);
                if let Ok(Release::Pending(op)) = release {
                    self.dels.insert(*op, (*key).clone());
                }
            }
            Input::Abandon(key, _, release) => {
                self.answers.remove(*key);
                if let Release::Pending(op) = release {
                    self.dels.insert(*op, (*key).clone());
                }
            }
            Input::Start(_) => *self = Self { before: self.before.take(), ..Self::default() },
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, _seen: &Seen<'_>) -> Outcome {
        if self.repeated {
            return Err(format!("a repeated ADD made the pool answer {reply:?}"));
        }
        if let (Some(key), Err(_)) = (self.dels.remove(&reply.op), &reply.result) {
            self.unsure.insert(key);
        }
        if let (Some(key), Ok(assignment)) = (self.asked.remove(&reply.op), &reply.result) {
            self.answers.insert(key, assignment.ip);
        }
        Ok(())
    }

    fn asked(&mut self, action: &Action, _seen: &Seen<'_>) -> Outcome {
        let write = matches!(action, Action::Persist { .. });
        if self.repeated && !(write && self.may_write) {
            return Err(format!("a repeated ADD made the pool ask for {action:?}"));
        }
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let now = (seen.pool.checkpoint(), counters(&seen.pool.stats()));
        let before = self.before.replace(now.clone());
        if let Some(before) = before.filter(|before| self.repeated && *before != now) {
            return Err(format!("a repeated ADD changed {before:?} into {now:?}"));
        }
        Ok(())
    }
}

/// A refusal while something is free.
pub(super) struct Refusals;

impl Watch for Refusals {
    fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) -> Outcome {
        let Err(AssignError::NoAddress(why)) = &reply.result else { return Ok(()) };
        // Who owns an address waits for that one, whatever else is free.
        if why.starts_with("this sandbox owns") {
            return Ok(());
        }
        let free = seen
            .pool
            .view()
            .enis
            .into_iter()
            .find(|eni| eni.usable && eni.settled && eni.total > eni.assigned + eni.cooling);
        match free {
            Some(eni) => Err(format!("refused because {why}, but {eni:?} has a free address")),
            None => Ok(()),
        }
    }
}
