//! A node in virtual time: the real driver and pool on the fakes, with latency, kubelet and crashes.
//!
//! ```
//! use std::time::Duration;
//! use vpc_ipam_core::testkit::sim::{Sim, SimConfig};
//!
//! let mut sim = Sim::new(&SimConfig::new("m5.large", 7)?)?;
//! for n in 0..20 {
//!     sim.add(n)?;
//! }
//! sim.run_for(Duration::from_secs(60))?;
//! assert_eq!(sim.running().len(), 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agenda;
mod cards;
mod config;
mod crash;
mod fleet;
mod kubelet;
mod outside;
mod pods;
mod reading;
mod rest;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use self::agenda::{Agenda, Item};
pub use self::{
    cards::{CardsConfig, CardsSim},
    config::{Detail, Latency, SimConfig, SimError},
    crash::{InFlight, Kill, Moment},
    fleet::Fleet,
    kubelet::Kubelet,
    pods::Answer,
    tally::{CloudFailures, Level, Waits},
};
use super::{
    FakeDatapath, MemoryStore, ModelCloud,
    check::{self, Violation},
    ec2::World,
    lock,
};
use crate::{
    addr::Prefix,
    backoff::Jitter,
    driver::{Driver, Job},
    id::{EniId, InstanceId, OpId, SandboxKey},
    pool::{Action, Event, Pool},
    time::Time,
};

/// Most steps of one run: a node that needs more is spinning.
const STEPS_MAX: usize = 1 << 20;

/// One node and the world around it.
#[derive(Debug)]
pub struct Sim {
    config: SimConfig,
    driver: Driver,
    world: Arc<Mutex<World>>,
    cloud: Arc<ModelCloud>,
    datapath: Arc<FakeDatapath>,
    store: Arc<MemoryStore>,
    instance: InstanceId,
    now: Time,
    random: Jitter,
    agenda: Agenda,
    restarts: u64,
    doom: crash::Doom,
    /// Successful changes in the cloud that the pool heard of.
    changes: u64,
    actions: Vec<(Time, Action)>,
    requests: BTreeMap<OpId, pods::Request>,
    running: BTreeMap<SandboxKey, IpAddr>,
    /// When each address was last given up by a running pod of this daemon's life, and by which.
    released: BTreeMap<IpAddr, (Time, SandboxKey)>,
    /// Addresses that somebody else took from the node, so that EC2 need not show them.
    taken: BTreeSet<IpAddr>,
    /// When what was given back to EC2.
    given_back: BTreeMap<Prefix, Time>,
    /// ENIs that somebody else detached.
    lost_enis: BTreeSet<EniId>,
    refused: Vec<(SandboxKey, String)>,
    answers: VecDeque<Answer>,
    failures: CloudFailures,
}

impl Sim {
    /// A fresh node in a world of its own, at time zero.
    ///
    /// # Errors
    ///
    /// If the world cannot be built.
    pub fn new(config: &SimConfig) -> Result<Self, SimError> {
        let world = config.world()?;
        let instance =
            world.instances().first().map(|i| i.id.clone()).ok_or(SimError::NoInstance)?;
        Self::join(config, Arc::new(Mutex::new(world)), instance)
    }

    /// A fresh node on an instance of `world`, at time zero. Subnet, delays and allocation of `config`
    /// are the world's own business; see [`Fleet`] for running several nodes.
    ///
    /// # Errors
    ///
    /// If an invariant is broken at the very start.
    pub fn join(
        config: &SimConfig,
        world: Arc<Mutex<World>>,
        instance: InstanceId,
    ) -> Result<Self, SimError> {
        let cloud = Arc::new(ModelCloud::new(Arc::clone(&world), instance.clone()));
        cloud.set_family(config.pool.family);
        let datapath = Arc::new(FakeDatapath::new());
        let store = Arc::new(MemoryStore::new());
        let now = Time::ZERO;
        let mut config = config.clone();
        config.pool.instance = Some(instance.clone());
        let pool = Pool::new(config.pool.clone(), now);
        let driver = Driver::new(pool, cloud.clone(), datapath.clone(), store.clone());
        let mut sim = Self {
            random: Jitter::new(config.seed),
            config,
            driver,
            world,
            cloud,
            datapath,
            store,
            instance,
            now,
            agenda: Agenda::default(),
            restarts: 0,
            doom: crash::Doom::default(),
            changes: 0,
            actions: Vec::new(),
            requests: BTreeMap::new(),
            running: BTreeMap::new(),
            released: BTreeMap::new(),
            taken: BTreeSet::new(),
            lost_enis: BTreeSet::new(),
            given_back: BTreeMap::new(),
            refused: Vec::new(),
            answers: VecDeque::new(),
            failures: CloudFailures::default(),
        };
        sim.drain()?;
        Ok(sim)
    }

    /// Lets time pass. Every step is checked.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Violation> {
        self.run(self.now + time, false)
    }

    /// Lets time pass until a request is answered, at most until `end`.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn run_to_answer(&mut self, end: Time) -> Result<(), Violation> {
        self.run(end, true)
    }

    fn run(&mut self, end: Time, to_answer: bool) -> Result<(), Violation> {
        for _ in 0..STEPS_MAX {
            if to_answer && !self.answers.is_empty() {
                return Ok(());
            }
            let Some(at) = self.next_at().filter(|at| *at <= end) else {
                self.set_now(end.max(self.now));
                return Ok(());
            };
            self.set_now(at);
            self.step()?;
        }
        Err(Violation(format!("more than {STEPS_MAX} steps before {end}")))
    }

    fn next_at(&self) -> Option<Time> {
        // A timeout that is already over is due now, not in the past.
        let timeout = self.driver.poll_timeout().map(|at| at.max(self.now));
        crate::plan::earlier(self.agenda.next_at(), timeout)
    }

    fn set_now(&mut self, now: Time) {
        self.now = now;
        self.cloud.set_now(now);
    }

    fn step(&mut self) -> Result<(), Violation> {
        match self.agenda.pop(self.now) {
            Some(Item::Start { what, job, finish }) => {
                let Some(event) = self.take_effect(what, job)? else { return Ok(()) };
                self.agenda.push(finish, Item::Deliver(event));
                // The pool has not been told anything, not even the time.
                return self.check_step();
            }
            Some(Item::Orphan(job)) => {
                run(job)?;
                return self.check_step();
            }
            Some(Item::Deliver(event)) => {
                self.changes += u64::from(changes_cloud(&event));
                self.failures.note(&event);
                self.hear(event)?;
            }
            None => self.driver.handle(Event::Timeout, self.now),
        }
        self.drain()?;
        match self.driver.poll_timeout() {
            Some(at) if at <= self.now => {
                Err(Violation(format!("a timeout at {at} is left over at {}", self.now)))
            }
            _ => Ok(()),
        }
    }

    /// Starts jobs, delivers answers, checks everything.
    fn drain(&mut self) -> Result<(), Violation> {
        if self.comes(Moment::Decided) {
            return self.kill();
        }
        self.deliver_replies()?;
        while let Some(action) = self.driver.pool_mut().poll_action(self.now) {
            self.start(action);
        }
        self.check_step()
    }

    fn start(&mut self, action: Action) {
        let detail = self.config.detail;
        self.note_given_back(&action);
        if detail.history {
            self.actions.push((self.now, action.clone()));
        }
        let latency = self.config.latency.of(&action);
        let finish = self.now + latency.0 + self.random.up_to(latency.1 - latency.0);
        // The effect may come early or late in the call.
        let start = self.now + self.random.up_to(finish.since(self.now));
        match action {
            // Half of all actions of a long run, and nothing would come of them.
            Action::Persist { op, .. } if !detail.state_file => {
                let done = Event::Persisted { op, result: Ok(()) };
                self.agenda.push(finish, Item::Deliver(done));
            }
            Action::Remember { op } if !detail.state_file => {
                let done = Event::Remembered { op, result: Ok(()) };
                self.agenda.push(finish, Item::Deliver(done));
            }
            action => {
                let what = action.name();
                let job = self.driver.job(action);
                self.agenda.push(start, Item::Start { what, job, finish });
            }
        }
    }

    fn check_step(&self) -> Result<(), Violation> {
        if self.is_checked() { self.check() } else { Ok(()) }
    }

    /// All invariants.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn check(&self) -> Result<(), Violation> {
        {
            let world = self.world();
            // EC2 may use again what others took.
            let beside = self.taken.is_empty().then_some((&*world, &self.instance));
            check::step(self.driver.pool(), self.now, beside)?;
        }
        self.check_pods()
    }

    /// Feeds an event that answers no action, such as [`Event::Draining`].
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn inject(&mut self, event: Event) -> Result<(), Violation> {
        if let Event::Reconfigured(config) = &event {
            self.config.pool = (**config).clone();
        }
        self.driver.handle(event, self.now);
        self.drain()
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        self.driver.pool()
    }

    /// The model of EC2.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The cloud port.
    pub fn cloud(&self) -> &ModelCloud {
        &self.cloud
    }

    /// The kernel.
    pub fn datapath(&self) -> &FakeDatapath {
        &self.datapath
    }

    /// The state file.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// The node.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// How long calls take from now on.
    pub fn set_latency(&mut self, latency: Latency) {
        self.config.latency = latency;
    }

    /// Cloud calls that failed so far.
    pub fn failures(&self) -> CloudFailures {
        self.failures
    }

    /// What the pool holds.
    pub fn level(&self) -> Level {
        Level::of(&self.driver.pool().view())
    }

    /// All actions so far, with the time at which each was issued.
    pub fn actions(&self) -> &[(Time, Action)] {
        &self.actions
    }
}

fn changes_cloud(event: &Event) -> bool {
    match event {
        Event::AddressesAssigned { result, .. } => result.is_ok(),
        Event::AddressesUnassigned { result, .. } | Event::EniDeleted { result, .. } => {
            result.is_ok()
        }
        Event::EniCreated { result, .. } => result.is_ok(),
        _ => false,
    }
}

/// The futures of the model are ready at once: latency is in the agenda, not in them.
fn run(job: Job) -> Result<Event, Violation> {
    match job {
        Job::Blocking(call) => Ok(call()),
        Job::Cloud(mut future) => {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match future.as_mut().poll(&mut context) {
                std::task::Poll::Ready(event) => Ok(event),
                std::task::Poll::Pending => {
                    Err(Violation("a call of the model was not ready at once".to_owned()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
