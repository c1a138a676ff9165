//! What a node with several network cards needs of the pool of each.

use super::{Action, Assign, AssignError, Pool};
use crate::{
    id::{OpId, PodRef, SandboxKey},
    plan::{Reason, plan},
    time::Time,
};

/// What an ADD is part of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Cards on which the pod gets an address.
    pub(crate) interfaces: u32,
    /// How long it may wait; `None`: as long as the settings say.
    pub(crate) deadline: Option<Time>,
    /// The request of which it is a part; `None`: it is a request of its own.
    pub(crate) made_by: Option<OpId>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { interfaces: 1, deadline: None, made_by: None }
    }
}

impl Pool {
    /// [`assign`](Self::assign) as part of something larger.
    pub(crate) fn assign_as(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        terms: Terms,
        now: Time,
    ) -> Result<Assign, AssignError> {
        self.expire(now);
        let answer = self.begin_assign(key, pod, terms, now);
        self.settle(now);
        answer
    }

    /// True if the sandbox has an address here, or had one a moment ago.
    pub(crate) fn holds(&self, key: &SandboxKey) -> bool {
        self.leases.get(key).is_some_and(|lease| !lease.quarantined)
    }

    /// True if the next ADD gets an address at once.
    pub(crate) fn has_free(&self) -> bool {
        self.waiting.anyone() == 0 && self.pick().is_some()
    }

    /// True if an ADD that waits is likely to get an address: the pool has some under way, or may still
    /// ask for some.
    pub(crate) fn may_serve(&self, now: Time) -> bool {
        let mut view = self.summary();
        view.waiting = view.waiting.saturating_add(1);
        !matches!(
            plan(&view, &self.config, now).reason,
            Reason::Draining
                | Reason::Full { .. }
                | Reason::Ipv6Exhausted { .. }
                | Reason::MaxPods { .. }
                | Reason::ProvisioningDisabled
                | Reason::SubnetExhausted { .. }
        )
    }

    /// True for an ADD that waits for just any address.
    pub(crate) fn waits_for_any(&self, op: OpId) -> bool {
        self.waiting.is_anyone(op)
    }

    /// Takes an ADD out of the queue without an answer; false if it does not wait.
    pub(crate) fn withdraw(&mut self, op: OpId, now: Time) -> bool {
        let waited = self.waiting.remove(op).is_some();
        if waited {
            self.settle(now);
        }
        waited
    }

    /// The number under which this pool takes part in a read of the cloud's view that begins now; `None`
    /// if one that began earlier has not ended.
    pub(crate) fn join_describe(&mut self, now: Time) -> Option<OpId> {
        if self.describing.running.is_none() {
            self.describe(now);
        }
        let running = self.describing.running?;
        let is_read = |action: &Action| matches!(action, Action::Describe { op } if *op == running);
        let at = self.actions.iter().position(is_read)?;
        self.actions.remove(at).map(|action| action.op())
    }

    /// The write of the state file that is due.
    pub(crate) fn poll_persist(&mut self, now: Time) -> Option<Action> {
        if !self.journal.wants_write(now) {
            return None;
        }
        let op = self.next_op();
        self.journal.start(op);
        Some(Action::Persist { op, card: self.config.card })
    }

    pub(crate) fn wants_to_remember(&self, now: Time) -> bool {
        self.config.remember && self.memory.wants_write(now)
    }

    /// Begins to store the view of the ENIs, due or not.
    pub(crate) fn remember(&mut self) -> OpId {
        let op = self.next_op();
        self.memory.start(op);
        op
    }

    pub(super) fn poll_remember(&mut self, now: Time) -> Option<Action> {
        self.wants_to_remember(now).then(|| Action::Remember { op: self.remember() })
    }

    /// What is to be done besides writes of files.
    pub(crate) fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
