//! Letting faults happen, and ending them.

use vpc_ipam_core::{
    id::InstanceId,
    testkit::ec2::{Consistency, Delays, RequestRates, Script, World},
};

use super::{Faults, active::Latency, ec2, metadata};
use crate::emulator::server::{Emulator, lock};

/// What a world was like before faults changed it.
#[derive(Clone, Debug)]
pub(in crate::emulator) struct Before {
    delays: Delays,
    consistency: Consistency,
    rates: RequestRates,
}

impl Emulator {
    /// Lets the faults happen, after those that are there already. Their times count from now.
    ///
    /// Delays, consistency and request rates hold until [`clear_faults`](Self::clear_faults).
    pub fn inject(&self, faults: &Faults) {
        let now = self.now();
        let mut world = self.shared.world();
        world.advance(now);
        self.change_conditions(faults, &mut world);
        for fault in &faults.ec2 {
            let mut when = fault.timing.when(now, world.calls());
            when.resource.clone_from(&fault.resource);
            let actions = fault.actions.clone();
            match &fault.effect {
                ec2::Effect::Fault(fault) => {
                    world.faults_mut().add(Script { actions, fault: fault.clone(), when });
                }
                ec2::Effect::Late(delay) => {
                    self.shared.latencies.add(Latency { actions, delay: *delay, when });
                }
            }
        }
        for fault in &faults.metadata {
            let when = fault.timing.when(now, world.calls());
            if let metadata::Effect::Frozen(time) = fault.effect {
                for id in instances(&world, fault.instance.as_ref()) {
                    world.freeze_imds(&id, now + fault.timing.after, time);
                }
            } else {
                self.shared.imds.faults.add(fault.clone(), when);
            }
        }
    }

    /// Ends all faults, of EC2 and of the metadata of all instances, and gives delays, consistency and
    /// request rates back what they were before the first injection. What has happened has happened.
    pub fn clear_faults(&self) {
        let mut world = self.shared.world();
        world.faults_mut().clear();
        self.shared.latencies.clear();
        self.shared.imds.faults.clear();
        for id in instances(&world, None) {
            world.heal_imds(&id);
        }
        if let Some(before) = lock(&self.shared.before_faults).take() {
            world.set_delays(before.delays);
            world.set_consistency(before.consistency);
            world.set_request_rates(&before.rates);
        }
    }

    fn change_conditions(&self, faults: &Faults, world: &mut World) {
        let Faults { delays, consistency, throttling, .. } = faults;
        if delays.is_none() && consistency.is_none() && throttling.is_none() {
            return;
        }
        lock(&self.shared.before_faults).get_or_insert_with(|| Before {
            delays: world.delays(),
            consistency: world.consistency(),
            rates: world.request_rates().clone(),
        });
        if let Some(delays) = delays {
            world.set_delays(delays.over(world.delays()));
        }
        if let Some(consistency) = consistency {
            world.set_consistency(consistency.over(world.consistency()));
        }
        if let Some(throttling) = throttling {
            world.set_request_rates(&throttling.0);
        }
    }
}

/// That instance, or all.
fn instances(world: &World, only: Option<&InstanceId>) -> Vec<InstanceId> {
    let all = world.instances().iter().map(|i| &i.id);
    all.filter(|id| only.is_none_or(|only| only == *id)).cloned().collect()
}
