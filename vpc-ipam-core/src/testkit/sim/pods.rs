//! The runtime's side: pods come and go, and what they may rely on is checked.

use std::{collections::BTreeMap, net::IpAddr};

use super::Sim;
use crate::{
    id::{EniId, PodRef, SandboxKey},
    pool::{Assign, AssignError, Assignment, Release},
    stats::Stats,
    testkit::check::{self, Violation},
    time::Time,
};

/// Most answers kept for an embedder that does not fetch them: a few hours of a large node.
const ANSWERS_MAX: usize = 1 << 14;

/// How an ADD ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The sandbox.
    pub number: u32,
    /// When it asked.
    pub asked: Time,
    /// True if it has an address now.
    pub started: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) key: SandboxKey,
    /// Number and time of an ADD.
    adds: Option<(u32, Time)>,
    /// A pod has used an address under this key.
    used: bool,
}

/// The sandbox of that number.
fn sandbox(number: u32) -> Result<(SandboxKey, PodRef), Violation> {
    let key = SandboxKey::new("aws-cni", &format!("sandbox-{number}"), "eth0")
        .map_err(|e| Violation(e.to_string()))?;
    Ok((key, PodRef { namespace: "sim".to_owned(), name: format!("pod-{number}") }))
}

impl Sim {
    /// A pod comes, or repeats its request.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn add(&mut self, number: u32) -> Result<(), Violation> {
        let (key, pod) = sandbox(number)?;
        let before = self.is_checked().then(|| self.driver.pool().stats());
        let answer = self.driver.pool_mut().assign(key.clone(), pod, self.now);
        if let (Some(before), Ok(Assign::Pending(_))) = (before, &answer) {
            self.check_choice(&before, &key)?;
        }
        match answer {
            Ok(Assign::Ready(assignment)) => {
                let known = self.running.get(&key).copied();
                // A daemon that was killed may have given it to a sandbox that nobody waits for.
                if known.is_some_and(|ip| ip != assignment.ip) {
                    return Err(Violation(format!("{key} had {known:?}, now {assignment:?}")));
                }
                self.running.insert(key, assignment.ip);
                self.push_answer(Answer { number, asked: self.now, started: true });
            }
            Ok(Assign::Pending(op)) => {
                // A repeated request has waited since the first one.
                let fresh = Request { key, adds: Some((number, self.now)), used: false };
                self.requests.entry(op).or_insert(fresh);
            }
            Err(error) => {
                self.refuse(key, &error);
                self.push_answer(Answer { number, asked: self.now, started: false });
            }
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
        // From here on nobody uses the address, whatever becomes of the request.
        let ip = self.running.remove(key);
        match self.driver.pool_mut().release(key, self.now) {
            Ok(Release::Absent) => {
                if let Some(ip) = ip {
                    return Err(Violation(format!("{key} had {ip}, but the pool knows nothing")));
                }
            }
            Ok(Release::Pending(op)) => {
                self.requests
                    .insert(op, Request { key: key.clone(), adds: None, used: ip.is_some() });
            }
            Err(error) => return Err(Violation(format!("a release was refused: {error}"))),
        }
        self.drain()
    }

    /// Somebody else takes an address or prefix from the node.
    pub fn note_taken(&mut self, ips: impl IntoIterator<Item = IpAddr>) {
        self.taken.extend(ips);
    }

    /// Pods that have an address.
    pub fn running(&self) -> &BTreeMap<SandboxKey, IpAddr> {
        &self.running
    }

    /// ADDs that failed, with the reason, oldest first.
    pub fn refused(&self) -> &[(SandboxKey, String)] {
        &self.refused
    }

    /// Requests without an answer.
    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn deliver_replies(&mut self) -> Result<(), Violation> {
        let mut started = false;
        while let Some(reply) = self.driver.pool_mut().poll_reply() {
            let Some(request) = self.requests.remove(&reply.op) else {
                return Err(Violation(format!("{} answers no request", reply.op)));
            };
            self.answer(&request, reply.result.is_ok());
            match (request.adds.is_some(), reply.result) {
                (true, Ok(assignment)) => {
                    started = true;
                    self.pod_started(request.key, &assignment)?;
                }
                // The runtime deleted it itself.
                (true, Err(AssignError::Released)) => {}
                (true, Err(error)) => self.refuse(request.key, &error),
                (false, Ok(assignment)) => {
                    if request.used && self.config.detail.checks {
                        self.released.insert(assignment.ip, (self.now, request.key));
                    }
                }
                // The runtime repeats a failed DEL.
                (false, Err(AssignError::NotDurable(_))) => self.request_release(&request.key)?,
                (false, Err(error)) => {
                    return Err(Violation(format!("a DEL was answered with: {error}")));
                }
            }
        }
        if started && self.is_checked() && self.config.detail.state_file {
            check::stored(self.store.content().as_deref(), &self.running)?;
        }
        Ok(())
    }

    /// Answers to ADDs since the last call, oldest first.
    pub fn take_answers(&mut self) -> Vec<Answer> {
        self.answers.drain(..).collect()
    }

    pub(super) fn answer(&mut self, request: &Request, started: bool) {
        if let Some((number, asked)) = request.adds {
            self.push_answer(Answer { number, asked, started });
        }
    }

    fn push_answer(&mut self, answer: Answer) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    fn refuse(&mut self, key: SandboxKey, error: &AssignError) {
        if self.config.detail.history {
            self.refused.push((key, error.to_string()));
        }
    }

    fn pod_started(&mut self, key: SandboxKey, got: &Assignment) -> Result<(), Violation> {
        if got.key != key {
            return Err(Violation(format!("{key} got the answer of {}", got.key)));
        }
        if got.eni.as_ref().is_some_and(|eni| self.lost_enis.contains(eni)) {
            // EC2 adds addresses to detached ENIs too, until the pool sees that it is detached.
            self.taken.insert(got.ip);
        }
        if self.config.detail.checks {
            self.check_start(&key, got)?;
        }
        self.running.insert(key, got.ip);
        Ok(())
    }

    fn check_start(&self, key: &SandboxKey, got: &Assignment) -> Result<(), Violation> {
        let ip = got.ip;
        if let Some((other, _)) = self.running.iter().find(|(k, held)| **held == ip && *k != key) {
            return Err(Violation(format!("{ip} of {other} was given to {key} too")));
        }
        let cooldown = self.config.pool.cooldown;
        // A sandbox that comes back while its release is being written keeps its address.
        let resting = |(released, last): &(Time, SandboxKey)| {
            last != key && self.now.since(*released) <= cooldown
        };
        if self.released.get(&ip).is_some_and(resting) {
            return Err(Violation(format!("{ip} was given again before its rest was over")));
        }
        let routed = self.datapath.eni_of(ip);
        if routed.is_none() || routed != got.eni {
            return Err(Violation(format!("{ip} of {:?} leaves the host by {routed:?}", got.eni)));
        }
        if !self.taken.contains(&ip) && self.owner_of(ip) != got.eni {
            return Err(Violation(format!("{ip} was given out, but is not on {:?}", got.eni)));
        }
        Ok(())
    }

    /// If the sandbox was given an address just now, it was the right one to choose.
    fn check_choice(&self, before: &Stats, key: &SandboxKey) -> Result<(), Violation> {
        let pool = self.driver.pool();
        let ip_of = |stats: &Stats| {
            let addresses = stats.enis.iter().flat_map(|eni| &eni.cidrs).flat_map(|c| &c.addresses);
            addresses.into_iter().find(|a| a.key.as_ref() == Some(key)).map(|a| a.ip)
        };
        match ip_of(&pool.stats()) {
            Some(ip) if ip_of(before).is_none() => check::placement(before, pool.config(), ip),
            _ => Ok(()),
        }
    }

    /// The ENI of this node that holds `ip` in EC2.
    fn owner_of(&self, ip: IpAddr) -> Option<EniId> {
        let world = self.world();
        let enis = world.enis_of(&self.instance);
        let owner = enis.into_iter().find(|eni| eni.owned().iter().any(|cidr| cidr.contains(ip)));
        owner.map(|eni| eni.id.clone())
    }

    /// No address of a running pod is ever given back to EC2, and the state file has it.
    pub(super) fn check_pods(&self) -> Result<(), Violation> {
        let owned: Vec<_> = {
            let world = self.world();
            world.enis_of(&self.instance).into_iter().flat_map(|eni| eni.owned()).collect()
        };
        for (key, ip) in &self.running {
            if !self.taken.contains(ip) && !owned.iter().any(|cidr| cidr.contains(*ip)) {
                return Err(Violation(format!("{ip} of {key} was given back to EC2")));
            }
        }
        let leases = self.driver.pool().checkpoint().leases;
        let held: BTreeMap<_, _> = leases.iter().map(|lease| (&lease.key, lease.ip)).collect();
        for (key, ip) in &self.running {
            if held.get(key) != Some(ip) {
                return Err(Violation(format!("{key} runs with {ip}, but holds {held:?}")));
            }
        }
        Ok(())
    }
}
