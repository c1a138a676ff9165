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

/// What a [`Store`] takes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Takes {
    /// The whole checkpoint, by [`Store::save`].
    Whole,
    /// The same, with [`RESERVED_MAX`] addresses claimed ahead: changes will be appended to it.
    WholeWithReserve,
    /// [Changes](crate::checkpoint::Changes), by [`Store::append`], or `WholeWithReserve`.
    Changes,
}

/// Addresses that the checkpoint claims ahead, and so the number of leases by which a file in the
/// reference's format may lag behind. As many pods as a large node starts in a burst; under the reference
/// that many addresses would be out of use until it starts with an empty file.
pub const RESERVED_MAX: usize = 32;

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

    /// What to write next. A store that appends asks for a whole checkpoint now and then.
    fn takes(&self) -> Takes {
        Takes::Whole
    }

    /// Adds changes to what was saved last, durably. Called only where [`takes`](Self::takes) says so,
    /// with changes that lie within what the last [`save`](Self::save) reserved.
    ///
    /// # Errors
    ///
    /// If a restart may find the state without these changes.
    fn append(&self, _changes: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::new("", "this store takes no changes; it was not asked"))
    }

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
