//! The one task that owns the pool: events in, jobs out.
//!
//! Requests, results of jobs and the passing of time reach it one after the other, so the pool needs
//! no lock. After each of them all that the pool has to say is drained.

mod waiters;
mod work;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use vpc_ipam_core::{
    cloud::InstanceFacts,
    config::ConfigError,
    driver::{Driver, Job},
    id::{OpId, SandboxKey},
    pool::{Action, Assign, Event, Release},
};

use self::{waiters::Waiters, work::Outcome};
use crate::{
    clock::Clock,
    cloud::ReportCloud,
    handle::{Identity, Request},
    node::{self, NodeEvent},
    settings::Settings,
    snapshot::{Degraded, Snapshot},
    telemetry::{Counter, Counters},
};

/// Shortest sleep before the pool is told that time has passed: an overdue deadline must not turn
/// the loop into a busy one.
const TICK_MIN: Duration = Duration::from_millis(1);

/// Reason of a node whose ENIs cannot be listed.
const DESCRIBE: &str = "describe";
/// Reason of a node that EC2 does not answer.
const EC2: &str = "ec2";

/// Why the engine cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The settings do not fit the instance.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A job ended without an answer, so its operation would be under way for ever. A restart
    /// starts from what EC2 and the state file say.
    #[error("an operation died, restart to recover: {0}")]
    Died(JoinError),
}

/// What the engine is made of.
pub(crate) struct Parts {
    pub driver: Driver,
    pub clock: Clock,
    pub settings: Arc<Settings>,
    pub counters: Arc<Counters>,
    pub requests: mpsc::Receiver<Request>,
    pub node: mpsc::Receiver<NodeEvent>,
    pub identity: watch::Sender<Identity>,
    pub ready: watch::Sender<bool>,
    pub stop: watch::Receiver<bool>,
    pub report: Arc<ReportCloud>,
    /// What was wrong before the engine started.
    pub degraded: Vec<Degraded>,
}

pub(crate) struct Engine {
    parts: Parts,
    facts: Option<Arc<InstanceFacts>>,
    /// Jobs that wait until the node is set up: no ENI may be touched before.
    held: Vec<(&'static str, Job)>,
    jobs: JoinSet<Event>,
    running: HashMap<Id, &'static str>,
    waiters: Waiters,
    degraded: BTreeMap<&'static str, String>,
    startup: Option<Duration>,
    node_init: Option<Duration>,
    draining: bool,
}

impl Engine {
    pub(crate) fn new(mut parts: Parts) -> Self {
        let degraded = parts.degraded.drain(..).map(|d| (d.reason, d.message)).collect();
        Self {
            parts,
            facts: None,
            held: Vec::new(),
            jobs: JoinSet::new(),
            running: HashMap::new(),
            waiters: Waiters::default(),
            degraded,
            startup: None,
            node_init: None,
            draining: false,
        }
    }

    /// Runs until told to stop and everything that was under way has ended. The caller bounds that
    /// by dropping the future.
    pub(crate) async fn run(mut self) -> Result<(), EngineError> {
        self.drain();
        while !(self.draining && self.idle()) {
            let deadline = self.deadline();
            tokio::select! {
                Some(done) = self.jobs.join_next_with_id() => {
                    let (id, event) = done.map_err(EngineError::Died)?;
                    self.running.remove(&id);
                    self.on_event(event);
                }
                Some(request) = self.parts.requests.recv() => self.on_request(request),
                Some(event) = self.parts.node.recv() => self.on_node(event)?,
                () = stopped(&mut self.parts.stop), if !self.draining => {
                    tracing::info!("stopping: growing and freeing nothing any more");
                    self.draining = true;
                    self.handle(Event::Draining);
                }
                () = wait(deadline) => self.handle(Event::Timeout),
            }
            self.drain();
        }
        Ok(())
    }

    fn idle(&self) -> bool {
        self.jobs.is_empty() && self.waiters.is_empty() && self.parts.requests.is_empty()
    }

    fn deadline(&self) -> Option<Instant> {
        let until = self.parts.clock.until(self.parts.driver.poll_timeout()?);
        Some(Instant::now() + until.max(TICK_MIN))
    }

    fn handle(&mut self, event: Event) {
        let now = self.parts.clock.now();
        self.parts.driver.handle(event, now);
    }

    fn on_event(&mut self, event: Event) {
        if let Some(Outcome { what, error_fn, error: Some(error) }) = Outcome::of(&event) {
            self.parts.counters.add(Counter::Errors, error_fn);
            tracing::warn!(what, error, "failed");
        }
        // What else fails is for the pool to judge: it knows whether it will be tried again.
        if let Event::Described { result, .. } = &event {
            match result {
                Ok(_) => self.recover(DESCRIBE),
                Err(error) => self.degrade(DESCRIBE, error.to_string()),
            }
            // A view that metadata alone vouches for is no error, but no good state either.
            match (self.parts.report)().trouble {
                Some(message) => self.degrade(EC2, message),
                None => self.recover(EC2),
            }
        }
        self.handle(event);
    }

    fn on_node(&mut self, event: NodeEvent) -> Result<(), EngineError> {
        match event {
            NodeEvent::Failed { reason, message } => {
                if reason == node::NODE_SET_UP {
                    // Only a known instance gets as far as that.
                    self.recover(node::INSTANCE);
                }
                if self.facts.is_none() {
                    self.parts.identity.send_replace(Identity::Unknown(message.clone()));
                }
                self.degrade(reason, message);
            }
            NodeEvent::SetUp { facts, remembered } => {
                if !remembered {
                    self.recover(node::INSTANCE);
                }
                self.recover(node::NODE_SET_UP);
                self.identified(facts)?;
            }
            NodeEvent::Works { reason } => self.recover(reason),
        }
        Ok(())
    }

    fn identified(&mut self, facts: Arc<InstanceFacts>) -> Result<(), EngineError> {
        let known = self.facts.as_ref();
        // What is remembered may be of another instance: a disk can be copied.
        if known.is_none_or(|k| (&k.instance, &k.limits) != (&facts.instance, &facts.limits)) {
            let config = self.parts.settings.pool_config(&facts)?;
            tracing::info!(
                instance = %facts.instance,
                r#type = facts.instance_type,
                mode = ?config.mode,
                max_enis = config.max_enis,
                slots = config.slots,
                max_pods = config.max_pods,
                "node is set up"
            );
            if self.parts.settings.prefix_delegation && !facts.limits.prefixes {
                tracing::warn!(
                    r#type = facts.instance_type,
                    "ENABLE_PREFIX_DELEGATION: EC2 gives no prefixes to this instance type; using single addresses"
                );
            }
            self.node_init = self.node_init.or(Some(self.parts.clock.uptime()));
            self.handle(Event::Reconfigured(Box::new(config)));
        } else {
            tracing::info!(vpc_cidrs = ?facts.vpc_cidrs, "the VPC's blocks have changed");
        }
        self.facts = Some(Arc::clone(&facts));
        self.parts.driver.identify((*facts).clone());
        self.parts.identity.send_replace(Identity::Known(facts));
        for (purpose, job) in std::mem::take(&mut self.held) {
            self.start(purpose, job);
        }
        Ok(())
    }

    fn on_request(&mut self, request: Request) {
        let now = self.parts.clock.now();
        let pool = self.parts.driver.pool_mut();
        // A caller that has gone meanwhile is found out when its answer is ready, or repeats.
        match request {
            Request::Add { reply, .. } if reply.is_closed() => {}
            Request::Abandoned { key } => {
                if let Some(op) = self.waiters.abandoned(&key) {
                    self.undo(&key, op);
                }
            }
            Request::Add { key, pod, reply } => match pool.assign(key.clone(), pod, now) {
                Ok(Assign::Ready(assignment)) => drop(reply.send(Ok(assignment))),
                Ok(Assign::Pending(op)) => self.waiters.add(op, key, reply),
                Err(e) => drop(reply.send(Err(e))),
            },
            Request::Del { key, reply } => match pool.release(&key, now) {
                Ok(Release::Absent) => drop(reply.send(Ok(None))),
                Ok(Release::Pending(op)) => self.waiters.del(op, reply),
                Err(e) => drop(reply.send(Err(e))),
            },
            Request::Leases { reply } => drop(reply.send(pool.checkpoint().leases)),
            Request::Snapshot { reply } => drop(reply.send(Box::new(self.snapshot()))),
        }
    }

    /// Lets the pool say all it has to say: answers first, then jobs.
    fn drain(&mut self) {
        loop {
            let said = self.deliver();
            match self.parts.driver.next_job(self.parts.clock.now()) {
                Some((action, job)) => {
                    tracing::debug!(?action, "next");
                    let purpose = work::purpose(&action);
                    if self.facts.is_none() && !is_storage(&action) {
                        self.held.push((purpose, job));
                    } else {
                        self.start(purpose, job);
                    }
                }
                None if said => {}
                None => break,
            }
        }
        if self.startup.is_none() && self.facts.is_some() && self.parts.driver.pool().stats().ready
        {
            self.startup = Some(self.parts.clock.uptime());
            self.parts.ready.send_replace(true);
            tracing::info!("ready");
        }
    }

    fn start(&mut self, purpose: &'static str, job: Job) {
        let task = match job {
            Job::Cloud(future) => self.jobs.spawn(future),
            Job::Blocking(call) => self.jobs.spawn_blocking(call),
        };
        self.running.insert(task.id(), purpose);
    }

    /// True if there was something to deliver.
    fn deliver(&mut self) -> bool {
        let replies: Vec<_> =
            std::iter::from_fn(|| self.parts.driver.pool_mut().poll_reply()).collect();
        if replies.is_empty() {
            return false;
        }
        for (key, op) in self.waiters.deliver(replies) {
            self.undo(&key, op);
        }
        true
    }

    /// Takes back what an ADD asked for, whose caller has gone: no pod will ever use it.
    fn undo(&mut self, key: &SandboxKey, op: OpId) {
        tracing::info!(sandbox = %key, "the caller of this ADD has gone; it is undone");
        self.parts.counters.add(Counter::Undelivered, "");
        // Whether that was durable nobody waits for: the runtime sends a DEL for a failed ADD.
        let _ = self.parts.driver.pool_mut().abandon(key, op, self.parts.clock.now());
    }

    fn degrade(&mut self, reason: &'static str, message: String) {
        if self.degraded.get(reason) != Some(&message) {
            tracing::warn!(reason, "{message}");
            self.degraded.insert(reason, message);
        }
    }

    fn recover(&mut self, reason: &'static str) {
        if self.degraded.remove(reason).is_some() {
            tracing::info!(reason, "works again");
        }
    }

    fn snapshot(&self) -> Snapshot {
        let stats = self.parts.driver.pool().stats();
        let own = self
            .degraded
            .iter()
            .map(|(reason, message)| Degraded { reason, message: message.clone() });
        // The pool's sentence about a failure that is named already would say it twice.
        let named = |sentence: &&String| self.degraded.values().any(|m| sentence.contains(m));
        let pool = stats
            .degraded
            .iter()
            .filter(|sentence| !named(sentence))
            .map(|message| Degraded { reason: "pool", message: message.clone() });
        let beside = (self.parts.report)().troubles.into_iter();
        let beside = beside.map(|(reason, message)| Degraded { reason, message });
        let mut running = BTreeMap::new();
        for purpose in self.running.values() {
            *running.entry(*purpose).or_default() += 1;
        }
        if self.facts.is_none() {
            running.insert("nodeInit", 1);
        }
        Snapshot {
            degraded: own.chain(beside).chain(pool).collect(),
            stats,
            config: self.parts.driver.pool().config().clone(),
            facts: self.facts.clone(),
            ready: self.startup.is_some(),
            startup: self.startup,
            node_init: self.node_init,
            running,
        }
    }
}

fn is_storage(action: &Action) -> bool {
    matches!(action, Action::Persist { .. } | Action::Remember { .. })
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that has gone can say nothing else any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
