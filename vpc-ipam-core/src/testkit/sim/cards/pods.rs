//! The runtime's side: pods with one address or one per card come and go.

use std::{collections::BTreeMap, net::IpAddr};

use super::CardsSim;
use crate::{
    id::{PodRef, SandboxKey},
    node::{Assign, Assignments},
    pool::{AssignError, Assignment, Release},
    testkit::check::Violation,
    time::Time,
};

/// A pod that runs: its address on each card that it is on.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) ips: BTreeMap<u32, IpAddr>,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) key: SandboxKey,
    /// An ADD, and whether on every card; `None` for a DEL.
    add: Option<bool>,
    /// What a pod has used under this key, and until when.
    used: Vec<(IpAddr, Time)>,
    /// Saves that had failed when it was made.
    failed_before: u64,
}

fn sandbox(number: u32) -> Result<(SandboxKey, PodRef), Violation> {
    let key = SandboxKey::new("aws-cni", &format!("sandbox-{number}"), "eth0")
        .map_err(|e| Violation(e.to_string()))?;
    Ok((key, PodRef { namespace: "sim".to_owned(), name: format!("pod-{number}") }))
}

impl CardsSim {
    /// An ordinary pod comes, or repeats its request.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn add(&mut self, number: u32) -> Result<(), Violation> {
        self.request(number, false)
    }

    /// A pod that wants an address on every card comes, or repeats its request. What a number's first
    /// request was, its others are.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn add_every(&mut self, number: u32) -> Result<(), Violation> {
        self.request(number, true)
    }

    fn request(&mut self, number: u32, every: bool) -> Result<(), Violation> {
        let (key, pod) = sandbox(number)?;
        // A pod does not change its mind.
        let every = *self.kinds.entry(key.clone()).or_insert(every);
        let failed_before = self.failed_saves();
        let (node, now) = (self.driver.node_mut(), self.now);
        let answer = if every {
            node.assign_on_every_card(key.clone(), pod, now)
        } else {
            node.assign(key.clone(), pod, now)
        };
        match answer {
            Ok(Assign::Ready(all)) => self.pod_started(key, every, &all)?,
            Ok(Assign::Pending(op)) => {
                let fresh = Request { key, add: Some(every), used: Vec::new(), failed_before };
                self.requests.entry(op).or_insert(fresh);
            }
            Err(error) => self.refused.push((key, error.to_string())),
        }
        self.drain()
    }

    /// A pod goes.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn release(&mut self, number: u32) -> Result<(), Violation> {
        let (key, _) = sandbox(number)?;
        self.request_release(&key)
    }

    pub(super) fn request_release(&mut self, key: &SandboxKey) -> Result<(), Violation> {
        // From here on nobody uses the addresses, whatever becomes of the request.
        let pod = self.running.remove(key);
        let ips = pod.map(|pod| pod.ips.into_values()).into_iter().flatten();
        let used: Vec<_> = ips.map(|ip| (ip, self.now)).collect();
        match self.driver.node_mut().release(key, self.now) {
            Ok(Release::Absent) if used.is_empty() => {
                self.torn.remove(key);
            }
            Ok(Release::Pending(op)) => {
                let fresh =
                    Request { key: key.clone(), add: None, used: Vec::new(), failed_before: 0 };
                self.requests.entry(op).or_insert(fresh).used.extend(used);
            }
            answer => {
                return Err(Violation(format!("{key} had {used:?}, its DEL says {answer:?}")));
            }
        }
        self.drain()
    }

    pub(super) fn deliver_replies(&mut self) -> Result<(), Violation> {
        while let Some(reply) = self.driver.node_mut().poll_reply() {
            let Some(request) = self.requests.remove(&reply.op) else {
                return Err(Violation(format!("{} answers no request", reply.op)));
            };
            let key = request.key;
            match (request.add, reply.result) {
                (Some(every), Ok(all)) => self.pod_started(key, every, &all)?,
                // The runtime deleted it itself.
                (Some(_), Err(AssignError::Released)) => {}
                (Some(every), Err(error)) => {
                    let torn = self.may_be_torn(&error, request.failed_before);
                    self.torn.extend(torn.then(|| key.clone()));
                    self.check_nothing_left(&key, every)?;
                    self.refused.push((key, error.to_string()));
                }
                (None, Ok(_)) => {
                    self.torn.remove(&key);
                    let rests = request.used.into_iter();
                    self.released.extend(rests.map(|(ip, at)| (ip, (at, key.clone()))));
                }
                // The runtime repeats a failed DEL.
                (None, Err(AssignError::NotDurable(_))) => {
                    self.torn.insert(key.clone());
                    self.request_release(&key)?;
                }
                (None, Err(error)) => {
                    return Err(Violation(format!("a DEL was answered with: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Pods that have an address.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Requests without an answer.
    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// Cards on which a running pod has an address, lowest first; none for one that does not run.
    pub fn cards_of(&self, number: u32) -> Vec<u32> {
        let pod = sandbox(number).ok().and_then(|(key, _)| self.running.get(&key));
        pod.map(|pod| pod.ips.keys().copied().collect()).unwrap_or_default()
    }

    /// ADDs that failed, with the reason, oldest first.
    pub fn refused(&self) -> &[(SandboxKey, String)] {
        &self.refused
    }

    fn pod_started(
        &mut self,
        key: SandboxKey,
        every: bool,
        all: &Assignments,
    ) -> Result<(), Violation> {
        let cards: Vec<u32> = all.iter().map(|got| got.card).collect();
        let managed: Vec<u32> = self.node().cards().collect();
        if every && cards != managed || !every && cards.len() != 1 {
            return Err(Violation(format!("{key} got addresses on {cards:?} of {managed:?}")));
        }
        for got in all.iter() {
            self.check_start(&key, got)?;
        }
        let ips: BTreeMap<u32, IpAddr> = all.iter().map(|got| (got.card, got.ip)).collect();
        let known = self.running.get(&key).map(|pod| &pod.ips);
        if known.is_some_and(|known| *known != ips) {
            return Err(Violation(format!("{key} had {known:?}, now {ips:?}")));
        }
        self.running.insert(key, Pod { ips });
        Ok(())
    }

    fn check_start(&self, key: &SandboxKey, got: &Assignment) -> Result<(), Violation> {
        let ip = got.ip;
        let has = |pod: &Pod| pod.ips.values().any(|held| *held == ip);
        if let Some((other, _)) = self.running.iter().find(|(k, pod)| *k != key && has(pod)) {
            return Err(Violation(format!("{ip} of {other} was given to {key} too")));
        }
        let cooldown = self.config.cards.first().map(|pool| pool.cooldown).unwrap_or_default();
        if let Some((released, last)) = self.released.get(&ip)
            && last != key
            && self.now.since(*released) <= cooldown
        {
            return Err(Violation(format!("{ip} was given again before its rest was over")));
        }
        let routed = self.datapath.eni_of(ip);
        if got.key != *key || routed.is_none() || routed != got.eni {
            return Err(Violation(format!("{got:?} of {key} leaves the host by {routed:?}")));
        }
        if self.owner_of(ip) != Some((got.eni.clone(), got.card)) {
            return Err(Violation(format!("{got:?} was given out, but is not there")));
        }
        Ok(())
    }
}
