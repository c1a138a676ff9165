//! What became of a script.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use thiserror::Error;

use super::step::Step;
use crate::{
    id::SandboxKey,
    pool::Action,
    testkit::{
        check::Violation,
        ec2::Ec2Action,
        sim::{CloudFailures, Kill, Level, Sim, SimError},
    },
    time::Time,
};

/// A violation and where in the script it came.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// During which step, or at the start or at rest.
    pub step: String,
    /// The node's time.
    pub at: Time,
    /// The deaths before it.
    pub kills: Vec<Kill>,
    /// What was broken.
    pub violation: Violation,
}

impl Failure {
    pub(super) fn at_start(error: &SimError) -> Self {
        let violation = Violation(error.to_string());
        Self { step: "the start".to_owned(), at: Time::ZERO, kills: Vec::new(), violation }
    }

    pub(super) fn new(number: usize, step: &Step, sim: &Sim, violation: Violation) -> Self {
        Self::during(format!("step {number}, {step:?}"), sim, violation)
    }

    pub(super) fn at_rest(sim: &Sim, violation: Violation) -> Self {
        Self::during("the rest".to_owned(), sim, violation)
    }

    fn during(step: String, sim: &Sim, violation: Violation) -> Self {
        Self { step, at: sim.now(), kills: sim.kills().to_vec(), violation }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at {}", self.step, self.at)?;
        for kill in &self.kills {
            write!(f, ", {kill}")?;
        }
        write!(f, ": {}", self.violation)
    }
}

impl std::error::Error for Failure {}

/// All that a script led to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The node's time at the end.
    pub end: Time,
    /// What the pool asked for, with the time; empty without
    /// [`Detail::history`](crate::testkit::sim::Detail::history).
    pub actions: Vec<(Time, Action)>,
    /// EC2 calls.
    pub calls: BTreeMap<Ec2Action, u64>,
    /// Cloud calls of the pool that failed.
    pub failures: CloudFailures,
    /// What the pool holds.
    pub level: Level,
    /// Pods that have an address.
    pub running: BTreeMap<SandboxKey, IpAddr>,
    /// ADDs that failed, and why.
    pub refused: Vec<(SandboxKey, String)>,
    /// Moments at which the daemon could have died.
    pub moments: u64,
    /// Moments at which it did, on [order](Sim::kill_at).
    pub kills: Vec<Kill>,
    /// What the state file says.
    pub state_file: Option<Vec<u8>>,
    /// What was broken, if anything was. The other fields describe the node at that moment.
    pub failure: Option<Failure>,
}

impl Outcome {
    pub(super) fn of(sim: &Sim, failure: Option<Failure>) -> Self {
        Self {
            end: sim.now(),
            actions: sim.actions().to_vec(),
            calls: sim.world().calls().clone(),
            failures: sim.failures(),
            level: sim.level(),
            running: sim.running().clone(),
            refused: sim.refused().to_vec(),
            moments: sim.moments(),
            kills: sim.kills().to_vec(),
            state_file: sim.store().content(),
            failure,
        }
    }

    pub(super) fn of_no_node(failure: Failure) -> Self {
        Self {
            end: Time::ZERO,
            actions: Vec::new(),
            calls: BTreeMap::new(),
            failures: CloudFailures::default(),
            level: Level::default(),
            running: BTreeMap::new(),
            refused: Vec::new(),
            moments: 0,
            kills: Vec::new(),
            state_file: None,
            failure: Some(failure),
        }
    }

    /// The outcome, if nothing was broken.
    ///
    /// # Errors
    ///
    /// What was broken.
    pub fn ok(self) -> Result<Self, Failure> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }
}

/// How two plays of the same script differ.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("two plays of the same script differ: {0}")]
pub struct Difference(pub String);

impl Difference {
    pub(super) fn between(once: &Outcome, twice: &Outcome) -> Option<Self> {
        if once == twice {
            return None;
        }
        let pairs = once.actions.iter().zip(&twice.actions);
        let text = match pairs.enumerate().find(|(_, (a, b))| a != b) {
            Some((n, (a, b))) => format!("action {n} is {a:?} and {b:?}"),
            None if once.actions.len() != twice.actions.len() => {
                format!("{} and {} actions", once.actions.len(), twice.actions.len())
            }
            None if once.failure != twice.failure => {
                format!("{:?} and {:?}", once.failure, twice.failure)
            }
            None => "the same actions led to another end".to_owned(),
        };
        Some(Self(text))
    }
}
