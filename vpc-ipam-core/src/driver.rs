//! Turns the pool's actions into calls on the ports, on any executor.
//!
//! The driver owns the pool and decides nothing. It hands out [`Job`]s: a cloud job is a future, a
//! blocking job a closure. The shell runs each wherever it likes and brings the resulting event
//! back. ipamd does that with tokio, the simulation with a virtual clock, so both run this code.

use std::{collections::BTreeSet, fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use crate::{
    checkpoint,
    cloud::{CloudBackend, InstanceFacts},
    datapath::Datapath,
    hint::{self, Hint},
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

/// The pool and the ports it is driven through.
pub struct Driver {
    pool: Pool,
    cloud: Arc<dyn CloudBackend>,
    datapath: Arc<dyn Datapath>,
    store: Arc<dyn Store>,
    facts: Option<InstanceFacts>,
    /// What the last whole checkpoint claims ahead.
    reserved: BTreeSet<IpAddr>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver for `pool` on these ports.
    pub fn new(
        pool: Pool,
        cloud: Arc<dyn CloudBackend>,
        datapath: Arc<dyn Datapath>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self { pool, cloud, datapath, store, facts: None, reserved: BTreeSet::new() }
    }

    /// Says who the node is, for the [hint](crate::hint) that is stored from now on.
    pub fn identify(&mut self, facts: InstanceFacts) {
        self.facts = Some(facts);
    }

    /// The pool, for reading.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The pool, for `assign`, `release` and `poll_reply`. Drain [`next_job`](Self::next_job)
    /// afterwards.
    pub fn pool_mut(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// Feeds an event to the pool. Drain [`next_job`](Self::next_job) afterwards.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.pool.handle(event, now);
    }

    /// When to feed [`Event::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.pool.poll_timeout()
    }

    /// The next job to run, `None` when there is nothing to start.
    pub fn next_job(&mut self, now: Time) -> Option<(Action, Job)> {
        let action = self.pool.poll_action(now)?;
        let job = self.job(action.clone());
        Some((action, job))
    }

    /// What carries out `action`, which [`Pool::poll_action`] has just given.
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
            Action::Persist { op, .. } => {
                let write = self.persist();
                Job::Blocking(Box::new(move || Event::Persisted { op, result: write() }))
            }
            Action::Remember { op } => {
                let hint = Hint { node: self.facts.clone(), enis: self.pool.remembered() };
                let content = hint::encode(&hint);
                let store = Arc::clone(&self.store);
                Job::Blocking(Box::new(move || Event::Remembered {
                    op,
                    result: store.save_hint(&content),
                }))
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
    fn persist(&mut self) -> Box<dyn FnOnce() -> Result<(), StoreError> + Send> {
        let store = Arc::clone(&self.store);
        let takes = store.takes();
        let changes = self.pool.changes().filter(|_| takes == Takes::Changes);
        if let Some(changes) = changes.filter(|changes| changes.within(&self.reserved)) {
            let content = changes.encode();
            return Box::new(move || store.append(&content));
        }
        let mut checkpoint = self.pool.checkpoint();
        self.reserved.clear();
        if takes != Takes::Whole {
            self.reserved.extend(self.pool.next_addresses(RESERVED_MAX));
            checkpoint.reserve(self.reserved.iter().copied());
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
