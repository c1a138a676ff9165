//! How the servers talk to the one task that owns the pool.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use vpc_ipam_core::{
    checkpoint::Lease,
    cloud::InstanceFacts,
    id::{PodRef, SandboxKey},
    pool::{AssignError, Assignment},
};

use crate::snapshot::Snapshot;

/// Requests that may queue for the engine, which takes each in microseconds. Twice the pods of the
/// fullest nodes; callers beyond that wait in their connections.
pub(crate) const REQUESTS_MAX: usize = 512;
/// How long an ADD waits for the instance to be known, which takes a start less than a second. With
/// the pool's own wait of 45 s it stays below the plugin's deadline of 60 s, so that the caller hears
/// the reason.
const IDENTITY_WAIT: Duration = Duration::from_secs(12);

/// A question to the engine, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Request {
    Add {
        key: SandboxKey,
        pod: PodRef,
        reply: AddReply,
    },
    /// A caller of `Add` has gone before it had its answer.
    Abandoned {
        key: SandboxKey,
    },
    Del {
        key: SandboxKey,
        reply: DelReply,
    },
    Leases {
        reply: oneshot::Sender<Vec<Lease>>,
    },
    Snapshot {
        reply: oneshot::Sender<Box<Snapshot>>,
    },
}

pub(crate) type AddReply = oneshot::Sender<Result<Assignment, AssignError>>;
/// `None`: nobody holds an address under that key.
pub(crate) type DelReply = oneshot::Sender<Result<Option<Assignment>, AssignError>>;

/// What is known of the node.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Nothing yet, and why.
    Unknown(String),
    /// Who it is; the kernel is set up accordingly.
    Known(Arc<InstanceFacts>),
}

/// Why a request got no answer from the pool.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum HandleError {
    #[error("the daemon is stopping; try again when it has been restarted")]
    Stopping,
    #[error("the node is not set up yet: {0}")]
    Unidentified(String),
    #[error(transparent)]
    Pool(#[from] AssignError),
}

/// Tells the engine if it is dropped while it still has a key.
struct Interest<'a> {
    requests: &'a mpsc::Sender<Request>,
    key: Option<SandboxKey>,
}

impl Drop for Interest<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            // If the queue is full the engine finds out when it has the answer.
            let _ = self.requests.try_send(Request::Abandoned { key });
        }
    }
}

/// The servers' end of the channel. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
    identity: watch::Receiver<Identity>,
}

impl Handle {
    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        identity: watch::Receiver<Identity>,
    ) -> Self {
        Self { requests, identity }
    }

    /// Gives the sandbox an address. If the future is dropped before that, the request is undone.
    pub(crate) async fn add(
        &self,
        key: SandboxKey,
        pod: PodRef,
    ) -> Result<Assignment, HandleError> {
        let (reply, answer) = oneshot::channel();
        let mut interest = Interest { requests: &self.requests, key: Some(key.clone()) };
        let answer = self.ask(Request::Add { key, pod, reply }, answer).await;
        interest.key = None;
        answer?.map_err(HandleError::Pool)
    }

    pub(crate) async fn del(&self, key: SandboxKey) -> Result<Option<Assignment>, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Del { key, reply }, answer).await?.map_err(HandleError::Pool)
    }

    /// The leases that a restart would find.
    pub(crate) async fn leases(&self) -> Result<Vec<Lease>, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Leases { reply }, answer).await
    }

    pub(crate) async fn snapshot(&self) -> Result<Box<Snapshot>, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Snapshot { reply }, answer).await
    }

    /// The instance, as soon as it is known; after a bounded time, why it is not.
    pub(crate) async fn identity(&self) -> Result<Arc<InstanceFacts>, HandleError> {
        let mut identity = self.identity.clone();
        let known = |i: &Identity| matches!(i, Identity::Known(_));
        // Neither a deadline nor a vanished engine changes what is said below.
        let _ = timeout(IDENTITY_WAIT, identity.wait_for(known)).await;
        self.identity_now()
    }

    /// The instance if it is known now.
    pub(crate) fn identity_now(&self) -> Result<Arc<InstanceFacts>, HandleError> {
        match &*self.identity.borrow() {
            Identity::Known(facts) => Ok(Arc::clone(facts)),
            Identity::Unknown(why) => Err(HandleError::Unidentified(why.clone())),
        }
    }

    async fn ask<T>(
        &self,
        request: Request,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, HandleError> {
        self.requests.send(request).await.map_err(|_| HandleError::Stopping)?;
        answer.await.map_err(|_| HandleError::Stopping)
    }
}
