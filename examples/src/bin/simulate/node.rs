//! One node from its first second to its last.

use vpc_ipam_core::{
    testkit::{
        sim::{Detail, Kubelet, Sim},
        workload::Span,
    },
    time::Time,
};

use crate::{
    fault::Strike,
    fleet::{Fleet, RunError},
    outcome::{Outcome, Sample},
    policy::Policy,
};

impl Fleet {
    /// Simulates node `number` under `policy`.
    pub(crate) fn run_node(&self, policy: &Policy, number: u32) -> Result<Outcome, RunError> {
        let span = self.span(number);
        let failed = |source| RunError::Violation { node: number, seed: self.seed, source };
        let mut config = policy.config(&self.instance_type, self.node_seed(number))?;
        config.detail = Detail::LIGHT;
        config.pool.max_pods = self.pods_max;
        for fault in &self.faults {
            fault.prepare(&mut config);
        }
        let mut sim = Sim::new(&config)?;
        for fault in &self.faults {
            fault.begin(&sim);
        }
        let mut strikes = self.strikes(&span).into_iter().peekable();
        let mut kubelet = Kubelet::new(self.load.events(&span));
        let mut outcome = Outcome::default();
        let mut calls_before = 0;
        for n in 1..=self.samples {
            let at = Time::ZERO + self.step * n;
            // One that strikes at the moment of a sample strikes after it: samples and strikes have
            // round times, and the pool of a daemon just killed is always empty.
            while let Some(strike) = strikes.next_if(|strike| strike.at < at) {
                kubelet.run_until(&mut sim, strike.at).map_err(failed)?;
                strike.apply(&mut sim).map_err(failed)?;
            }
            kubelet.run_until(&mut sim, at).map_err(failed)?;
            let calls: u64 = sim.world().calls().values().sum();
            let starting = kubelet.starting();
            outcome.samples.push(Sample {
                level: sim.level(),
                starting,
                calls: calls - calls_before,
            });
            calls_before = calls;
        }
        // Checking every step would take longer than all the rest.
        sim.check().map_err(failed)?;
        outcome.calls = sim.world().calls().iter().map(|(a, count)| (a.as_str(), *count)).collect();
        outcome.failures = sim.failures();
        outcome.waits = kubelet.waits().clone();
        outcome.failed_adds = kubelet.failed_adds();
        outcome.never_started = kubelet.never_started();
        outcome.left_waiting = kubelet.starting();
        outcome.pod_events = kubelet.events();
        Ok(outcome)
    }

    fn strikes(&self, span: &Span) -> Vec<Strike> {
        let turn = f64::from(span.node) / f64::from(span.nodes.max(1));
        let mut strikes: Vec<Strike> =
            self.faults.iter().flat_map(|fault| fault.strikes(span.duration, turn)).collect();
        strikes.sort_by_key(|strike| strike.at);
        strikes
    }
}
