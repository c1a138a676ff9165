//! Waiting for one child while passing signals on and reaping orphans.

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// `si_code` of a signal that the kernel made itself, as a terminal does on Ctrl-C. Such a signal
/// has gone to the whole foreground group, so the child has its own copy.
const SI_KERNEL: i32 = 0x80;

/// What a shell adds to a signal's number to make an exit status of it.
const SIGNALLED: i32 = 128;

/// Signals that are passed on: the ways to ask a program to end.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

fn watched() -> SigSet {
    let mut set: SigSet = FORWARDED.into_iter().collect();
    set.add(Signal::SIGCHLD);
    set
}

/// Holds the watched signals back until [`wait`] reads them. Before the child is started, so that
/// none is lost; the child inherits the mask and calls [`unblock`].
pub(super) fn block() -> Result<(), Errno> {
    watched().thread_block()
}

/// Undoes what [`block`] did in a parent.
pub(super) fn unblock() -> Result<(), Errno> {
    watched().thread_unblock()
}

/// Waits for `child` to end and returns its exit status, 128+n if signal n killed it.
///
/// Reaps every other child on the way: orphans of a PID namespace fall to its first process.
pub(super) fn wait(child: Pid) -> Result<i32, Errno> {
    let signals = SignalFd::with_flags(&watched(), SfdFlags::SFD_CLOEXEC)?;
    loop {
        if let Some(status) = reap(child)? {
            return Ok(status);
        }
        let info = match signals.read_signal() {
            Ok(Some(info)) => info,
            Ok(None) | Err(Errno::EINTR) => continue,
            Err(e) => return Err(e),
        };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
        match signal {
            Some(s) if FORWARDED.contains(&s) && info.ssi_code != SI_KERNEL => {
                // It may have ended in this instant; the next round finds out.
                let _ = kill(child, s);
            }
            _ => {}
        }
    }
}

/// Collects everything that has ended; `Some` once `child` is among it.
fn reap(child: Pid) -> Result<Option<i32>, Errno> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => return Ok(Some(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(Some(SIGNALLED + signal as i32));
            }
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}
