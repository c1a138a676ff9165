//! A node on a bench: the real driver and pool, ports made of lists, virtual time, and a watch that sees
//! every call.

mod cloud;
mod command;
mod watch;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use vpc_ipam_core::{
    checkpoint,
    cloud::AddressCount,
    config::{AllocationMode, PoolConfig},
    driver::{Driver, Job},
    id::{OpId, PodRef, SandboxKey},
    pool::{Action, Assign, Event, Pool},
    store::Store,
    testkit::{FakeDatapath, MemoryStore},
    time::Time,
};

use self::cloud::Cloud;
pub(crate) use self::{
    command::{Command, Kind, commands, nodes},
    watch::{Input, Outcome, Seen, Watch},
};

/// Calls within one command: more means that the pool spins.
const CALLS_MAX: usize = 5_000;

/// A call that the pool has asked for.
enum Call {
    Asked(Action, Job),
    Done(Kind, Event),
}

impl Call {
    fn kind(&self) -> Kind {
        match self {
            Self::Done(kind, _) => *kind,
            Self::Asked(Action::Persist { .. }, _) => Kind::Store,
            Self::Asked(Action::SetUpEni { .. } | Action::TearDownEni { .. }, _) => Kind::Host,
            Self::Asked(Action::Describe { .. }, _) => Kind::Read,
            Self::Asked(..) => Kind::Cloud,
        }
    }
}

pub(crate) struct Bench<W> {
    pub(crate) driver: Driver,
    pub(crate) watch: W,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) store: Arc<MemoryStore>,
    host: Arc<FakeDatapath>,
    pub(crate) now: Time,
    calls: VecDeque<Call>,
    held: Vec<Kind>,
    last_answer: Option<Event>,
    /// The next write fails; its content is there or not.
    write_fails: Option<bool>,
    /// The last ADD of each sandbox.
    adds: BTreeMap<SandboxKey, OpId>,
}

/// Plays a history to its end, lets the node come to rest, and returns the watch.
pub(crate) fn play<W: Watch>(
    config: &PoolConfig,
    subnet: u32,
    commands: &[Command],
    watch: W,
) -> Result<W, String> {
    let mut bench = Bench::new(config, subnet, watch)?;
    for command in commands {
        bench.obey(command).map_err(|e| format!("{command:?}: {e}"))?;
    }
    bench.come_to_rest()?;
    Ok(bench.watch)
}

impl<W: Watch> Bench<W> {
    pub(crate) fn new(config: &PoolConfig, subnet: u32, watch: W) -> Result<Self, String> {
        let cloud = Arc::new(Cloud::new(config.max_enis, config.slots, subnet));
        let (host, store) = (Arc::new(FakeDatapath::new()), Arc::new(MemoryStore::new()));
        let now = Time::from_millis(1_000_000);
        let pool = Pool::new(config.clone(), now);
        let mut bench = Self {
            driver: Driver::new(pool, cloud.clone(), host.clone(), store.clone()),
            watch,
            cloud,
            host,
            store,
            now,
            calls: VecDeque::new(),
            held: Vec::new(),
            last_answer: None,
            write_fails: None,
            adds: BTreeMap::new(),
        };
        bench.after(&Input::Start(&checkpoint::Checkpoint::default()))?;
        bench.flow()?;
        Ok(bench)
    }

    pub(crate) fn obey(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Add(n) => self.add(*n)?,
            Command::Del(n) => self.del(*n)?,
            Command::AddAll(n) => (0..*n).try_for_each(|n| self.add(n))?,
            Command::DelAll(n) => (0..*n).try_for_each(|n| self.del(n))?,
            Command::Abandon(n) => self.abandon(*n)?,
            Command::Pass(ms) => self.pass(Duration::from_millis(*ms))?,
            Command::Hold(kind) => self.held.push(*kind),
            Command::Flow => self.held.clear(),
            Command::Execute(n) => {
                if let Some(n) = n.checked_rem(self.calls.len()) {
                    self.execute(n);
                }
            }
            Command::Answer(n) => {
                if let Some(n) = n.checked_rem(self.calls.len()) {
                    self.answer(n)?;
                }
            }
            Command::Repeat => {
                if let Some(event) = self.last_answer.clone() {
                    self.driver.handle(event.clone(), self.now);
                    self.after(&Input::Repeated(&event))?;
                }
            }
            Command::FailWrite(keeps) => self.write_fails = Some(*keeps),
            Command::FailHost(times) => self.host.fail_enis(*times),
            Command::FailCloud(times) => self.cloud.subnet().failures = *times,
            Command::Grows(script) => self.cloud.subnet().growths.push_back(*script),
            Command::Foreign(n, count, own) => self.add_foreign(*n, *count, *own),
            Command::LoseCidr(n) => self.cloud.subnet().lose_cidr(*n),
            Command::LoseEni(n) => self.cloud.subnet().lose_eni(*n),
            Command::Reconfigure(mode, targets, max_pods) => {
                let mut config = self.driver.pool().config().clone();
                (config.mode, config.targets, config.max_pods) = (*mode, *targets, *max_pods);
                self.tell(Event::Reconfigured(Box::new(config)))?;
            }
            Command::Drain => self.tell(Event::Draining)?,
            Command::Crash(effects) => self.crash(*effects)?,
        }
        self.flow()?;
        self.watch.obeyed(&seen(&self.driver, &self.store, self.now))
    }

    /// Nothing fails or hesitates any more, and there is time for everything.
    pub(crate) fn come_to_rest(&mut self) -> Outcome {
        self.held.clear();
        self.write_fails = None;
        self.host.fail_enis(0);
        self.cloud.subnet().failures = 0;
        self.cloud.subnet().growths.clear();
        let patience = self.driver.pool().config().add_wait + Duration::from_secs(61);
        self.pass(patience)?;
        self.watch.obeyed(&seen(&self.driver, &self.store, self.now))?;
        self.watch.rested(&seen(&self.driver, &self.store, self.now))
    }

    pub(crate) fn add(&mut self, n: u32) -> Outcome {
        let key = key(n);
        let answer = self.driver.pool_mut().assign(key.clone(), pod_of(&key), self.now);
        if let Ok(Assign::Pending(op)) = answer {
            self.adds.insert(key.clone(), op);
        }
        self.after(&Input::Add(&key, &answer))
    }

    pub(crate) fn del(&mut self, n: u32) -> Outcome {
        let key = key(n);
        let answer = self.driver.pool_mut().release(&key, self.now);
        self.after(&Input::Del(&key, &answer))
    }

    fn abandon(&mut self, n: u32) -> Outcome {
        let key = key(n);
        let Some(add) = self.adds.get(&key).copied() else { return Ok(()) };
        let answer = self.driver.pool_mut().abandon(&key, add, self.now);
        self.after(&Input::Abandon(&key, add, &answer))
    }

    pub(crate) fn tell(&mut self, event: Event) -> Outcome {
        self.driver.handle(event.clone(), self.now);
        self.after(&Input::Event(&event))
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Outcome {
        let end = self.now + time;
        self.flow()?;
        for _ in 0..CALLS_MAX {
            let Some(at) = self.driver.poll_timeout().filter(|at| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(at);
            self.tell(Event::Timeout)?;
            self.flow()?;
        }
        Err(format!("more than {CALLS_MAX} timeouts until {end}"))
    }

    /// Calls that are not held back happen, oldest first, and what is due now.
    pub(crate) fn flow(&mut self) -> Outcome {
        for _ in 0..CALLS_MAX {
            let taken = |call: &Call| matches!(call, Call::Asked(Action::Describe { .. }, _));
            if let Some(n) = self.calls.iter().position(taken) {
                self.execute(n);
            }
            let free = |call: &Call| !self.held.contains(&call.kind());
            if let Some(n) = self.calls.iter().position(free) {
                self.answer(n)?;
            } else if self.driver.poll_timeout().is_some_and(|at| at <= self.now) {
                self.tell(Event::Timeout)?;
            } else {
                return Ok(());
            }
        }
        Err(format!("more than {CALLS_MAX} calls at {}", self.now))
    }

    fn answer(&mut self, n: usize) -> Outcome {
        self.execute(n);
        let Some(Call::Done(_, event)) = self.calls.remove(n) else { return Ok(()) };
        self.last_answer = Some(event.clone());
        self.tell(event)
    }

    fn execute(&mut self, n: usize) {
        let Some(call) = self.calls.remove(n) else { return };
        let kind = call.kind();
        let call = match call {
            Call::Asked(_, Job::Blocking(call)) => {
                let fails = self.write_fails.take_if(|_| kind == Kind::Store);
                if let Some(keeps) = fails {
                    self.store.fail_saves(1, keeps);
                }
                let event = call();
                self.watch.took_effect(&event, fails != Some(false));
                Call::Done(kind, event)
            }
            Call::Asked(_, Job::Cloud(mut call)) => {
                let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(event) = polled else { panic!("this cloud answers at once") };
                self.watch.took_effect(&event, false);
                Call::Done(kind, event)
            }
            done => done,
        };
        self.calls.insert(n, call);
    }

    fn add_foreign(&self, n: usize, count: u32, own: bool) {
        let prefixes = (self.driver.pool().config().mode == AllocationMode::Prefix) == own;
        let count = match prefixes {
            true => AddressCount::Prefixes(count),
            false => AddressCount::Secondary(count),
        };
        self.cloud.subnet().add_foreign(n, count);
    }

    /// The daemon dies. Of the calls that it has asked for some take effect.
    fn crash(&mut self, effects: u8) -> Outcome {
        for n in 0..self.calls.len() {
            if effects >> (n % 8) & 1 == 1 {
                self.execute(n);
            }
        }
        self.calls.clear();
        self.adds.clear();
        self.last_answer = None;
        self.watch.obeyed(&seen(&self.driver, &self.store, self.now))?;
        let stored = self.store.load().map_err(|e| e.to_string())?;
        let stored = stored.map_or(Ok(checkpoint::Checkpoint::default()), |content| {
            checkpoint::decode(&content).map_err(|e| e.to_string())
        })?;
        let pool = Pool::restore(self.driver.pool().config().clone(), &stored, self.now);
        self.driver = Driver::new(pool, self.cloud.clone(), self.host.clone(), self.store.clone());
        self.after(&Input::Start(&stored))
    }

    /// Takes what the pool has to say after a call.
    fn after(&mut self, input: &Input<'_>) -> Outcome {
        let (store, now) = (Arc::clone(&self.store), self.now);
        self.watch.called(input, &seen(&self.driver, &store, now))?;
        while let Some(reply) = self.driver.pool_mut().poll_reply() {
            self.watch.answered(&reply, &seen(&self.driver, &store, now))?;
        }
        self.watch.all_answered()?;
        while let Some((action, job)) = self.driver.next_job(now) {
            self.watch.asked(&action, &seen(&self.driver, &store, now))?;
            self.calls.push_back(Call::Asked(action, job));
        }
        self.watch.settled(&seen(&self.driver, &store, now))
    }
}

fn seen<'a>(driver: &'a Driver, store: &'a MemoryStore, now: Time) -> Seen<'a> {
    Seen { pool: driver.pool(), store, now }
}

/// The sandbox of that number.
pub(crate) fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("s{n}"), "eth0").unwrap()
}

/// The pod that a sandbox belongs to.
pub(crate) fn pod_of(key: &SandboxKey) -> PodRef {
    PodRef { namespace: "test".to_owned(), name: key.container_id().to_owned() }
}
