//! Moving the running program into namespaces of its own.
//!
//! The kernel makes a user namespace for a single-threaded process only and puts children, never
//! the caller, into a new PID namespace. So the program runs three times: the *outer* process makes
//! the namespaces and waits, the *init* is PID 1 inside and reaps, and the *program* goes on where
//! the caller stands. All three are the same executable with the same arguments.

mod error;
mod supervise;

use std::{
    env, fs, io,
    process::{self, Command},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
    unistd::{Pid, getegid, geteuid, getpid, getppid},
};

pub use self::error::SandboxError;
use self::error::{Switches, explain};

/// Tells a re-executed program which of the three it is. Children of the program inherit it, hence
/// the checks on process ids beside it.
const STAGE: &str = "VPC_CNI_SANDBOX_STAGE";
const STAGE_INIT: &str = "init:";
const STAGE_PROGRAM: &str = "program";

/// The first process of a PID namespace has number 1; the first that it starts has number 2.
const PROGRAM_PID: i32 = 2;

/// How a sandbox is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SandboxOptions {
    /// Make a user namespace, in which the caller is root. On by default: it needs no rights.
    ///
    /// It holds the caller's uid and gid alone, which is too little for a container runtime. Real
    /// root can do without one.
    pub user_namespace: bool,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self { user_namespace: true }
    }
}

/// Moves the program into new user, mount, network and PID namespaces, as root of them.
///
/// Call it first in `main`, before any thread is started. It returns `Ok` only inside the sandbox,
/// where `main` starts anew; the outer process waits in here and exits with the program's status,
/// 128+n if signal n killed it. It passes SIGINT, SIGTERM, SIGHUP and SIGQUIT on. When the outer
/// process dies, even by SIGKILL, everything inside dies with it. `/proc` is fresh, mounts made
/// inside stay inside, and the network namespace is empty.
///
/// # Errors
///
/// [`SandboxError::Unavailable`] if the machine does not offer namespaces. An error that comes up
/// inside is returned there; the outer process then exits with the status that `main` makes of it.
pub fn enter(options: &SandboxOptions) -> Result<(), SandboxError> {
    let status = match stage() {
        Stage::Program => {
            return supervise::unblock()
                .map_err(|e| SandboxError::step("unblock signals")(e.into()));
        }
        Stage::Init { outer } => run_init(&outer)?,
        Stage::Outer => run_outer(options)?,
    };
    process::exit(status)
}

/// True for the init and the program of a sandbox.
pub(super) fn is_under_way() -> bool {
    !matches!(stage(), Stage::Outer)
}

/// Which of the three this process is.
enum Stage {
    Outer,
    Init { outer: String },
    Program,
}

fn stage() -> Stage {
    let stage = env::var(STAGE).unwrap_or_default();
    if stage == STAGE_PROGRAM && getpid().as_raw() == PROGRAM_PID && getppid().as_raw() == 1 {
        return Stage::Program;
    }
    match stage.strip_prefix(STAGE_INIT) {
        Some(outer) if getpid().as_raw() == 1 => Stage::Init { outer: outer.to_owned() },
        _ => Stage::Outer,
    }
}

fn run_outer(options: &SandboxOptions) -> Result<i32, SandboxError> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    if options.user_namespace {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    // As /proc shows it, for the init can look nowhere else: see `run_init`.
    let own_pid = fs::read_link("/proc/self").map_err(SandboxError::step("read /proc/self"))?;
    unshare(flags).map_err(|e| explain(e, Switches::read(), options.user_namespace))?;
    if options.user_namespace {
        // The kernel takes a gid map from an ordinary user only after setgroups is off.
        map("/proc/self/setgroups", "deny", "switch setgroups off")?;
        map("/proc/self/uid_map", &format!("0 {uid} 1"), "map the user id")?;
        map("/proc/self/gid_map", &format!("0 {gid} 1"), "map the group id")?;
    }
    run_stage(&format!("{STAGE_INIT}{}", own_pid.display()))
}

fn run_init(outer: &str) -> Result<i32, SandboxError> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| SandboxError::step("ask for a parent-death signal")(e.into()))?;
    // The outer process may have died before that. getppid is 0 for a parent in another PID
    // namespace; /proc, still the outer one's, knows the number.
    let status = fs::read_to_string("/proc/self/status")
        .map_err(SandboxError::step("read /proc/self/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim);
    if parent != Some(outer) {
        return Err(SandboxError::OuterGone);
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|e| error::no_rights(e.into(), "make mounts private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(|source| match source {
        nix::errno::Errno::EPERM => SandboxError::Unavailable {
            why: "a fresh /proc may not be mounted because parts of the present one are covered",
            remedy: "run outside the container, or uncover its /proc (systempaths=unconfined)",
            source,
        },
        other => SandboxError::step("mount a fresh /proc")(other.into()),
    })?;
    run_stage(STAGE_PROGRAM)
}

/// Starts this program once more and waits for it.
fn run_stage(stage: &str) -> Result<i32, SandboxError> {
    let supervised = |e: nix::errno::Errno| SandboxError::step("wait for the program")(e.into());
    supervise::block().map_err(supervised)?;
    let mut args = env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = args.next() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    let child = command
        .args(args)
        .env(STAGE, stage)
        .spawn()
        .map_err(SandboxError::step("start the program again"))?;
    let pid = i32::try_from(child.id())
        .map_err(|e| SandboxError::step("read the program's process id")(io::Error::other(e)))?;
    supervise::wait(Pid::from_raw(pid)).map_err(supervised)
}

fn map(path: &str, text: &str, step: &'static str) -> Result<(), SandboxError> {
    fs::write(path, text).map_err(|e| error::no_rights(e, step))
}
