//! Starting the built program, and what comes of it.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// No run takes a tenth of this; a hanging one must not hang the suite.
const RUN_DEADLINE: Duration = Duration::from_secs(180);
/// An ordinary user that every system has.
const NOBODY: u32 = 65_534;

/// One box at a time: each fills the machine, and figures of two at once mean little.
static TURN: Mutex<()> = Mutex::new(());

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The last line of standard output.
    pub(crate) fn json(&self) -> Value {
        let last = self.stdout.lines().next_back().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.told()))
    }

    pub(crate) fn told(&self) -> String {
        format!("status {:?}\n{}\n{}", self.code, self.stderr, self.stdout)
    }
}

/// Runs the box to its end; `None`, after a note, if this machine has no namespaces for it.
pub(crate) fn run(args: &str) -> Option<Run> {
    let _turn = turn();
    finish(command(args))
}

/// Same, as an ordinary user where the caller is root.
pub(crate) fn run_as_nobody(args: &str) -> Option<Run> {
    let _turn = turn();
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The build directory may be one that only its owner can enter.
    let bin = |name: &str| {
        let (from, to) = (beside(name), home.path().join(name));
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).unwrap();
        to
    };
    let exe = bin("vpc-in-a-box");
    bin("aws-k8s-agent");
    bin("aws-cni");
    let mut command = Command::new(exe);
    command.args(args.split_whitespace()).current_dir(home.path());
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    finish(command)
}

/// Starts the box and leaves it running.
pub(crate) fn start(args: &str) -> Option<Running> {
    let turn = turn();
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    Some(Running { child, out, _turn: turn })
}

/// A box that runs.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    _turn: MutexGuard<'static, ()>,
}

impl Running {
    /// Reads its output until a line contains `part`.
    pub(crate) fn wait_for(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let n = self.out.read_line(&mut line).unwrap();
            assert!(n > 0, "the box ended before it said {part:?}");
        }
    }

    /// The box and all processes below it.
    pub(crate) fn descendants(&self) -> Vec<Process> {
        let all = Process::all();
        let mut family = vec![self.child.id()];
        // A child's number may be lower than its parent's once numbers have wrapped around.
        loop {
            let more: Vec<u32> = all
                .iter()
                .filter(|p| family.contains(&p.parent) && !family.contains(&p.pid))
                .map(|p| p.pid)
                .collect();
            if more.is_empty() {
                return all.into_iter().filter(|p| family.contains(&p.pid)).collect();
            }
            family.extend(more);
        }
    }

    /// SIGKILL, to the outermost process alone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process, told from a later one of the same number by when it started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Process {
    pid: u32,
    parent: u32,
    name: String,
    started: u64,
}

impl Process {
    fn all() -> Vec<Self> {
        let pids = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::read).collect()
    }

    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        // A zombie holds nothing; only its parent's wait is missing.
        if *fields.first()? == "Z" {
            return None;
        }
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            name: head.split_once('(')?.1.to_owned(),
            started: fields.get(19)?.parse().ok()?,
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started)
    }
}

/// Notes a skip where the test script counts them.
pub(crate) fn skip(what: &str, reason: &str) {
    let line = format!("SKIP vpc-in-a-box {what}: {reason}");
    println!("{line}");
    if let Some(path) = env::var_os("VPC_CNI_SKIP_LOG") {
        let mut log = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(log, "{line}").unwrap();
    }
}

fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vpc-in-a-box"));
    command.args(args.split_whitespace());
    command
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_vpc-in-a-box")).parent().unwrap().join(name)
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn finish(mut command: Command) -> Option<Run> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let deadline = Instant::now() + RUN_DEADLINE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
        }
    };
    let run = Run { code: status.code(), stdout: out.join().unwrap(), stderr: err.join().unwrap() };
    if run.stderr.contains("namespaces are not available") {
        skip("run", run.stderr.trim());
        return None;
    }
    Some(run)
}

fn read(pipe: Option<impl io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    let mut pipe = pipe.unwrap();
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}
