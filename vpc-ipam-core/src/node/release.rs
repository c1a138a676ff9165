//! DEL: on every card that knows the sandbox.

use super::{
    Assignments, Node, Reply,
    requests::{Released, Request},
};
use crate::{
    id::{OpId, SandboxKey},
    pool::{AssignError, Assignment, Pool, Release},
    time::Time,
};

impl Node {
    pub(super) fn begin_release(
        &mut self,
        key: &SandboxKey,
        now: Time,
    ) -> Result<Release, AssignError> {
        if let Some((op, _)) = self.forget_add(key, now) {
            self.replies.push_back(Reply { op, result: Err(AssignError::Released) });
        }
        self.release_by(key, |pool| pool.release(key, now))
    }

    pub(super) fn begin_abandon(&mut self, key: &SandboxKey, op: OpId, now: Time) -> Release {
        if self.requests.add_of(key) == Some(op) {
            self.forget_add(key, now);
        }
        let abandon = |pool: &mut Pool| Ok(pool.abandon(key, op, now));
        self.release_by(key, abandon).unwrap_or(Release::Absent)
    }

    fn release_by(
        &mut self,
        key: &SandboxKey,
        mut release: impl FnMut(&mut Pool) -> Result<Release, AssignError>,
    ) -> Result<Release, AssignError> {
        // A repeated DEL may find more than the first: an ADD can have come in between.
        let former = self.requests.release_of(key);
        let op = former.unwrap_or_else(|| self.numbers.own());
        let mut released = match former.and_then(|op| self.requests.take(op)) {
            Some(Request::Release(_, released)) => released,
            _ => Released::default(),
        };
        for (n, pool) in self.cards.iter_mut().enumerate() {
            if let Release::Pending(part) = release(pool)? {
                let part = self.numbers.of_pool(n, part);
                released.open.insert(part, n);
                self.requests.route(part, op);
            }
        }
        if released.open.is_empty() {
            return Ok(Release::Absent);
        }
        self.requests.put(op, Request::Release(key.clone(), released));
        Ok(Release::Pending(op))
    }

    pub(super) fn on_release(
        &mut self,
        op: OpId,
        key: SandboxKey,
        mut released: Released,
        part: OpId,
        result: Result<Assignment, AssignError>,
    ) {
        if let Some(n) = released.open.remove(&part) {
            match result {
                Ok(assignment) => {
                    released.got.insert(n, assignment);
                }
                Err(error) => released.failed = released.failed.or(Some(error)),
            }
        }
        if !released.open.is_empty() {
            return self.requests.put(op, Request::Release(key, released));
        }
        let result = match (released.failed, Assignments::new(released.got.into_values())) {
            (None, Some(all)) => Ok(all),
            (error, _) => Err(error.unwrap_or(AssignError::Released)),
        };
        self.replies.push_back(Reply { op, result });
    }
}
