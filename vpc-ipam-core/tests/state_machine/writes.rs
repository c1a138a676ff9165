//! The state file of the model, and what the end of a write means; rests after leases.

use vpc_ipam_core::{
    id::{OpId, SandboxKey},
    time::Time,
};

use crate::model::{Answer, Lease, Model, Phase, Use, Waiter, Write, has_pods};

impl Model {
    /// A write of the state file begins, with what has been decided so far.
    pub(crate) fn write_begins(&mut self) {
        self.writes += 1;
        self.write = Some(Write { number: self.writes, content: self.records() });
    }

    /// A write ends: what it took up is done, or undone.
    pub(crate) fn write_ends(&mut self, ok: bool, now: Time) {
        let Some(write) = self.write.take() else { return };
        let keys: Vec<SandboxKey> = self.leases.iter().map(|lease| lease.key.clone()).collect();
        for key in keys {
            let lease = self.lease_mut(&key).clone();
            let (ip, eni) = (lease.ip, self.eni_of(lease.ip));
            match lease.phase {
                Phase::Adding { op, write: n } if n == write.number && !ok => {
                    self.end_lease(&key, lease.told.then_some(now));
                    self.answers.push((op, Answer::NotDurable));
                }
                Phase::Adding { op, write: n } if n == write.number => {
                    if self.cidr_of(ip).is_some_and(|cidr| cidr.confirmed && cidr.ready) {
                        let lease = self.lease_mut(&key);
                        (lease.phase, lease.told) = (Phase::Held, true);
                        self.answers.push((op, Answer::Address(ip, eni)));
                    } else {
                        self.wait_again(&lease, op, now);
                    }
                }
                Phase::Releasing { op, write: n } if n == write.number && !ok => {
                    self.lease_mut(&key).phase = Phase::Unsure { write: self.writes + 1 };
                    self.answers.push((op, Answer::NotDurable));
                }
                Phase::Releasing { op, write: n } if n == write.number => {
                    self.answers.push((op, Answer::Address(ip, eni)));
                    self.end_lease(&key, lease.told.then_some(now));
                }
                Phase::Unsure { write: n } if n == write.number => {
                    let again = Phase::Unsure { write: self.writes + 1 };
                    self.lease_mut(&key).phase = if ok { Phase::Held } else { again };
                }
                _ => {}
            }
        }
    }

    /// The address stopped working while its lease was being written. It is kept if a pod may have used
    /// it, or if it is only the host that hesitates.
    fn wait_again(&mut self, lease: &Lease, op: OpId, now: Time) {
        let confirmed = self.cidr_of(lease.ip).is_some_and(|cidr| cidr.confirmed);
        let owner = lease.told || confirmed;
        if owner {
            self.lease_mut(&lease.key).phase = Phase::Held;
        } else {
            self.end_lease(&lease.key, None);
        }
        let deadline = now + self.config.add_wait;
        self.waiting.push(Waiter { op, key: lease.key.clone(), deadline, owner });
    }

    pub(crate) fn end_lease(&mut self, key: &SandboxKey, released: Option<Time>) {
        let Some(n) = self.leases.iter().position(|lease| lease.key == *key) else { return };
        let lease = self.leases.remove(n);
        if let Some(released) = released {
            self.resting.push((lease.ip, released));
        }
        let state = released.map_or(Use::Fresh, Use::Resting);
        self.set_use(lease.ip, state);
        // What the cloud does not show goes with its last pod.
        self.cidrs.retain(|cidr| {
            cidr.confirmed
                || !cidr.addresses.iter().any(|(ip, _)| *ip == lease.ip)
                || has_pods(cidr)
        });
    }

    /// Rests that have lasted longer than the cooldown end.
    pub(crate) fn end_rests(&mut self, now: Time) {
        let cooldown = self.config.cooldown;
        let over = |released: Time| {
            let rest = now.since(released);
            if cooldown.is_zero() { true } else { rest > cooldown }
        };
        let ended: Vec<_> = self.resting.iter().filter(|(_, at)| over(*at)).copied().collect();
        self.resting.retain(|(_, at)| !over(*at));
        for (ip, at) in ended {
            if self.use_of(ip) == Some(&Use::Resting(at)) {
                self.set_use(ip, Use::Rested(at));
            }
        }
    }
}
