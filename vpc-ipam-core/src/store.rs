//! Port to durable storage of the checkpoint.

use thiserror::Error;

/// A failed read or write of the checkpoint.
#[derive(Clone, Debug, Error)]
#[error("state file {path}: {message}")]
#[non_exhaustive]
pub struct StoreError {
    /// Where it was tried.
    pub path: String,
    /// The system's reason and the remedy.
    pub message: String,
}

impl StoreError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Where the checkpoint lives. Real adapter: a file, in `vpc-ipamd`; stateful fake: `testkit`.
pub trait Store: Send + Sync {
    /// What was last saved; `None` on a fresh node.
    ///
    /// # Errors
    ///
    /// If there is something that cannot be read.
    fn load(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces the checkpoint, atomically and durably.
    ///
    /// # Errors
    ///
    /// If the old content may still be what a restart finds.
    fn save(&self, content: &[u8]) -> Result<(), StoreError>;

    /// The [hint](crate::hint) that was last saved; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If there is something that cannot be read.
    fn load_hint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    /// Replaces the [hint](crate::hint), atomically and durably. A store that keeps none says yes.
    ///
    /// # Errors
    ///
    /// If the old content may still be what a restart finds.
    fn save_hint(&self, _content: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Moves what is stored out of the way, keeping it, and says where.
    ///
    /// # Errors
    ///
    /// If it cannot be kept.
    fn set_aside(&self) -> Result<String, StoreError>;
}
