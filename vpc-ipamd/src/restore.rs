//! The state file at start: a pool with its leases, whatever state the file is in.

use std::collections::BTreeSet;

use thiserror::Error;
use vpc_ipam_core::{
    checkpoint::{self, Checkpoint, Lease, Unknown},
    config::PoolConfig,
    datapath::DatapathError,
    hint::{self, Hint},
    id::{PodRef, SandboxKey},
    pool::Pool,
    store::{Store, StoreError},
    time::Time,
};

use crate::housekeeping::{Housekeeping, WiredPod};

/// Network name of leases that no state file told of: their pods are wired to the node, so their
/// addresses must not be given to others. The host link stands in for the unknown sandbox.
pub const RECOVERED_NETWORK: &str = "_recovered-from-host";

/// Entries of the state file that a start explains in the log; status pages count all of them.
const LOGGED_MAX: usize = 20;

/// Why the daemon must not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is a file, and its content cannot be had. Starting without it would hand out addresses
    /// that pods have.
    #[error(transparent)]
    Unreadable(StoreError),
    /// The file is corrupt and cannot be kept for inspection.
    #[error("corrupt ({why}) and cannot be moved aside: {source}")]
    NotKept {
        /// What is wrong with the content.
        why: String,
        /// Why it cannot be moved.
        source: StoreError,
    },
    /// There is no usable file, and the kernel does not say which addresses pods have.
    #[error("no usable state file, and the pods of this node cannot be listed: {0}")]
    PodsUnknown(DatapathError),
}

/// The pool, and a sentence about a file that had to be moved aside.
///
/// Whatever the file says, no address that the kernel routes to a pod is given to another one: what the
/// file does not explain is leased under [`RECOVERED_NETWORK`] until its pod has gone.
pub(crate) fn restore(
    store: &dyn Store,
    house: Option<&dyn Housekeeping>,
    config: PoolConfig,
    now: Time,
) -> Result<(Pool, Option<String>), RestoreError> {
    let content = store.load().map_err(RestoreError::Unreadable)?;
    let (mut checkpoint, corrupt) = match content.as_deref().map(checkpoint::decode) {
        None => (Checkpoint::default(), None),
        Some(Ok(checkpoint)) => (checkpoint, None),
        Some(Err(why)) => {
            let aside = store
                .set_aside()
                .map_err(|source| RestoreError::NotKept { why: why.to_string(), source })?;
            (Checkpoint::default(), Some((why, aside)))
        }
    };
    let from_file = checkpoint.leases.len();
    let wired = match house.map(Housekeeping::wired) {
        None => Vec::new(),
        Some(Ok(wired)) => {
            // Whether a pod has an address that was claimed ahead, the kernel knows.
            checkpoint.unreserve();
            wired
        }
        // With a good file the kernel is only a second opinion.
        Some(Err(error)) if corrupt.is_none() && content.is_some() => {
            tracing::warn!(%error, "the node's pods cannot be compared with the state file");
            Vec::new()
        }
        Some(Err(error)) => return Err(RestoreError::PodsUnknown(error)),
    };
    let recovered = recover(&mut checkpoint, wired);
    let kept = checkpoint.kept.len();
    tracing::info!(from_file, recovered, kept, file = content.is_some(), "leases restored");
    for entry in checkpoint.kept.iter().take(LOGGED_MAX) {
        tracing::warn!("the state file's entry of {entry} is kept, and explains no lease");
    }
    let message = corrupt.map(|(why, aside)| {
        format!(
            "the state file is corrupt ({why}); kept as {aside}; the addresses of the {recovered} pods \
             that are wired to this node are held until they go"
        )
    });
    match &message {
        Some(message) => tracing::error!("{message}"),
        None if recovered > 0 => {
            tracing::warn!(
                recovered,
                "pods that the state file does not know keep their addresses"
            );
        }
        None => {}
    }
    Ok((Pool::restore(config, &checkpoint, now), message))
}

/// What the node knew of itself before. It is no more than a hint, so whatever is wrong with it is
/// no reason not to start: the next one replaces it.
pub(crate) fn recall(store: &dyn Store) -> Hint {
    let content = match store.load_hint() {
        Ok(Some(content)) => content,
        Ok(None) => return Hint::default(),
        Err(error) => {
            tracing::warn!(%error, "the node's memory of its ENIs cannot be read; going on without it");
            return Hint::default();
        }
    };
    match hint::decode(&content) {
        Ok(hint) => {
            tracing::info!(enis = hint.enis.len(), node = hint.node.is_some(), "ENIs remembered");
            hint
        }
        Err(error) => {
            tracing::warn!(%error, "the node's memory of its ENIs is of no use; going on without it");
            Hint::default()
        }
    }
}

/// Adds a lease for every wired address that has none, and says how many.
fn recover(checkpoint: &mut Checkpoint, wired: Vec<WiredPod>) -> usize {
    let leased = checkpoint.leases.iter().map(|lease| lease.ip);
    let kept = checkpoint.kept.iter().flat_map(|entry| entry.addresses.iter().copied());
    let known: BTreeSet<_> = leased.chain(kept).collect();
    let before = checkpoint.leases.len();
    let unknown = wired.into_iter().filter(|pod| !known.contains(&pod.ip));
    checkpoint.leases.extend(unknown.filter_map(|pod| {
        // A link always has a name; with the address it is a key of its own.
        let key = SandboxKey::new(RECOVERED_NETWORK, &pod.host_if, &pod.ip.to_string()).ok()?;
        let (ip, pod) = (pod.ip, PodRef::default());
        Some(Lease { key, ip, allocated_ns: 0, pod, interfaces: 1, unknown: Unknown::default() })
    }));
    checkpoint.leases.sort_by_key(|lease| lease.ip);
    checkpoint.leases.len() - before
}
