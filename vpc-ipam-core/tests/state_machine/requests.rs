//! ADD and DEL of the model: who gets an address, who waits, who has waited too long.

use std::net::IpAddr;

use vpc_ipam_core::{
    id::{OpId, SandboxKey},
    time::Time,
};

use crate::model::{Answer, AtOnce, Lease, Model, Phase, Use, Waiter};

impl Model {
    /// An ADD, which is given the number `op` if it has to wait.
    pub(crate) fn add(&mut self, key: &SandboxKey, op: Option<OpId>, now: Time) -> AtOnce {
        self.end_rests(now);
        let answer = self.begin_add(key, op, now);
        self.settle(now);
        answer
    }

    fn begin_add(&mut self, key: &SandboxKey, op: Option<OpId>, now: Time) -> AtOnce {
        let owned = self.leases.iter().find(|lease| lease.key == *key).cloned();
        if let Some(Phase::Adding { op, .. }) = owned.as_ref().map(|lease| &lease.phase) {
            return AtOnce::Same(*op);
        }
        if let Some(lease) = &owned
            && lease.phase == Phase::Held
            && self.cidr_of(lease.ip).is_some_and(|cidr| cidr.ready)
        {
            return AtOnce::Ready(lease.ip, self.eni_of(lease.ip));
        }
        let write = self.writes + 1;
        if owned.as_ref().is_some_and(|lease| matches!(lease.phase, Phase::Unsure { .. })) {
            self.lease_mut(key).phase = Phase::Unsure { write };
        }
        if let Some(waiter) = self.waiting.iter().find(|waiter| waiter.key == *key) {
            return AtOnce::Same(waiter.op);
        }
        let Some(op) = op else { return AtOnce::Pending };
        match owned.map(|lease| (lease.ip, lease.phase)) {
            Some((ip, Phase::Releasing { op: release, .. })) => {
                self.answers.push((release, Answer::Address(ip, self.eni_of(ip))));
                let lease = self.lease_mut(key);
                (lease.phase, lease.given) = (Phase::Adding { op, write }, now);
                lease.made_by = Some(op);
            }
            owned => {
                let deadline = now + self.config.add_wait;
                let owner = owned.is_some();
                self.waiting.push(Waiter { op, key: key.clone(), deadline, owner });
            }
        }
        AtOnce::Pending
    }

    /// A DEL, which is given the number `op` if it has to wait.
    pub(crate) fn del(&mut self, key: &SandboxKey, op: Option<OpId>, now: Time) -> AtOnce {
        self.end_rests(now);
        let answer = self.begin_del(key, op);
        self.settle(now);
        answer
    }

    /// Nobody wants the answer to the ADD `asked` any more.
    pub(crate) fn abandon(
        &mut self,
        key: &SandboxKey,
        asked: OpId,
        op: Option<OpId>,
        now: Time,
    ) -> AtOnce {
        self.end_rests(now);
        self.waiting.retain(|waiter| waiter.op != asked);
        let made = |lease: &&Lease| lease.key == *key && lease.made_by == Some(asked);
        let answer = match self.leases.iter().find(made) {
            Some(_) => self.begin_del(key, op),
            None => AtOnce::Absent,
        };
        self.settle(now);
        answer
    }

    fn begin_del(&mut self, key: &SandboxKey, op: Option<OpId>) -> AtOnce {
        if let Some(n) = self.waiting.iter().position(|waiter| waiter.key == *key) {
            let waiter = self.waiting.remove(n);
            self.answers.push((waiter.op, Answer::Released));
        }
        let Some(lease) = self.leases.iter().find(|lease| lease.key == *key).cloned() else {
            return AtOnce::Absent;
        };
        match lease.phase {
            Phase::Releasing { op, .. } => return AtOnce::Same(op),
            Phase::Adding { op, .. } => {
                self.answers.push((op, Answer::Released));
                if !lease.told && lease.first_write > self.writes {
                    self.end_lease(key, None);
                    return AtOnce::Absent;
                }
            }
            Phase::Held | Phase::Unsure { .. } => {}
        }
        let write = self.writes + 1;
        if let Some(op) = op {
            self.lease_mut(key).phase = Phase::Releasing { op, write };
        }
        AtOnce::Pending
    }

    /// Serves those who wait, first come first served, and ends what has waited too long.
    pub(crate) fn settle(&mut self, now: Time) {
        self.end_rests(now);
        self.waiting.sort_by_key(|waiter| waiter.op);
        for waiter in self.waiting.clone() {
            let lease = self.leases.iter().find(|lease| lease.key == waiter.key);
            let held = lease.filter(|lease| waiter.owner && lease.phase == Phase::Held);
            let Some(ip) = held.map(|lease| lease.ip) else { continue };
            if self.cidr_of(ip).is_some_and(|cidr| cidr.ready) {
                self.lease_mut(&waiter.key).told = true;
                self.waiting.retain(|other| other.op != waiter.op);
                self.answers.push((waiter.op, Answer::Address(ip, self.eni_of(ip))));
            }
        }
        for waiter in self.waiting.clone() {
            if waiter.owner {
                continue;
            }
            let Some(ip) = self.best() else { break };
            self.waiting.retain(|other| other.op != waiter.op);
            self.lease(waiter.key, waiter.op, ip, now);
        }
        for waiter in self.waiting.clone() {
            if waiter.deadline <= now {
                self.waiting.retain(|other| other.op != waiter.op);
                self.answers.push((waiter.op, Answer::NoAddress));
            }
        }
    }

    /// The pool gives up on an ADD before its time.
    pub(crate) fn refused_early(&mut self, op: OpId) -> Result<(), String> {
        let Some(n) = self.waiting.iter().position(|waiter| waiter.op == op) else {
            return Err(format!("{op} is refused, but does not wait"));
        };
        if self.waiting.remove(n).owner {
            return Err(format!("{op} is refused although it owns an address"));
        }
        if !self.creating.is_empty() || self.enis.iter().any(|eni| eni.busy.is_some()) {
            return Err(format!("{op} is refused although addresses may be on their way"));
        }
        Ok(())
    }

    fn lease(&mut self, key: SandboxKey, op: OpId, ip: IpAddr, now: Time) {
        let write = self.writes + 1;
        self.set_use(ip, Use::Leased(key.clone()));
        let phase = Phase::Adding { op, write };
        self.leases.push(Lease {
            key,
            ip,
            given: now,
            phase,
            told: false,
            first_write: write,
            made_by: Some(op),
        });
    }
}
