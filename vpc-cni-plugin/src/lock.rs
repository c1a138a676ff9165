//! One pod is wired at a time.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

/// Name of the lock file beside the daemon's socket.
const FILE_NAME: &str = "wiring.lock";

/// How long a command waits for its turn: a hundred times what the slowest wiring takes. After
/// that something hangs, and the kernel's own lock decides.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A turn at wiring, until dropped.
///
/// The kernel serialises changes to links anyway, but without order: of many parallel commands some
/// wait several times longer than others. A file lock is fair, and a process that dies gives it up.
/// It is for speed only: without the directory, or after [`WAIT_MAX`], the command goes ahead.
#[derive(Debug)]
pub(crate) struct WiringLock {
    _file: Option<File>,
}

impl WiringLock {
    /// Waits for a turn; `socket` is the daemon's.
    pub(crate) fn acquire(socket: &Path) -> Self {
        Self { _file: socket.parent().and_then(|dir| take(dir, WAIT_MAX)) }
    }
}

fn take(dir: &Path, wait_max: Duration) -> Option<File> {
    let path = dir.join(FILE_NAME);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.ok()?;
    if file.try_lock().is_ok() {
        return Some(file);
    }
    // There is no lock call with a deadline. A thread that is still waiting ends with the process,
    // moments later.
    let (send, receive) = mpsc::channel();
    thread::Builder::new()
        .spawn(move || {
            if file.lock().is_ok() {
                let _gone = send.send(file);
            }
        })
        .ok()?;
    receive.recv_timeout(wait_max).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turns_follow_each_other_and_waiting_ends() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path(), WAIT_MAX).unwrap();
        assert!(take(dir.path(), Duration::from_millis(20)).is_none());
        drop(first);
        assert!(take(dir.path(), WAIT_MAX).is_some());
    }

    #[test]
    fn a_missing_directory_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        assert!(take(&dir.path().join("none"), WAIT_MAX).is_none());
    }
}
