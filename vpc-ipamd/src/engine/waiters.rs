//! Who waits for which of the pool's delayed answers.

use std::collections::{BTreeMap, BTreeSet};

use vpc_ipam_core::{
    id::{OpId, SandboxKey},
    pool::Reply,
};

use crate::handle::{AddReply, DelReply};

/// Callers whose answer is on its way.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    adds: BTreeMap<OpId, (SandboxKey, Vec<AddReply>)>,
    dels: BTreeMap<OpId, Vec<DelReply>>,
}

impl Waiters {
    pub(super) fn add(&mut self, op: OpId, key: SandboxKey, reply: AddReply) {
        self.adds.entry(op).or_insert_with(|| (key, Vec::new())).1.push(reply);
    }

    pub(super) fn del(&mut self, op: OpId, reply: DelReply) {
        self.dels.entry(op).or_default().push(reply);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.dels.is_empty()
    }

    /// The ADD that brings an address to `key`, if all who asked for it have gone.
    pub(super) fn abandoned(&self, key: &SandboxKey) -> Option<OpId> {
        let mut adds = self.adds.iter().filter(|(_, (k, _))| k == key);
        let (newest, _) = adds.clone().next_back()?;
        adds.all(|(_, (_, waiting))| waiting.iter().all(AddReply::is_closed)).then_some(*newest)
    }

    /// Answers all who wait for one of `replies`, and returns the ADDs whose address nobody took, with
    /// their sandboxes. A key is not among them while another caller of the same sandbox has its answer or
    /// still waits: a runtime that repeats an ADD must not lose the address to its first attempt.
    pub(super) fn deliver(&mut self, replies: Vec<Reply>) -> Vec<(SandboxKey, OpId)> {
        let mut undelivered = BTreeSet::new();
        let mut delivered = BTreeSet::new();
        for reply in replies {
            let Some((key, waiting)) = self.adds.remove(&reply.op) else {
                self.deliver_del(reply);
                continue;
            };
            let ready = reply.result.is_ok();
            let mut taken = false;
            for waiter in waiting {
                taken |= waiter.send(reply.result.clone()).is_ok();
            }
            if taken {
                delivered.insert(key);
            } else if ready {
                undelivered.insert((key, reply.op));
            }
        }
        let waits = |key: &SandboxKey| {
            self.adds
                .values()
                .any(|(k, waiting)| k == key && waiting.iter().any(|w| !w.is_closed()))
        };
        undelivered.retain(|(key, _)| !delivered.contains(key) && !waits(key));
        undelivered.into_iter().collect()
    }

    fn deliver_del(&mut self, reply: Reply) {
        for waiter in self.dels.remove(&reply.op).unwrap_or_default() {
            // A caller that has gone repeats its DEL.
            let _ = waiter.send(reply.result.clone().map(Some));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use vpc_ipam_core::{
        id::EniId,
        pool::{AssignError, Assignment},
    };

    use super::*;

    fn key(id: &str) -> SandboxKey {
        SandboxKey::new("aws-cni", id, "eth0").unwrap()
    }

    fn ready(op: u64, id: &str) -> Reply {
        let assignment = Assignment {
            key: key(id),
            ip: "10.0.0.5".parse().unwrap(),
            eni: EniId::new("eni-1").ok(),
            device: 0,
            card: 0,
            table: 254,
        };
        Reply { op: OpId(op), result: Ok(assignment) }
    }

    #[test]
    fn an_address_that_nobody_waits_for_is_given_back() {
        let mut waiters = Waiters::default();
        let (reply, answer) = oneshot::channel();
        waiters.add(OpId(1), key("a"), reply);
        drop(answer);
        assert_eq!(waiters.deliver(vec![ready(1, "a")]), [(key("a"), OpId(1))]);
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_repeated_add_keeps_the_address_that_the_first_attempt_did_not_wait_for() {
        for same_op in [true, false] {
            let mut waiters = Waiters::default();
            let (first, gone) = oneshot::channel();
            let (second, mut answer) = oneshot::channel();
            waiters.add(OpId(1), key("a"), first);
            waiters.add(OpId(if same_op { 1 } else { 2 }), key("a"), second);
            drop(gone);
            let replies =
                if same_op { vec![ready(1, "a")] } else { vec![ready(1, "a"), ready(2, "a")] };
            assert_eq!(waiters.deliver(replies), [], "same op: {same_op}");
            assert!(answer.try_recv().unwrap().is_ok());
        }
    }

    #[test]
    fn an_address_stays_while_another_caller_of_the_same_sandbox_waits() {
        let mut waiters = Waiters::default();
        let (first, gone) = oneshot::channel();
        let (second, _answer) = oneshot::channel();
        waiters.add(OpId(1), key("a"), first);
        waiters.add(OpId(2), key("a"), second);
        drop(gone);
        assert_eq!(waiters.deliver(vec![ready(1, "a")]), []);
    }

    #[test]
    fn a_request_is_abandoned_when_the_last_caller_has_gone() {
        let mut waiters = Waiters::default();
        assert_eq!(waiters.abandoned(&key("a")), None, "nobody asked");
        let (first, gone) = oneshot::channel();
        let (second, answer) = oneshot::channel();
        waiters.add(OpId(1), key("a"), first);
        waiters.add(OpId(1), key("a"), second);
        drop(gone);
        assert_eq!(waiters.abandoned(&key("a")), None);
        drop(answer);
        assert_eq!(waiters.abandoned(&key("a")), Some(OpId(1)));
        assert_eq!(waiters.abandoned(&key("b")), None);
    }

    #[test]
    fn a_failure_that_nobody_hears_needs_no_undoing() {
        let mut waiters = Waiters::default();
        let (reply, answer) = oneshot::channel();
        waiters.add(OpId(1), key("a"), reply);
        drop(answer);
        let failed = Reply { op: OpId(1), result: Err(AssignError::NoAddress("none".to_owned())) };
        assert_eq!(waiters.deliver(vec![failed]), []);
    }
}
