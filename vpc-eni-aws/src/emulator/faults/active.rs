//! Faults that are there, outside the model: what requests meet on their way.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use vpc_ipam_core::{
    id::InstanceId,
    testkit::ec2::{Ec2Action, When, World},
    time::Time,
};

use super::metadata::{Effect, MetadataFault, is_below};
use crate::emulator::server::lock;

type Calls = BTreeMap<Ec2Action, u64>;

/// Late answers of EC2.
#[derive(Debug, Default)]
pub(in crate::emulator) struct Latencies(Mutex<Vec<Latency>>);

#[derive(Clone, Debug)]
pub(in crate::emulator) struct Latency {
    pub(super) actions: Vec<Ec2Action>,
    pub(super) delay: Duration,
    pub(super) when: When,
}

impl Latencies {
    pub(super) fn add(&self, latency: Latency) {
        lock(&self.0).push(latency);
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn list(&self) -> Vec<Latency> {
        lock(&self.0).clone()
    }

    /// How much later a call is answered; asked once per call. `values` are those of its parameters.
    pub(in crate::emulator) fn delay(
        &self,
        action: Ec2Action,
        values: impl FnOnce() -> Vec<String>,
        world: &World,
        now: Time,
    ) -> Duration {
        let mut all = lock(&self.0);
        if all.is_empty() {
            return Duration::ZERO;
        }
        let values = values();
        let concerned = |l: &&mut Latency| l.actions.is_empty() || l.actions.contains(&action);
        let delay = all
            .iter_mut()
            .filter(concerned)
            .filter_map(|l| l.when.meets(now, world.calls(), &values).then_some(l.delay))
            .sum();
        all.retain(|l| !l.when.is_over(now));
        delay
    }
}

/// Faults of metadata.
#[derive(Debug, Default)]
pub(in crate::emulator) struct MetadataFaults(Mutex<Vec<Active>>);

#[derive(Clone, Debug)]
pub(in crate::emulator) struct Active {
    pub(super) fault: MetadataFault,
    pub(super) when: When,
}

/// What a request meets on its way to the metadata.
#[derive(Debug, Default)]
pub(in crate::emulator) struct Met {
    pub(in crate::emulator) delay: Duration,
    pub(in crate::emulator) answer: Option<Answer>,
}

#[derive(Debug)]
pub(in crate::emulator) enum Answer {
    Status(u16),
    Body(String),
}

impl MetadataFaults {
    pub(super) fn add(&self, fault: MetadataFault, when: When) {
        lock(&self.0).push(Active { fault, when });
    }

    pub(in crate::emulator) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn list(&self) -> Vec<Active> {
        lock(&self.0).clone()
    }

    /// What this request meets: all delays, and the first answer.
    pub(in crate::emulator) fn met(
        &self,
        instance: &InstanceId,
        path: &str,
        calls: &Calls,
        now: Time,
    ) -> Met {
        let mut met = Met::default();
        let mut all = lock(&self.0);
        for active in all.iter_mut().filter(|a| a.concerns(instance)) {
            let mut due = |at: &str| is_below(at, path) && active.when.meets(now, calls, NO_NAMES);
            match &active.fault.effect {
                Effect::Late { path, delay } if due(path) => met.delay += *delay,
                Effect::Status { path, status } if met.answer.is_none() && due(path) => {
                    met.answer = Some(Answer::Status(*status));
                }
                Effect::Body { path, body } if met.answer.is_none() && due(path) => {
                    met.answer = Some(Answer::Body(body.clone()));
                }
                _ => {}
            }
        }
        all.retain(|a| !a.when.is_over(now));
        met
    }

    /// Those by which metadata shows less than there is.
    pub(in crate::emulator) fn omissions(
        &self,
        instance: &InstanceId,
        calls: &Calls,
        now: Time,
    ) -> Vec<MetadataFault> {
        let mut all = lock(&self.0);
        let omits = |a: &&mut Active| {
            matches!(a.fault.effect, Effect::OmitAll | Effect::OmitEni(_) | Effect::OmitKeys { .. })
        };
        let due = all.iter_mut().filter(|a| a.concerns(instance)).filter(omits);
        due.filter_map(|a| a.when.meets(now, calls, NO_NAMES).then(|| a.fault.clone())).collect()
    }
}

const NO_NAMES: &[&str] = &[];

impl Active {
    fn concerns(&self, instance: &InstanceId) -> bool {
        self.fault.instance.as_ref().is_none_or(|id| id == instance)
    }
}
