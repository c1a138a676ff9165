//! All nodes under one policy, on all threads.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use thiserror::Error;
use vpc_ipam_core::testkit::{
    check::Violation,
    ec2::{instance_type, instance_types},
    sim::SimError,
    workload::Span,
};

use crate::{
    fault::Fault,
    load::Load,
    options::Options,
    outcome::Outcome,
    policy::{self, Policy},
};

/// Samples of a run: what a plot of that many pixels shows.
const SAMPLES_MAX: u32 = 480;
/// Shortest time between two samples.
const STEP_MIN: Duration = Duration::from_secs(10);
/// Pods of a node whatever its addresses: what Kubernetes recommends and EKS sets.
const PODS_MAX: u32 = 110;
const DURATION_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// Why a node's simulation ended early.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("the node cannot be simulated: {0}")]
    Setup(#[from] SimError),
    #[error("node {node} of the fleet of seed {seed} broke a rule: {source}")]
    Violation { node: u32, seed: u64, source: Violation },
}

/// What is simulated.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: u32,
    pub(crate) duration: Duration,
    pub(crate) step: Duration,
    pub(crate) samples: u32,
    pub(crate) load: Load,
    pub(crate) policies: Vec<Policy>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) instance_type: String,
    pub(crate) pods_max: u32,
    pub(crate) seed: u64,
    threads: usize,
}

impl Fleet {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let load = Load::find(&options.workload)?;
        let hours = options.hours.map(|hours| Duration::from_secs_f64(hours * 3600.0));
        let wanted = hours.or(load.duration()).unwrap_or(DURATION_DEFAULT);
        let step = (wanted / SAMPLES_MAX).max(STEP_MIN);
        // Whole steps, and whole seconds in the files.
        let step = Duration::from_secs(step.as_secs_f64().ceil() as u64);
        let samples = (wanted.as_secs_f64() / step.as_secs_f64()).ceil() as u32;
        let known = || instance_types().iter().map(|t| t.name).collect::<Vec<_>>().join(", ");
        let limits = instance_type(&options.instance_type)
            .with_context(|| {
                format!("instance type {:?} is unknown; known: {}", options.instance_type, known())
            })?
            .limits();
        let capacity = limits.enis.saturating_mul(limits.slots());
        let policies =
            if options.policies.is_empty() { policy::usual() } else { options.policies.clone() };
        for policy in &policies {
            let tried = policy.config(&options.instance_type, options.seed);
            tried.with_context(|| format!("policy {}", policy.name()))?;
        }
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            nodes: options.nodes,
            duration: step * samples,
            step,
            samples,
            load,
            policies,
            faults: options.faults.clone(),
            instance_type: options.instance_type.clone(),
            pods_max: options.max_pods.unwrap_or(capacity.min(PODS_MAX)),
            seed: options.seed,
            threads: options.threads.map_or(cpus, usize::from),
        })
    }

    pub(crate) fn hours(&self) -> f64 {
        self.duration.as_secs_f64() / 3600.0
    }

    /// The same for all policies, so that they meet the same luck.
    pub(crate) fn node_seed(&self, node: u32) -> u64 {
        self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(node))
    }

    pub(crate) fn span(&self, node: u32) -> Span {
        Span {
            seed: self.seed,
            node,
            nodes: self.nodes,
            duration: self.duration,
            pods_max: self.pods_max,
        }
    }

    /// Runs all nodes; `progress` hears how many are done.
    pub(crate) fn run(&self, policy: &Policy, progress: impl Fn(u32)) -> Result<Outcome, RunError> {
        let (next, stop) = (AtomicU32::new(0), AtomicBool::new(false));
        let (sender, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let node = next.fetch_add(1, Ordering::Relaxed);
                        if node >= self.nodes
                            || sender.send((node, self.run_node(policy, node))).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let (mut sum, mut done) = (Outcome::default(), 0);
            let mut failed: Option<(u32, RunError)> = None;
            for (node, result) in results {
                match result {
                    Ok(outcome) => sum.add(&outcome),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        // The first node's error, whichever thread was faster.
                        if failed.as_ref().is_none_or(|(other, _)| node < *other) {
                            failed = Some((node, error));
                        }
                    }
                }
                done += 1;
                progress(done);
            }
            failed.map_or(Ok(sum), |(_, error)| Err(error))
        })
    }
}
