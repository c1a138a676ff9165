//! The model beside the pool: the same happens to both, and they are compared.

use std::collections::{BTreeMap, BTreeSet};

use vpc_ipam_core::{
    checkpoint,
    config::PoolConfig,
    id::OpId,
    pool::{Action, Assign, AssignError, Event, Release, Reply},
    time::Time,
};

use crate::{
    common::bench::{Input, Outcome, Seen, Watch},
    compare,
    model::{Answer, AtOnce, Model, records_of},
};

pub(crate) struct Twin {
    model: Model,
    /// Answers that are due.
    due: BTreeMap<OpId, Answer>,
    /// Numbers that requests got.
    asked: BTreeSet<OpId>,
    /// All answers and actions.
    pub(crate) log: Vec<String>,
}

impl Twin {
    pub(crate) fn new(config: &PoolConfig) -> Self {
        Self {
            model: Model::new(config.clone(), Vec::new()),
            due: BTreeMap::new(),
            asked: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    fn released(&mut self, real: &Release) -> (Option<OpId>, AtOnce) {
        match real {
            Release::Absent => (None, AtOnce::Absent),
            Release::Pending(op) if self.asked.insert(*op) => (Some(*op), AtOnce::Pending),
            Release::Pending(op) => (None, AtOnce::Same(*op)),
        }
    }

    fn assigned(&mut self, real: &Assign) -> (Option<OpId>, AtOnce) {
        match real {
            Assign::Ready(a) => (None, AtOnce::Ready(a.ip, a.eni.clone())),
            Assign::Pending(op) if self.asked.insert(*op) => (Some(*op), AtOnce::Pending),
            Assign::Pending(op) => (None, AtOnce::Same(*op)),
        }
    }

    /// What the model returns from the same call, and what the pool has returned.
    fn return_values(&mut self, input: &Input<'_>, now: Time) -> Option<(AtOnce, AtOnce)> {
        match input {
            Input::Add(key, Ok(real)) => {
                let (op, real) = self.assigned(real);
                Some((self.model.add(key, op, now), real))
            }
            Input::Del(key, Ok(real)) => {
                let (op, real) = self.released(real);
                Some((self.model.del(key, op, now), real))
            }
            Input::Abandon(key, add, real) => {
                let (op, real) = self.released(real);
                Some((self.model.abandon(key, *add, op, now), real))
            }
            _ => None,
        }
    }
}

impl Watch for Twin {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        let (pool, now) = (seen.pool, seen.now);
        match input {
            Input::Start(_) => {
                let file = std::mem::take(&mut self.model.file);
                self.model = Model::new(pool.config().clone(), file);
                self.asked.clear();
            }
            Input::Event(event) => self.model.happened(event, now),
            Input::Repeated(_) => {
                self.model.unexpected += 1;
                self.model.happened(&Event::Timeout, now);
            }
            Input::Add(_, Err(error)) | Input::Del(_, Err(error)) => {
                return Err(format!("{input:?} is refused: {error}"));
            }
            input => {
                if let Some((model, real)) = self.return_values(input, now)
                    && model != real
                {
                    return Err(format!("returned {real:?}, not {model:?}"));
                }
            }
        }
        compare::what_is_held(&mut self.model, pool, now)?;
        self.due = std::mem::take(&mut self.model.answers).into_iter().collect();
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) -> Outcome {
        self.log.push(format!("{} {reply:?}", seen.now));
        let real = match &reply.result {
            Ok(assignment) => Answer::Address(assignment.ip, assignment.eni.clone()),
            Err(AssignError::NoAddress(_)) => Answer::NoAddress,
            Err(AssignError::NotDurable(_)) => Answer::NotDurable,
            Err(AssignError::Released) => Answer::Released,
            Err(other) => return Err(format!("{} is answered with {other}", reply.op)),
        };
        match self.due.remove(&reply.op) {
            Some(due) if due == real => Ok(()),
            None if real == Answer::NoAddress => self.model.refused_early(reply.op),
            due => Err(format!("{} is answered with {real:?}, not {due:?}", reply.op)),
        }
    }

    fn all_answered(&mut self) -> Outcome {
        match self.due.first_key_value() {
            None => Ok(()),
            Some((op, due)) => Err(format!("{op} is not answered with {due:?}")),
        }
    }

    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        self.log.push(format!("{} {action:?}", seen.now));
        self.model.asked(action, seen.now)
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        compare::everything(&self.model, seen.pool)
    }

    fn took_effect(&mut self, answer: &Event, kept: bool) {
        if let (Event::Persisted { .. }, Some(write)) = (answer, &self.model.write)
            && kept
        {
            self.model.file.clone_from(&write.content);
        }
    }

    fn obeyed(&mut self, seen: &Seen<'_>) -> Outcome {
        let stored = seen.store.content().map(|content| {
            checkpoint::decode(&content).map(|file| records_of(&file)).map_err(|e| e.to_string())
        });
        let stored = stored.transpose()?.unwrap_or_default();
        if stored != self.model.file {
            return Err(format!("the file says {stored:?}, not {:?}", self.model.file));
        }
        Ok(())
    }

    fn rested(&mut self, _seen: &Seen<'_>) -> Outcome {
        match self.model.unanswered() {
            0 => Ok(()),
            open => Err(format!("{open} requests are not answered: {:?}", self.model)),
        }
    }
}
