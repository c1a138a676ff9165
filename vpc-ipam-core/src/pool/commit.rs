//! The second phase of ADD and DEL: what a finished write of the state file means.

use super::{AssignError, Phase, Pool, Reply, share::Terms, waiting::Waiter};
use crate::{
    id::{OpId, SandboxKey},
    store::StoreError,
    time::Time,
};

impl Pool {
    pub(super) fn on_persisted(&mut self, op: OpId, result: Result<(), StoreError>, now: Time) {
        let error = result.err().map(|e| e.to_string());
        let finished = self.journal.finish(op, error.clone(), &mut self.jitter, now);
        let Some((generation, keys)) = finished else {
            self.unexpected_events = self.unexpected_events.saturating_add(1);
            return;
        };
        self.settle_claims(generation, error.is_none(), now);
        for key in keys {
            match self.leases.get(&key).map(|lease| lease.phase) {
                Some(Phase::Adding { op, generation: g }) if g == generation => match &error {
                    None => self.commit_add(op, &key, now),
                    Some(error) => self.roll_back_add(op, &key, error, now),
                },
                Some(Phase::Releasing { op, generation: g }) if g == generation => match &error {
                    None => self.commit_release(op, &key, now),
                    Some(error) => self.roll_back_release(op, &key, error),
                },
                Some(Phase::Unsure { generation: g }) if g == generation => {
                    self.settle_unsure(&key, error.is_none());
                }
                // Changed again since: a later write decides.
                _ => {}
            }
        }
    }

    fn commit_add(&mut self, op: OpId, key: &SandboxKey, now: Time) {
        let lease = self.leases.get(key);
        let cidr = lease.and_then(|lease| self.cidr_at(lease.place.as_ref()?));
        if !cidr.is_some_and(|cidr| cidr.ready && cidr.confirmed) {
            self.wait_again(op, key, now);
            return;
        }
        if let Some(lease) = self.leases.get_mut(key) {
            lease.phase = Phase::Held;
        }
        self.tell(op, key);
    }

    /// The address does not work now. A pod that has used it before waits for it, as does any whose
    /// ENI is being set up again; the others get another one: the cloud stopped showing the address
    /// while its lease was being written.
    fn wait_again(&mut self, op: OpId, key: &SandboxKey, now: Time) {
        let place = self.leases.get(key).and_then(|lease| lease.place.as_ref());
        let confirmed = place.is_some_and(|place| self.is_confirmed(place));
        let Some(lease) = self.leases.get_mut(key) else { return };
        let (owner, pod) = (lease.told || confirmed, lease.pod.clone());
        let made_by = lease.made_by.filter(|made_by| *made_by != op);
        let terms = Terms { interfaces: lease.interfaces, deadline: None, made_by };
        if owner {
            lease.phase = Phase::Held;
        } else {
            self.end_lease(key, None);
            self.journal.rewrite();
        }
        let deadline = now + self.config.add_wait;
        self.waiting.push(op, Waiter { key: key.clone(), pod, terms, deadline, since: now, owner });
    }

    fn roll_back_add(&mut self, op: OpId, key: &SandboxKey, error: &str, now: Time) {
        let told = self.leases.get(key).is_some_and(|lease| lease.told);
        self.end_lease(key, told.then_some(now));
        let result = Err(AssignError::NotDurable(error.to_owned()));
        self.replies.push_back(Reply { op, result });
    }

    fn commit_release(&mut self, op: OpId, key: &SandboxKey, now: Time) {
        self.reply_with_assignment(op, key);
        let told = self.leases.get(key).is_some_and(|lease| lease.told);
        self.end_lease(key, told.then_some(now));
    }

    fn roll_back_release(&mut self, op: OpId, key: &SandboxKey, error: &str) {
        self.settle_unsure(key, false);
        let result = Err(AssignError::NotDurable(error.to_owned()));
        self.replies.push_back(Reply { op, result });
    }

    /// The file has the lease, or the next write must bring it back.
    fn settle_unsure(&mut self, key: &SandboxKey, written: bool) {
        let generation = if written { 0 } else { self.journal.note_again(key) };
        if let Some(lease) = self.leases.get_mut(key) {
            lease.phase = if written { Phase::Held } else { Phase::Unsure { generation } };
        }
    }
}
