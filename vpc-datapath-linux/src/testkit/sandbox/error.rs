//! Why a sandbox cannot be had, and what to do about it.

use std::{fs, io, path::Path};

use nix::errno::Errno;
use thiserror::Error;

/// Why the process could not be moved into namespaces of its own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// This kernel, or whoever set it up, does not let us make namespaces.
    #[error("private namespaces are not available: {why}; {remedy}")]
    Unavailable {
        /// What stands in the way.
        why: &'static str,
        /// What its administrator, or the caller, can change.
        remedy: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The process has more than one thread, and the kernel moves only single-threaded ones.
    #[error(
        "the sandbox must be entered before the first thread is started; call it first in main"
    )]
    Threads,
    /// The process that asked for the sandbox died before the sandbox was complete.
    #[error("the process that started the sandbox is gone; start it again")]
    OuterGone,
    /// A step failed that works wherever namespaces do.
    #[error("cannot {step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl SandboxError {
    /// True if this machine offers no namespaces: a test skips then, a program says so and ends.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(super) fn step(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Step { step, source }
    }
}

/// The switches by which a machine turns namespaces off, as read from `/proc/sys`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Switches {
    /// Debian and Ubuntu: 0 forbids user namespaces to ordinary users.
    pub(super) userns_clone: Option<u64>,
    /// Ubuntu 23.10 and later: 1 takes all rights away inside them.
    pub(super) apparmor_restrict: Option<u64>,
    /// Any kernel: how many may exist. Each level of nesting has its own.
    pub(super) max_user: Option<u64>,
    /// Same for network namespaces.
    pub(super) max_net: Option<u64>,
}

impl Switches {
    pub(super) fn read() -> Self {
        let read = |path: &str| {
            fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?.trim().parse().ok()
        };
        Self {
            userns_clone: read("kernel/unprivileged_userns_clone"),
            apparmor_restrict: read("kernel/apparmor_restrict_unprivileged_userns"),
            max_user: read("user/max_user_namespaces"),
            max_net: read("user/max_net_namespaces"),
        }
    }
}

/// Turns the errno of `unshare` into an error that names the switch.
pub(super) fn explain(source: Errno, switches: Switches, user_namespace: bool) -> SandboxError {
    let (why, remedy) = match source {
        Errno::EINVAL if user_namespace => return SandboxError::Threads,
        Errno::EPERM if !user_namespace => (
            "making them without a user namespace needs CAP_SYS_ADMIN",
            "run as root, or allow a user namespace",
        ),
        Errno::EPERM if switches.userns_clone == Some(0) => (
            "kernel.unprivileged_userns_clone is 0",
            "set it to 1 with sysctl -w kernel.unprivileged_userns_clone=1, or run as root",
        ),
        Errno::EPERM | Errno::EACCES if switches.apparmor_restrict == Some(1) => (
            "AppArmor takes all rights away inside unprivileged user namespaces",
            "set it free with sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
        ),
        Errno::EPERM | Errno::EACCES => (
            "a seccomp filter, a security module or a chroot forbids user namespaces",
            "run outside the container or chroot, relax its seccomp profile, or run as root",
        ),
        Errno::ENOSPC if switches.max_user == Some(0) => (
            "user.max_user_namespaces is 0",
            "raise it with sysctl -w user.max_user_namespaces=1000, or run as root without one",
        ),
        Errno::ENOSPC if switches.max_net == Some(0) => {
            ("user.max_net_namespaces is 0", "raise it with sysctl -w user.max_net_namespaces=1000")
        }
        Errno::ENOSPC => (
            "a limit on namespaces is reached, or they are nested too deep",
            "raise the user.max_*_namespaces sysctls, or nest less",
        ),
        Errno::EINVAL | Errno::ENOSYS => (
            "this kernel lacks one of the user, mount, network and PID namespaces",
            "run a kernel that has CONFIG_USER_NS, CONFIG_NET_NS and CONFIG_PID_NS",
        ),
        other => return SandboxError::step("unshare namespaces")(other.into()),
    };
    SandboxError::Unavailable { why, remedy, source }
}

/// An error of a step that needs nothing but the rights which a user namespace gives: where they are
/// refused, a security module gives the namespace and takes the rights away.
pub(super) fn no_rights(source: io::Error, step: &'static str) -> SandboxError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(errno @ (Errno::EPERM | Errno::EACCES)) => explain(errno, Switches::read(), true),
        _ => SandboxError::step(step)(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_is_named_with_its_remedy() {
        let on = Switches::default();
        for (errno, switches, expected) in [
            (Errno::EPERM, Switches { userns_clone: Some(0), ..on }, "unprivileged_userns_clone=1"),
            (Errno::EPERM, Switches { apparmor_restrict: Some(1), ..on }, "unprivileged_userns=0"),
            (Errno::ENOSPC, Switches { max_user: Some(0), ..on }, "max_user_namespaces=1000"),
            (Errno::ENOSPC, Switches { max_net: Some(0), ..on }, "max_net_namespaces=1000"),
            (Errno::EPERM, on, "seccomp"),
            (Errno::ENOSPC, on, "nest less"),
        ] {
            let error = explain(errno, switches, true);
            assert!(error.is_unavailable(), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(explain(Errno::EPERM, on, false).to_string().contains("run as root"));
    }

    #[test]
    fn threads_and_odd_errors_are_not_a_lack_of_namespaces() {
        let on = Switches::default();
        assert!(matches!(explain(Errno::EINVAL, on, true), SandboxError::Threads));
        assert!(!explain(Errno::ENOMEM, on, true).is_unavailable());
        assert!(!no_rights(io::ErrorKind::NotFound.into(), "look").is_unavailable());
        assert!(no_rights(Errno::EACCES.into(), "look").is_unavailable());
    }
}
