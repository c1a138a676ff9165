//! The real driver and pool beside the model: the same happens to both, and they are compared.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use vpc_ipam_core::{
    checkpoint,
    cloud::AddressCount,
    config::{AllocationMode, PoolConfig},
    driver::{Driver, Job},
    id::{OpId, SandboxKey},
    pool::{Action, Assign, AssignError, Event, Pool, Release, Reply},
    store::Store,
    testkit::{FakeDatapath, MemoryStore},
    time::Time,
};

use crate::{
    command::{Command, Kind},
    compare,
    model::{Answer, AtOnce, Model, pod_of, records_of},
    ports::Cloud,
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
            Self::Asked(..) => Kind::Cloud,
        }
    }
}

/// A violation, and everything that led to it is in the commands.
pub(crate) type Outcome = Result<(), String>;

pub(crate) struct Node {
    pub(crate) driver: Driver,
    pub(crate) model: Model,
    cloud: Arc<Cloud>,
    host: Arc<FakeDatapath>,
    store: Arc<MemoryStore>,
    pub(crate) now: Time,
    calls: VecDeque<Call>,
    held: Vec<Kind>,
    last_answer: Option<Event>,
    /// The next write fails; its content is there or not.
    write_fails: Option<bool>,
    /// Numbers that requests got, and that of the last ADD of each sandbox.
    asked: BTreeSet<OpId>,
    adds: BTreeMap<SandboxKey, OpId>,
    /// How the requests were answered, and the actions, for a comparison of two runs.
    pub(crate) log: Vec<String>,
}

impl Node {
    pub(crate) fn new(config: &PoolConfig, subnet: u32) -> Result<Self, String> {
        let cloud = Arc::new(Cloud::new(config.max_enis, config.slots, subnet));
        let (host, store) = (Arc::new(FakeDatapath::new()), Arc::new(MemoryStore::new()));
        let now = Time::from_millis(1_000_000);
        let pool = Pool::new(config.clone(), now);
        let mut node = Self {
            driver: Driver::new(pool, cloud.clone(), host.clone(), store.clone()),
            model: Model::new(config.clone(), Vec::new()),
            cloud,
            host,
            store,
            now,
            calls: VecDeque::new(),
            held: Vec::new(),
            last_answer: None,
            write_fails: None,
            asked: BTreeSet::new(),
            adds: BTreeMap::new(),
            log: Vec::new(),
        };
        node.after_call()?;
        node.flow()?;
        Ok(node)
    }

    pub(crate) fn obey(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Add(n) => self.add(&key(*n))?,
            Command::Del(n) => self.del(&key(*n))?,
            Command::Abandon(n) => self.abandon(&key(*n))?,
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
                    self.model.unexpected += 1;
                    self.model.happened(&Event::Timeout, self.now);
                    self.driver.handle(event, self.now);
                    self.after_call()?;
                }
            }
            Command::FailWrite(keeps) => self.write_fails = Some(*keeps),
            Command::FailHost(times) => self.host.fail_enis(*times),
            Command::FailCloud(times) => self.cloud.subnet().failures = *times,
            Command::Grows(script) => self.cloud.subnet().growths.push_back(*script),
            Command::Foreign(n, count, own) => {
                let prefixes = (self.model.config.mode == AllocationMode::Prefix) == *own;
                let count = if prefixes {
                    AddressCount::Prefixes(*count)
                } else {
                    AddressCount::Secondary(*count)
                };
                self.cloud.subnet().add_foreign(*n, count);
            }
            Command::LoseCidr(n) => self.cloud.subnet().lose_cidr(*n),
            Command::LoseEni(n) => self.cloud.subnet().lose_eni(*n),
            Command::Reconfigure(mode, targets, max_pods) => {
                let mut config = self.model.config.clone();
                (config.mode, config.targets, config.max_pods) = (*mode, *targets, *max_pods);
                self.tell(Event::Reconfigured(Box::new(config)))?;
            }
            Command::Drain => self.tell(Event::Draining)?,
            Command::Crash(effects) => self.crash(*effects)?,
        }
        self.flow()?;
        self.compare_file()
    }

    /// Nothing fails or hesitates any more: every request must be answered.
    pub(crate) fn come_to_rest(&mut self) -> Outcome {
        self.held.clear();
        self.write_fails = None;
        self.host.fail_enis(0);
        self.cloud.subnet().failures = 0;
        self.cloud.subnet().growths.clear();
        self.flow()?;
        self.pass(self.model.config.add_wait + Duration::from_secs(61))?;
        self.compare_file()?;
        let open = self.model.unanswered();
        if open > 0 {
            return Err(format!("{open} requests are not answered: {:?}", self.model));
        }
        Ok(())
    }

    fn add(&mut self, key: &SandboxKey) -> Outcome {
        let real = self.driver.pool_mut().assign(key.clone(), pod_of(key), self.now);
        let (op, real) = match real.map_err(|e| format!("{key} is refused: {e}"))? {
            Assign::Ready(a) => (None, AtOnce::Ready(a.ip, a.eni)),
            Assign::Pending(op) if self.asked.insert(op) => (Some(op), AtOnce::Pending),
            Assign::Pending(op) => (None, AtOnce::Same(op)),
        };
        if let Some(op) = op {
            self.adds.insert(key.clone(), op);
        }
        let model = self.model.add(key, op, self.now);
        if model != real {
            return Err(format!("the ADD of {key} returned {real:?}, not {model:?}"));
        }
        self.after_call()
    }

    fn del(&mut self, key: &SandboxKey) -> Outcome {
        let real = self.driver.pool_mut().release(key, self.now);
        let (op, real) = self.released(&real.map_err(|e| format!("{key} is kept: {e}"))?);
        let model = self.model.del(key, op, self.now);
        if model != real {
            return Err(format!("the DEL of {key} returned {real:?}, not {model:?}"));
        }
        self.after_call()
    }

    fn abandon(&mut self, key: &SandboxKey) -> Outcome {
        let Some(add) = self.adds.get(key).copied() else { return Ok(()) };
        let real = self.driver.pool_mut().abandon(key, add, self.now);
        let (op, real) = self.released(&real);
        let model = self.model.abandon(key, add, op, self.now);
        if model != real {
            return Err(format!("giving up {add} of {key} returned {real:?}, not {model:?}"));
        }
        self.after_call()
    }

    fn released(&mut self, real: &Release) -> (Option<OpId>, AtOnce) {
        match real {
            Release::Absent => (None, AtOnce::Absent),
            Release::Pending(op) if self.asked.insert(*op) => (Some(*op), AtOnce::Pending),
            Release::Pending(op) => (None, AtOnce::Same(*op)),
        }
    }

    fn tell(&mut self, event: Event) -> Outcome {
        self.model.happened(&event, self.now);
        self.driver.handle(event, self.now);
        self.after_call()
    }

    fn pass(&mut self, time: Duration) -> Outcome {
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

    /// Calls that are not held back happen, oldest first.
    fn flow(&mut self) -> Outcome {
        for _ in 0..CALLS_MAX {
            let free = |call: &Call| !self.held.contains(&call.kind());
            let Some(n) = self.calls.iter().position(free) else { return Ok(()) };
            self.answer(n)?;
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
                if let Some(write) = self.model.write.as_ref()
                    && kind == Kind::Store
                    && fails != Some(false)
                {
                    self.model.file.clone_from(&write.content);
                }
                Call::Done(kind, event)
            }
            Call::Asked(_, Job::Cloud(mut call)) => {
                let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(event) = polled else { panic!("this cloud answers at once") };
                Call::Done(kind, event)
            }
            done => done,
        };
        self.calls.insert(n, call);
    }

    /// The daemon dies. Of the calls that it has asked for some take effect.
    fn crash(&mut self, effects: u8) -> Outcome {
        for n in 0..self.calls.len() {
            if effects >> (n % 8) & 1 == 1 {
                self.execute(n);
            }
        }
        self.calls.clear();
        self.compare_file()?;
        let stored = self.store.load().map_err(|e| e.to_string())?;
        let stored = stored.map_or(Ok(checkpoint::Checkpoint::default()), |content| {
            checkpoint::decode(&content).map_err(|e| e.to_string())
        })?;
        let config = self.model.config.clone();
        let pool = Pool::restore(config.clone(), &stored, self.now);
        self.driver = Driver::new(pool, self.cloud.clone(), self.host.clone(), self.store.clone());
        self.model = Model::new(config, std::mem::take(&mut self.model.file));
        self.asked.clear();
        self.adds.clear();
        self.last_answer = None;
        self.after_call()
    }

    /// Takes what the pool has to say, and compares.
    fn after_call(&mut self) -> Outcome {
        compare::what_is_held(self)?;
        let mut due: BTreeMap<OpId, Answer> =
            std::mem::take(&mut self.model.answers).into_iter().collect();
        while let Some(reply) = self.driver.pool_mut().poll_reply() {
            self.compare_answer(&reply, due.remove(&reply.op))?;
        }
        if !due.is_empty() {
            return Err(format!("not answered: {due:?}"));
        }
        while let Some((action, job)) = self.driver.next_job(self.now) {
            self.model.asked(&action)?;
            self.log.push(format!("{} {action:?}", self.now));
            self.calls.push_back(Call::Asked(action, job));
        }
        compare::everything(self)
    }

    fn compare_answer(&mut self, reply: &Reply, due: Option<Answer>) -> Outcome {
        self.log.push(format!("{} {reply:?}", self.now));
        let real = match &reply.result {
            Ok(assignment) => Answer::Address(assignment.ip, assignment.eni.clone()),
            Err(AssignError::NoAddress(_)) => Answer::NoAddress,
            Err(AssignError::NotDurable(_)) => Answer::NotDurable,
            Err(AssignError::Released) => Answer::Released,
            Err(other) => return Err(format!("{} is answered with {other}", reply.op)),
        };
        match due {
            Some(due) if due == real => Ok(()),
            None if real == Answer::NoAddress => self.model.refused_early(reply.op),
            due => Err(format!("{} is answered with {real:?}, not {due:?}", reply.op)),
        }
    }

    fn compare_file(&self) -> Outcome {
        let stored = self.store.content().map(|content| {
            checkpoint::decode(&content).map(|file| records_of(&file)).map_err(|e| e.to_string())
        });
        let stored = stored.transpose()?.unwrap_or_default();
        if stored != self.model.file {
            return Err(format!("the file says {stored:?}, not {:?}", self.model.file));
        }
        Ok(())
    }
}

fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("s{n}"), "eth0").unwrap()
}
