//! Kubelet and runtime of a node: they turn a load into ADDs and DELs, and repeat what failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Sim, tally::Waits};
use crate::{
    testkit::{
        check::Violation,
        workload::{PodChange, PodEvent},
    },
    time::Time,
};

/// After a failed sandbox kubelet comes back to the pod about this much later.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Pod {
    scheduled: Time,
    /// Each attempt is another sandbox.
    sandbox: u32,
    started: bool,
}

/// Plays a load on a [`Sim`] and counts how pods fare.
#[derive(Clone, Debug, Default)]
pub struct Kubelet {
    load: Vec<PodEvent>,
    played: usize,
    next_sandbox: u32,
    pods: BTreeMap<u32, Pod>,
    sandboxes: BTreeMap<u32, u32>,
    retries: BTreeSet<(Time, u32)>,
    waits: Waits,
    failed_adds: u64,
    never_started: u64,
}

impl Kubelet {
    /// A kubelet whose node will see `load`, sorted by time.
    pub fn new(load: Vec<PodEvent>) -> Self {
        Self { load, ..Self::default() }
    }

    /// Lets time pass and the load happen, until `end`.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn run_until(&mut self, sim: &mut Sim, end: Time) -> Result<(), Violation> {
        loop {
            let next = self.next_at().map_or(end, |at| at.min(end));
            sim.run_to_answer(next)?;
            for answer in sim.take_answers() {
                self.learn(sim, answer.number, answer.started)?;
            }
            if sim.now() < next {
                continue;
            }
            self.act(sim)?;
            if sim.now() >= end {
                return Ok(());
            }
        }
    }

    /// From the scheduling of each pod to its address, failed attempts included.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// ADDs that failed, of pods that were still wanted.
    pub fn failed_adds(&self) -> u64 {
        self.failed_adds
    }

    /// Pods that were deleted before they had an address.
    pub fn never_started(&self) -> u64 {
        self.never_started
    }

    /// Pods that are wanted and have no address at this moment.
    pub fn starting(&self) -> u64 {
        self.pods.values().filter(|pod| !pod.started).count() as u64
    }

    /// Starts and stops of pods so far.
    pub fn events(&self) -> u64 {
        self.played as u64
    }

    fn next_at(&self) -> Option<Time> {
        let retry = self.retries.first().map(|(at, _)| *at);
        crate::plan::earlier(self.load.get(self.played).map(|event| event.at), retry)
    }

    /// Does what is due.
    fn act(&mut self, sim: &mut Sim) -> Result<(), Violation> {
        let now = sim.now();
        while let Some((_, number)) = self.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.retries.pop_first();
            if let Some(scheduled) = self.pods.get(&number).map(|pod| pod.scheduled) {
                self.start(sim, number, scheduled)?;
            }
        }
        while let Some(event) = self.load.get(self.played).copied().filter(|e| e.at <= now) {
            self.played += 1;
            match event.change {
                PodChange::Starts => self.start(sim, event.pod, now)?,
                PodChange::Stops => self.stop(sim, event.pod)?,
            }
        }
        Ok(())
    }

    fn start(&mut self, sim: &mut Sim, number: u32, scheduled: Time) -> Result<(), Violation> {
        let sandbox = self.next_sandbox;
        self.next_sandbox = self.next_sandbox.wrapping_add(1);
        self.pods.insert(number, Pod { scheduled, sandbox, started: false });
        self.sandboxes.insert(sandbox, number);
        sim.add(sandbox)
    }

    fn stop(&mut self, sim: &mut Sim, number: u32) -> Result<(), Violation> {
        let Some(pod) = self.pods.remove(&number) else { return Ok(()) };
        self.sandboxes.remove(&pod.sandbox);
        if !pod.started {
            self.never_started += 1;
        }
        sim.release(pod.sandbox)
    }

    /// An ADD was answered. Of a pod that has gone meanwhile nobody wants to hear.
    fn learn(&mut self, sim: &mut Sim, sandbox: u32, started: bool) -> Result<(), Violation> {
        let Some(number) = self.sandboxes.get(&sandbox).copied() else { return Ok(()) };
        let Some(pod) = self.pods.get_mut(&number) else { return Ok(()) };
        if started {
            pod.started = true;
            self.waits.note(sim.now().since(pod.scheduled));
            return Ok(());
        }
        self.failed_adds += 1;
        self.sandboxes.remove(&sandbox);
        self.retries.insert((sim.now() + RETRY, number));
        // The runtime cleans up after a failed sandbox.
        sim.release(sandbox)
    }
}

#[cfg(test)]
#[path = "kubelet_tests.rs"]
mod tests;
