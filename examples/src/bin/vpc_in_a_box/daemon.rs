//! One node's daemon: started, watched, killed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

/// How long a daemon may take to stop after SIGTERM; Kubernetes gives it 10 s.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at a process that is about to end.
const STOP_POLL: Duration = Duration::from_millis(10);
/// Of its log this much is shown when it fails.
const TAIL_LINES: usize = 12;
/// Enough for that many long lines, however large the log has become.
const TAIL_BYTES: u64 = 16 << 10;

/// What went wrong with a daemon.
#[derive(Debug, Error)]
pub(crate) enum DaemonError {
    #[error("cannot start ipamd of {node}: {source}")]
    Start { node: String, source: io::Error },

    #[error("ipamd of {node} {how}; its last words:\n{tail}")]
    Ended { node: String, how: String, tail: String },

    #[error("ipamd of {node} is not ready after {seconds} s: {why}; its last words:\n{tail}")]
    NotReady { node: String, seconds: u64, why: String, tail: String },

    #[error("cannot signal ipamd of {node}: {source}")]
    Signal { node: String, source: io::Error },
}

/// A running daemon. Dropping it does not stop it: the sandbox does.
#[derive(Debug)]
pub(crate) struct Daemon {
    node: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it with `env` alone, its log appended to `log`. `spawn` starts the command in the
    /// node's namespaces.
    pub(crate) fn start(
        node: &str,
        program: &Path,
        env: &[(&str, OsString)],
        log: &Path,
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Result<Self, DaemonError> {
        let failed = |source| DaemonError::Start { node: node.to_owned(), source };
        let open = || File::options().create(true).append(true).open(log);
        let (out, err) = (open().map_err(failed)?, open().map_err(failed)?);
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(out).stderr(err);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let child = spawn(command).map_err(failed)?;
        Ok(Self { node: node.to_owned(), child, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it is not running any more.
    pub(crate) fn check(&mut self) -> Result<(), DaemonError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(describe(status))),
            Err(e) => Err(self.ended(format!("cannot be watched: {e}"))),
        }
    }

    /// The error of a daemon that runs but is not ready for `why`.
    pub(crate) fn not_ready(&self, waited: Duration, why: String) -> DaemonError {
        let (node, tail) = (self.node.clone(), self.tail());
        DaemonError::NotReady { node, seconds: waited.as_secs(), why, tail }
    }

    /// SIGKILL: it gets no chance to say goodbye.
    pub(crate) fn kill(&mut self) -> Result<(), DaemonError> {
        let node = self.node.clone();
        let failed = |source| DaemonError::Signal { node, source };
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(failed)
    }

    /// SIGTERM, and an error if it does not end by itself with success.
    pub(crate) fn stop(&mut self) -> Result<(), DaemonError> {
        self.check()?;
        let failed = |source| DaemonError::Signal { node: self.node.clone(), source };
        let pid = i32::try_from(self.child.id()).map_err(|e| failed(io::Error::other(e)))?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
            .map_err(|e| failed(e.into()))?;
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.ended(describe(status) + " on SIGTERM")),
                Ok(None) if Instant::now() < deadline => thread::sleep(STOP_POLL),
                Ok(None) => {
                    let seconds = STOP_DEADLINE.as_secs();
                    return Err(self.ended(format!("did not end within {seconds} s of SIGTERM")));
                }
                Err(e) => return Err(self.ended(format!("cannot be watched: {e}"))),
            }
        }
    }

    /// Resident set in KiB; 0 if it is gone.
    pub(crate) fn rss_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status.ok().as_deref().and_then(read_rss).unwrap_or(0)
    }

    fn ended(&self, how: String) -> DaemonError {
        DaemonError::Ended { node: self.node.clone(), how, tail: self.tail() }
    }

    fn tail(&self) -> String {
        let text = read_end(&self.log).unwrap_or_else(|e| format!("(log is unreadable: {e})"));
        let lines: Vec<_> = text.lines().collect();
        let skip = lines.len().saturating_sub(TAIL_LINES);
        let tail: Vec<_> = lines.into_iter().skip(skip).map(|l| format!("    | {l}")).collect();
        if tail.is_empty() { "    | (nothing)".to_owned() } else { tail.join("\n") }
    }
}

fn read_end(path: &Path) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Daemon) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = script.to_owned();
        let daemon = Daemon::start("node-1", Path::new("/bin/sh"), &[], &log, move |mut c| {
            c.args(["-c", &script]).spawn()
        })
        .unwrap();
        (dir, daemon)
    }

    #[test]
    fn a_daemon_that_ends_is_reported_with_its_last_words() {
        let (_dir, mut daemon) = shell("seq 1 100; exit 3");
        daemon.child.wait().unwrap();
        let text = daemon.check().unwrap_err().to_string();
        assert!(text.starts_with("ipamd of node-1 ended with status 3"), "{text}");
        assert!(text.contains("| 100") && !text.contains("| 88\n"), "{text}");
    }

    #[test]
    fn kill_and_stop_end_it() {
        let (_dir, mut daemon) = shell("exec sleep 60");
        daemon.check().unwrap();
        assert!(daemon.rss_kb() > 0);
        daemon.kill().unwrap();
        assert!(daemon.check().unwrap_err().to_string().contains("signal 9"));
        let (_dir, mut daemon) = shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
        while !daemon.tail().contains("up") {
            thread::sleep(STOP_POLL);
        }
        daemon.stop().unwrap();
    }

    #[test]
    fn resident_set_is_read_in_kib() {
        assert_eq!(read_rss("Name:\tx\nVmRSS:\t   12345 kB\n"), Some(12345));
        assert_eq!(read_rss("Name:\tx\n"), None);
    }
}
