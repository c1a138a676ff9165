//! Playing a script.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Script,
    outcome::{Difference, Failure, Outcome},
    step::{Elsewhere, Metadata, Outside, Setting, Step},
};
use crate::{
    config::{CustomNetwork, PoolConfig},
    pool::Event,
    testkit::{
        check::Violation,
        ec2::ImdsFault,
        sim::{Sim, SimConfig},
    },
};

/// Plays steps on a [`Sim`].
#[derive(Debug)]
pub struct Player {
    sim: Sim,
    asked: BTreeSet<u32>,
    taken: usize,
}

impl Player {
    /// A fresh node.
    ///
    /// # Errors
    ///
    /// If there can be no such node.
    pub fn new(config: &SimConfig) -> Result<Self, Failure> {
        let sim = Sim::new(config).map_err(|e| Failure::at_start(&e))?;
        Ok(Self { sim, asked: BTreeSet::new(), taken: 0 })
    }

    /// Lets one thing happen.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn take(&mut self, step: &Step) -> Result<(), Failure> {
        let number = self.taken;
        self.taken += 1;
        self.apply(step).map_err(|violation| Failure::new(number, step, &self.sim, violation))
    }

    /// Ends all failures and lets the node [come to rest](Sim::come_to_rest) within `limit`.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn come_to_rest(&mut self, limit: Duration) -> Result<(), Failure> {
        let done = self.sim.come_to_rest(limit);
        done.map_err(|violation| Failure::at_rest(&self.sim, violation))
    }

    /// The node.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The node, for what a step cannot say.
    pub fn sim_mut(&mut self) -> &mut Sim {
        &mut self.sim
    }

    /// The node, when all has been played.
    pub fn into_sim(self) -> Sim {
        self.sim
    }

    fn apply(&mut self, step: &Step) -> Result<(), Violation> {
        let sim = &mut self.sim;
        match step {
            Step::Add(n) => {
                self.asked.insert(*n);
                return sim.add(*n);
            }
            Step::Burst(n) => {
                self.asked.extend(0..*n);
                return (0..*n).try_for_each(|n| sim.add(n));
            }
            Step::Crash(in_flight) => return sim.crash_with(*in_flight),
            Step::CrashIn(moments, in_flight) => {
                sim.kill_at([sim.moments().saturating_add(*moments)], *in_flight);
            }
            Step::Consistency(config) => sim.world().set_consistency(*config),
            Step::Defragment(blocks) => sim.defragment_subnet(*blocks),
            Step::FailCloud { action, error, times } => {
                sim.world().faults_mut().fail(*action, error.clone(), *times);
            }
            Step::FailHost(times) => sim.datapath().fail_enis(*times),
            Step::FailStore { times, keeps_content } => {
                sim.store().fail_saves(*times, *keeps_content);
                sim.store().fail_hints(*times);
            }
            Step::Fragment(singles) => sim.fragment_subnet(*singles),
            Step::Heal => sim.heal(),
            Step::Meet { action, fault, times } => {
                sim.world().faults_mut().meet(*action, fault.clone(), *times);
            }
            Step::Metadata(what) => break_metadata(sim, *what),
            Step::Outside(what) => interfere(sim, *what),
            Step::Pass(time) => return sim.run_for(*time),
            Step::Rates(rates) => sim.world().set_request_rates(rates),
            Step::Reach(reach) => sim.cloud().set_reach(*reach),
            Step::Release(n) => return sim.release(*n),
            Step::ReleaseAll => {
                return self.asked.iter().try_for_each(|n| sim.release(*n));
            }
            Step::Schedulable(yes) => return sim.inject(Event::Schedulable(*yes)),
            Step::Set(setting) => return configure(sim, setting),
        }
        Ok(())
    }
}

fn interfere(sim: &mut Sim, what: Outside) {
    match what {
        Outside::Assign(n) => sim.assign_from_outside(n),
        Outside::Attach { kind, theirs, slots } => sim.attach_from_outside(kind, theirs, slots),
        Outside::Detach(n) => sim.detach_from_outside(n),
        Outside::Disown(n, theirs) => sim.disown(n, theirs),
        Outside::Evict(n) => sim.evict_from_outside(n),
        Outside::Exclude(n, excluded) => sim.exclude(n, excluded),
        Outside::Unassign(n) => sim.unassign_from_outside(n),
        Outside::UnassignUsed(n) => sim.unassign_used_from_outside(n),
    }
}

fn break_metadata(sim: &mut Sim, what: Metadata) {
    match what {
        Metadata::Empty => sim.break_metadata(ImdsFault::Empty),
        Metadata::Frozen(time) => sim.break_metadata(ImdsFault::Frozen(time)),
        Metadata::Omits(n) => sim.omit_from_metadata(n),
        Metadata::Status(status) => sim.break_metadata(ImdsFault::Status(status)),
    }
}

fn configure(sim: &mut Sim, setting: &Setting) -> Result<(), Violation> {
    let mut config = sim.pool().config().clone();
    match setting {
        Setting::Cooldown(time) => config.cooldown = *time,
        Setting::CustomNetwork(place) => config.custom_network = custom_network(sim, *place),
        Setting::ManageUnschedulable(on) => config.manage_unschedulable = *on,
        Setting::ManageUntagged(on) => config.manage_untagged = *on,
        Setting::MaxPods(pods) => config.max_pods = *pods,
        Setting::Mode(mode) => config.mode = *mode,
        Setting::PodEni(on) => config.pod_eni = *on,
        Setting::Policy(policy) => config.policy = *policy,
        Setting::Provisioning(on) => config.provisioning = *on,
        Setting::Targets(targets) => config.targets = *targets,
    }
    if PoolConfig::new(config.mode, config.targets, config.max_enis, config.slots).is_err() {
        return Ok(());
    }
    sim.inject(Event::Reconfigured(Box::new(config)))
}

fn custom_network(sim: &Sim, place: Elsewhere) -> CustomNetwork {
    match (place, sim.world().subnets().last()) {
        (Elsewhere::LastSubnet, Some(subnet)) => {
            CustomNetwork::Subnet { subnet: subnet.id.clone(), groups: Vec::new() }
        }
        (Elsewhere::Missing, _) => CustomNetwork::Missing { name: "missing".to_owned() },
        _ => CustomNetwork::Off,
    }
}

/// Plays a script and hands out the node for further questions.
///
/// # Errors
///
/// The first violation, with the step.
pub fn play(script: &Script) -> Result<Sim, Failure> {
    let mut player = Player::new(&script.config)?;
    script.steps.iter().try_for_each(|step| player.take(step))?;
    Ok(player.into_sim())
}

/// Plays a script to its end or its first violation.
pub fn run(script: &Script) -> Outcome {
    let mut player = match Player::new(&script.config) {
        Ok(player) => player,
        Err(failure) => return Outcome::of_no_node(failure),
    };
    let failure = script.steps.iter().find_map(|step| player.take(step).err());
    Outcome::of(&player.into_sim(), failure)
}

/// Plays a script twice and compares the outcomes, violations included.
///
/// # Errors
///
/// The first difference.
pub fn replays_identically(script: &Script) -> Result<Outcome, Difference> {
    let once = run(script);
    let twice = run(script);
    Difference::between(&once, &twice).map_or(Ok(once), Err)
}
