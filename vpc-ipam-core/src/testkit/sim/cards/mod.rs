//! A node with several network cards in virtual time: the real driver and node on the fakes, one state
//! file per card.
//!
//! ```
//! use std::time::Duration;
//! use vpc_ipam_core::testkit::sim::{CardsConfig, CardsSim};
//!
//! let mut sim = CardsSim::new(&CardsConfig::new(&[0, 2, 3], 7)?)?;
//! sim.add(0)?;
//! sim.add_every(1)?;
//! sim.run_for(Duration::from_secs(60))?;
//! assert_eq!(sim.cards_of(1), [0, 2, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checks;
mod config;
mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

pub use self::config::CardsConfig;
use self::pods::{Pod, Request};
use super::{
    STEPS_MAX,
    agenda::{Agenda, Item},
    changes_cloud,
    config::{Latency, SimError},
    run,
};
use crate::{
    backoff::Jitter,
    checkpoint::{self, Checkpoint},
    driver::Driver,
    hint,
    id::{InstanceId, OpId, SandboxKey},
    node::Node,
    plan::earlier,
    pool::{Action, Event},
    store::Store,
    testkit::{FakeDatapath, MemoryStore, ModelCloud, check::Violation, ec2::World, lock},
    time::Time,
};

/// One node of several cards and the world around it.
#[derive(Debug)]
pub struct CardsSim {
    config: CardsConfig,
    driver: Driver,
    world: Arc<Mutex<World>>,
    cloud: Arc<ModelCloud>,
    datapath: Arc<FakeDatapath>,
    stores: BTreeMap<u32, Arc<MemoryStore>>,
    instance: InstanceId,
    now: Time,
    random: Jitter,
    agenda: Agenda,
    restarts: u64,
    changes: u64,
    actions: Vec<(Time, Action)>,
    requests: BTreeMap<OpId, Request>,
    running: BTreeMap<SandboxKey, Pod>,
    /// Whether a sandbox is one of a pod on every card.
    kinds: BTreeMap<SandboxKey, bool>,
    /// When each address was last given up by a running pod of this daemon's life, and by which.
    released: BTreeMap<IpAddr, (Time, SandboxKey)>,
    refused: Vec<(SandboxKey, String)>,
    /// Sandboxes whose ADD or DEL met a state file that could not be written: something of them may be
    /// left until their next DEL.
    torn: BTreeSet<SandboxKey>,
}

impl CardsSim {
    /// A fresh node at time zero. The cards that it does not manage carry an EFA-only ENI.
    ///
    /// # Errors
    ///
    /// If the world cannot be built, or an invariant is broken at the very start.
    pub fn new(config: &CardsConfig) -> Result<Self, SimError> {
        let (world, instance) = config.world()?;
        let world = Arc::new(Mutex::new(world));
        let cloud = Arc::new(ModelCloud::new(Arc::clone(&world), instance.clone()));
        cloud.set_family(config.family());
        let datapath = Arc::new(FakeDatapath::new());
        let cards = config.cards.iter().map(|pool| pool.card);
        let stores: BTreeMap<_, _> =
            cards.map(|card| (card, Arc::new(MemoryStore::new()))).collect();
        let now = Time::ZERO;
        let node = Node::new(config.cards.clone(), now).map_err(|e| Violation(e.to_string()))?;
        let driver = drive(node, &cloud, &datapath, &stores);
        let mut sim = Self {
            random: Jitter::new(config.seed),
            config: config.clone(),
            driver,
            world,
            cloud,
            datapath,
            stores,
            instance,
            now,
            agenda: Agenda::default(),
            restarts: 0,
            changes: 0,
            actions: Vec::new(),
            requests: BTreeMap::new(),
            running: BTreeMap::new(),
            kinds: BTreeMap::new(),
            released: BTreeMap::new(),
            refused: Vec::new(),
            torn: BTreeSet::new(),
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
        let end = self.now + time;
        for _ in 0..STEPS_MAX {
            let timeout = self.driver.poll_timeout().map(|at| at.max(self.now));
            let Some(at) = earlier(self.agenda.next_at(), timeout).filter(|at| *at <= end) else {
                self.set_now(end);
                return Ok(());
            };
            self.set_now(at);
            self.step()?;
        }
        Err(Violation(format!("more than {STEPS_MAX} steps before {end}")))
    }

    /// Lets time pass until the pools have changed nothing in the cloud for ten minutes; then checks that
    /// nothing has leaked.
    ///
    /// # Errors
    ///
    /// If that takes more than `limit`, or the first violation.
    pub fn quiesce(&mut self, limit: Duration) -> Result<(), Violation> {
        const QUIET: Duration = Duration::from_secs(600);
        let end = self.now + limit;
        while self.now < end {
            let before = self.changes;
            self.run_for(QUIET)?;
            if self.changes == before {
                return self.check_rest();
            }
        }
        Err(Violation(format!("the pools still change the cloud after {limit:?}")))
    }

    fn set_now(&mut self, now: Time) {
        self.now = now;
        self.cloud.set_now(now);
    }

    fn step(&mut self) -> Result<(), Violation> {
        match self.agenda.pop(self.now) {
            Some(Item::Start { job, finish, .. }) => {
                let event = run(job)?;
                self.agenda.push(finish, Item::Deliver(event));
                return self.check();
            }
            Some(Item::Orphan(job)) => {
                run(job)?;
                return self.check();
            }
            Some(Item::Deliver(event)) => {
                self.changes += u64::from(changes_cloud(&event));
                self.driver.handle(event, self.now);
            }
            None => return self.time_out(),
        }
        self.drain()
    }

    fn time_out(&mut self) -> Result<(), Violation> {
        self.driver.handle(Event::Timeout, self.now);
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
        self.deliver_replies()?;
        while let Some((action, job)) = self.driver.next_job(self.now) {
            let (least, most) = Latency::default().of(&action);
            let finish = self.now + least + self.random.up_to(most - least);
            let start = self.now + self.random.up_to(finish.since(self.now));
            self.agenda.push(start, Item::Start { what: action.name(), job, finish });
            self.actions.push((self.now, action));
        }
        self.check()
    }

    /// Kills the daemon and starts another one from what is stored. Calls under way may or may not take
    /// effect; nobody hears of it. The runtime then deletes the pods whose ADD was not answered and
    /// repeats its DELs.
    ///
    /// # Errors
    ///
    /// The first violation, an unreadable state file included.
    pub fn crash(&mut self) -> Result<(), Violation> {
        for (_, item) in self.agenda.take() {
            if let Item::Start { job, .. } = item
                && self.random.up_to(Duration::from_millis(1)).is_zero()
            {
                run(job)?;
            }
        }
        self.restarts += 1;
        let node = self.restored()?;
        self.driver = drive(node, &self.cloud, &self.datapath, &self.stores);
        // The cooldown is not stored.
        self.released.clear();
        self.drain()?;
        for request in std::mem::take(&mut self.requests).into_values() {
            self.request_release(&request.key)?;
        }
        Ok(())
    }

    fn restored(&self) -> Result<Node, Violation> {
        let broken = |error: &dyn ToString| Violation(error.to_string());
        let mut cards = Vec::new();
        for config in &self.config.cards {
            let mut config = config.clone();
            config.seed = config.seed.wrapping_add(self.restarts);
            let content = self.stores.get(&config.card).and_then(|store| store.content());
            let file = match content {
                Some(content) => checkpoint::decode(&content).map_err(|e| broken(&e))?,
                None => Checkpoint::default(),
            };
            cards.push((config, file));
        }
        let mut node = Node::restore(cards, self.now).map_err(|e| broken(&e))?;
        if let Some(content) = self.stores.values().next().and_then(|store| store.hint()) {
            let hint = hint::decode(&content).map_err(|e| broken(&e))?;
            node.recall(&hint.enis, self.now);
        }
        Ok(node)
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The node.
    pub fn node(&self) -> &Node {
        self.driver.node()
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

    /// The instance.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The state file of a card; `None` for a card that is not managed.
    pub fn store(&self, card: u32) -> Option<&MemoryStore> {
        self.stores.get(&card).map(AsRef::as_ref)
    }

    /// All actions so far, with the time at which each was issued.
    pub fn actions(&self) -> &[(Time, Action)] {
        &self.actions
    }
}

fn drive(
    node: Node,
    cloud: &Arc<ModelCloud>,
    datapath: &Arc<FakeDatapath>,
    stores: &BTreeMap<u32, Arc<MemoryStore>>,
) -> Driver {
    let (cloud, datapath) = (Arc::clone(cloud), Arc::clone(datapath));
    // The node has no other cards than these.
    let none = || Arc::new(MemoryStore::new());
    Driver::for_node(node, cloud, datapath, |card| -> Arc<dyn Store> {
        stores.get(&card).cloned().unwrap_or_else(none)
    })
}
