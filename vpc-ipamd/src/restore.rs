//! The state file at start: a pool with its leases, whatever state the file is in.

use thiserror::Error;
use vpc_ipam_core::{
    checkpoint,
    config::PoolConfig,
    pool::Pool,
    store::{Store, StoreError},
    time::Time,
};

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
}

/// The pool, and a sentence about a file that had to be moved aside.
///
/// The leases of such a file are lost to the pool: their pods keep running, but their addresses
/// count as free until the pods are gone or the leases are put back by hand.
pub(crate) fn restore(
    store: &dyn Store,
    config: PoolConfig,
    now: Time,
) -> Result<(Pool, Option<String>), RestoreError> {
    let Some(content) = store.load().map_err(RestoreError::Unreadable)? else {
        tracing::info!("no state file: starting with no leases");
        return Ok((Pool::new(config, now), None));
    };
    match checkpoint::decode(&content) {
        Ok(checkpoint) => {
            tracing::info!(leases = checkpoint.leases.len(), "leases restored from the state file");
            Ok((Pool::restore(config, &checkpoint, now), None))
        }
        Err(why) => {
            let aside = store
                .set_aside()
                .map_err(|source| RestoreError::NotKept { why: why.to_string(), source })?;
            let message = format!(
                "the state file is corrupt ({why}); kept as {aside}, started without its leases; \
                 restart the pods that were running, or repair it, move it back and restart the daemon"
            );
            tracing::error!("{message}");
            Ok((Pool::new(config, now), Some(message)))
        }
    }
}
