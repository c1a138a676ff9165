//! Turns the pool's actions into calls on the ports, on any executor.
//!
//! The driver owns the node and decides nothing. It hands out [`Job`]s: a cloud job is a future, a
//! blocking job a closure. The shell runs each wherever it likes and brings the resulting event
//! back. ipamd does that with tokio, the simulation with a virtual clock, so both run this code.

use std::{collections::BTreeSet, fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use crate::{
    checkpoint,
    cloud::{CloudBackend, InstanceFacts},
    datapath::Datapath,
    hint::{self, Hint},
    node::Node,
    pool::{Action, Event, Pool},
    store::{RESERVED_MAX, Store, StoreError, Takes},
    time::Time,
};

/// A future that ends in an event for [`Driver::handle`].
pub type CloudFuture = Pin<Box<dyn Future<Output = Event> + Send>>;
/// A closure that may block for milliseconds and ends in an event for [`Driver::handle`].
pub type BlockingCall = Box<dyn FnOnce() -> Event + Send>;

/// Something to run outside the pool.
pub enum Job {
    /// File or kernel operations: run on a thread that may block.
    Blocking(BlockingCall),
    /// Cloud calls: await, for seconds perhaps.
    Cloud(CloudFuture),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking(_) => "Job::Blocking",
            Self::Cloud(_) => "Job::Cloud",
        })
    }
}

/// The node and the ports it is driven through.
pub struct Driver {
    node: Node,
    cloud: Arc<dyn CloudBackend>,
    datapath: Arc<dyn Datapath>,
    files: Vec<StateFile>,
    facts: Option<InstanceFacts>,
}

/// Where the leases of a network card are stored.
struct StateFile {
    card: u32,
    store: Arc<dyn Store>,
    /// What the last whole checkpoint claims ahead.
    reserved: BTreeSet<IpAddr>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver for a node whose only managed card is that of `pool`, on these ports.
    pub fn new(
        pool: Pool,
        cloud: Arc<dyn CloudBackend>,
        datapath: Arc<dyn Datapath>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self::for_node(Node::from(pool), cloud, datapath, |_| Arc::clone(&store))
    }

    /// A driver for `node` on these ports. `store` says where the leases of a network card are stored;
    /// that of the lowest card has the [hint](crate::hint) of the node too.
    pub fn for_node(
        node: Node,
        cloud: Arc<dyn CloudBackend>,
        datapath: Arc<dyn Datapath>,
        store: impl Fn(u32) -> Arc<dyn Store>,
    ) -> Self {
        let file = |card| StateFile { card, store: store(card), reserved: BTreeSet::new() };
        let files = node.cards().map(file).collect();
        Self { node, cloud, datapath, files, facts: None }
    }

    /// Says who the node is, for the [hint](crate::hint) that is stored from now on.
    pub fn identify(&mut self, facts: InstanceFacts) {
        self.facts = Some(facts);
    }

    /// The pool of the lowest card, for reading.
    pub fn pool(&self) -> &Pool {
        self.node.first()
    }

    /// The pool of a node with one card, for `assign`, `release` and `poll_reply`. Drain
    /// [`next_job`](Self::next_job) afterwards. With several cards, ask the
    /// [node](Self::node_mut).
    pub fn pool_mut(&mut self) -> &mut Pool {
        self.node.first_mut()
    }

    /// The node, for reading.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The node, for `assign`, `release` and `poll_reply`. Drain [`next_job`](Self::next_job)
    /// afterwards.
    pub fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Feeds an event to the node. Drain [`next_job`](Self::next_job) afterwards.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.node.handle(event, now);
    }

    /// When to feed [`Event::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.node.poll_timeout()
    }

    /// The next job to run, `None` when there is nothing to start.
    pub fn next_job(&mut self, now: Time) -> Option<(Action, Job)> {
        let action = self.node.poll_action(now)?;
        let job = self.job(action.clone());
        Some((action, job))
    }

    /// What carries out `action`, which [`Node::poll_action`] has just given.
    pub fn job(&mut self, action: Action) -> Job {
        match action {
            Action::AssignAddresses { op, eni, count } => self.cloud_job(move |c| async move {
                Event::AddressesAssigned { op, result: c.assign_addresses(&eni, count).await }
            }),
            Action::CreateEni { op, request } => self.cloud_job(move |c| async move {
                Event::EniCreated { op, result: c.create_eni(&request).await }
            }),
            Action::DeleteEni { op, eni } => self.cloud_job(move |c| async move {
                Event::EniDeleted { op, result: c.delete_eni(&eni).await }
            }),
            Action::Describe { op } => self.cloud_job(move |c| async move {
                Event::Described { op, result: c.describe().await }
            }),
            Action::UnassignAddresses { op, eni, cidrs } => self.cloud_job(move |c| async move {
                Event::AddressesUnassigned { op, result: c.unassign_addresses(&eni, &cidrs).await }
            }),
            Action::Persist { op, card } => {
                let write = self.persist(card);
                Job::Blocking(Box::new(move || Event::Persisted { op, result: write() }))
            }
            Action::Remember { op } => {
                let hint = Hint { node: self.facts.clone(), enis: self.node.remembered() };
                let content = hint::encode(&hint);
                let store = self.files.first().map(|file| Arc::clone(&file.store));
                let save = move || store.map_or(Ok(()), |store| store.save_hint(&content));
                Job::Blocking(Box::new(move || Event::Remembered { op, result: save() }))
            }
            Action::SetUpEni { op, eni } => {
                let datapath = Arc::clone(&self.datapath);
                Job::Blocking(Box::new(move || Event::EniSetUp {
                    op,
                    result: datapath.set_up_eni(&eni),
                }))
            }
            Action::TearDownEni { op, eni } => {
                let datapath = Arc::clone(&self.datapath);
                Job::Blocking(Box::new(move || Event::EniTornDown {
                    op,
                    result: datapath.tear_down_eni(&eni),
                }))
            }
        }
    }

    /// Encoded here, while the pool cannot change, and written elsewhere.
    fn persist(&mut self, card: u32) -> Box<dyn FnOnce() -> Result<(), StoreError> + Send> {
        let (pool, file) = (self.node.pool(card), self.files.iter_mut().find(|f| f.card == card));
        let (Some(pool), Some(file)) = (pool, file) else {
            let text = format!("network card {card} is not managed, so it has no state file");
            return Box::new(move || Err(StoreError::new("", text)));
        };
        let store = Arc::clone(&file.store);
        let takes = store.takes();
        let changes = pool.changes().filter(|_| takes == Takes::Changes);
        if let Some(changes) = changes.filter(|changes| changes.within(&file.reserved)) {
            let content = changes.encode();
            return Box::new(move || store.append(&content));
        }
        let mut checkpoint = pool.checkpoint();
        file.reserved.clear();
        if takes != Takes::Whole {
            file.reserved.extend(pool.next_addresses(RESERVED_MAX));
            checkpoint.reserve(file.reserved.iter().copied());
        }
        let content = checkpoint::encode(&checkpoint);
        Box::new(move || store.save(&content))
    }

    fn cloud_job<F, Fut>(&self, call: F) -> Job
    where
        F: FnOnce(Arc<dyn CloudBackend>) -> Fut,
        Fut: Future<Output = Event> + Send + 'static,
    {
        Job::Cloud(Box::pin(call(Arc::clone(&self.cloud))))
    }
}
