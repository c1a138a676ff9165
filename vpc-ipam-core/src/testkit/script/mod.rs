//! Histories of a node as data: written down, generated, shrunk, replayed, and killed at every step.
//!
//! A [`Script`] is a node and what happens to it. [`run`] plays it with every step checked;
//! [`replays_identically`] plays it twice and compares all that the node did; [`crash_everywhere`]
//! plays it once per moment at which the daemon can die, and kills it there. Nothing but the script
//! decides what happens, so a script that is printed can be replayed, and one that fails can be shrunk
//! by leaving out steps and making numbers smaller, as `proptest` does with a `Vec<Step>`.
//!
//! ```
//! use std::time::Duration;
//! use vpc_ipam_core::testkit::{
//!     script::{Everywhere, Script, Step, crash_everywhere, replays_identically, run},
//!     sim::SimConfig,
//! };
//!
//! let script = Script::new(
//!     SimConfig::new("t3.small", 7)?,
//!     vec![
//!         Step::Burst(5),
//!         Step::Pass(Duration::from_secs(20)),
//!         Step::Release(2),
//!         Step::Pass(Duration::from_secs(60)),
//!     ],
//! );
//! let outcome = run(&script).ok()?;
//! assert_eq!(outcome.running.len(), 4);
//! replays_identically(&script)?;
//! let survey = crash_everywhere(&script, &Everywhere { every: 7, ..Everywhere::default() })?;
//! assert!(survey.replays > 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod everywhere;
mod outcome;
mod play;
mod step;
#[cfg(test)]
mod tests;

pub use self::{
    everywhere::{CrashFailure, Everywhere, Survey, crash_everywhere},
    outcome::{Difference, Failure, Outcome},
    play::{Player, play, replays_identically, run},
    step::{Elsewhere, Metadata, Outside, Setting, Step},
};
use super::{
    sim::SimConfig,
    workload::{PodChange, PodEvent},
};
use crate::time::Time;

/// A node and what happens to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Script {
    /// The node.
    pub config: SimConfig,
    /// What happens, in order. Only [`Step::Pass`] takes time.
    pub steps: Vec<Step>,
}

impl Script {
    /// A node to which `steps` happen.
    pub fn new(config: SimConfig, steps: Vec<Step>) -> Self {
        Self { config, steps }
    }

    /// A node under a load, as [`workload`](super::workload) makes them.
    pub fn from_load(config: SimConfig, load: &[PodEvent]) -> Self {
        let mut steps = Vec::new();
        let mut now = Time::ZERO;
        for event in load {
            if event.at > now {
                steps.push(Step::Pass(event.at.since(now)));
                now = event.at;
            }
            steps.push(match event.change {
                PodChange::Starts => Step::Add(event.pod),
                PodChange::Stops => Step::Release(event.pod),
            });
        }
        Self { config, steps }
    }
}
