//! Network namespaces by path or process, and work inside them.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use nix::{
    fcntl::OFlag,
    sched::{CloneFlags, setns},
    sys::statfs::{FsType, fstatfs},
};
use thiserror::Error;

use crate::netlink::NetlinkError;

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// Why a namespace cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// Nothing is there.
    #[error("network namespace {} cannot be opened: {source}; its sandbox may be gone", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that is no namespace, such as a mount point whose namespace is gone.
    #[error("{} is not a network namespace; was it unmounted?", path.display())]
    NotNamespace {
        /// What was opened.
        path: PathBuf,
    },
    /// The kernel does not let us in.
    #[error("network namespace {} cannot be entered: {source}", path.display())]
    Enter {
        /// Which namespace.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No thread to work in.
    #[error("no thread for work in a network namespace: {0}")]
    Thread(#[source] io::Error),
    /// The work inside panicked.
    #[error("work in network namespace {} panicked", path.display())]
    Panicked {
        /// Which namespace.
        path: PathBuf,
    },
    /// No netlink socket inside.
    #[error("no socket in the network namespace: {0}")]
    Socket(#[source] NetlinkError),
}

/// An open network namespace. Clones share the descriptor, which keeps the namespace alive.
#[derive(Clone, Debug)]
pub struct NetnsFd {
    file: Arc<File>,
    path: PathBuf,
}

impl NetnsFd {
    /// Opens the namespace bound at `path`.
    ///
    /// # Errors
    ///
    /// If nothing is there, or something that is no namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref().to_owned();
        let open = |source| NetnsError::Open { path: path.clone(), source };
        // A named pipe would wait for a writer.
        let flags = OFlag::O_NONBLOCK.bits();
        let file = File::options().read(true).custom_flags(flags).open(&path).map_err(open)?;
        let fs = fstatfs(&file).map_err(|e| open(e.into()))?;
        if fs.filesystem_type() != NSFS_MAGIC {
            return Err(NetnsError::NotNamespace { path });
        }
        Ok(Self { file: Arc::new(file), path })
    }

    /// Opens the namespace of a process.
    ///
    /// # Errors
    ///
    /// If there is no such process.
    pub fn of_pid(pid: u32) -> Result<Self, NetnsError> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Opens the calling thread's own namespace.
    ///
    /// # Errors
    ///
    /// If `/proc` is not mounted.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Where it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if both are one namespace.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.file.metadata(), other.file.metadata()) {
            (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
            _ => false,
        }
    }

    /// The descriptor, for messages that name a namespace by number.
    pub(crate) fn raw(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for NetnsFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `work` inside `netns` on a thread of its own that then ends: a pooled thread must never be
/// left in a foreign namespace.
///
/// # Errors
///
/// If the namespace cannot be entered or `work` panics.
pub fn run_in<T, F>(netns: &NetnsFd, work: F) -> Result<T, NetnsError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let inside = || {
        setns(netns, CloneFlags::CLONE_NEWNET)
            .map_err(|e| NetnsError::Enter { path: netns.path.clone(), source: e.into() })?;
        Ok(work())
    };
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, inside)
            .map_err(NetnsError::Thread)?;
        handle.join().unwrap_or_else(|_| Err(NetnsError::Panicked { path: netns.path.clone() }))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_opened() {
        assert!(matches!(NetnsFd::open("/nonexistent"), Err(NetnsError::Open { .. })));
        assert!(matches!(NetnsFd::open("/dev/null"), Err(NetnsError::NotNamespace { .. })));
        let own = NetnsFd::current().unwrap();
        assert!(own.is_same(&NetnsFd::of_pid(std::process::id()).unwrap()));
    }

    #[test]
    fn a_named_pipe_is_refused_and_not_waited_for() {
        let path = std::env::temp_dir().join(format!("netns-pipe-{}", std::process::id()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let opened = NetnsFd::open(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(opened, Err(NetnsError::NotNamespace { .. })));
    }
}
