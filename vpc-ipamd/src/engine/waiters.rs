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

    /// True if an address is on its way to `key`, and all who asked for it have gone.
    pub(super) fn is_abandoned(&self, key: &SandboxKey) -> bool {
        let mut waiting = self.adds.values().filter(|(k, _)| k == key).flat_map(|(_, w)| w);
        waiting.next().is_some_and(AddReply::is_closed) && waiting.all(AddReply::is_closed)
    }

    /// Answers all who wait for one of `replies`, and returns the sandboxes whose address nobody
    /// took. A key is not among them while another caller of the same sandbox has its answer or
    /// still waits: a runtime that repeats an ADD must not lose the address to its first attempt.
    pub(super) fn deliver(&mut self, replies: Vec<Reply>) -> Vec<SandboxKey> {
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
                undelivered.insert(key);
            }
        }
        let waits = |key: &SandboxKey| {
            self.adds
                .values()
                .any(|(k, waiting)| k == key && waiting.iter().any(|w| !w.is_closed()))
        };
        undelivered.into_iter().filter(|key| !delivered.contains(key) && !waits(key)).collect()
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
        assert_eq!(waiters.deliver(vec![ready(1, "a")]), [key("a")]);
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
        assert!(!waiters.is_abandoned(&key("a")), "nobody asked");
        let (first, gone) = oneshot::channel();
        let (second, answer) = oneshot::channel();
        waiters.add(OpId(1), key("a"), first);
        waiters.add(OpId(1), key("a"), second);
        drop(gone);
        assert!(!waiters.is_abandoned(&key("a")));
        drop(answer);
        assert!(waiters.is_abandoned(&key("a")));
        assert!(!waiters.is_abandoned(&key("b")));
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
