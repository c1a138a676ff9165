//! A test harness whose every case runs in a process and a [`sandbox`](super::sandbox) of its own.
//!
//! The built-in harness runs tests in threads, where no user namespace can be made. So a test file
//! says `harness = false` in its manifest entry and becomes a program:
//!
//! ```no_run
//! use vpc_datapath_linux::{cases, testkit::harness::{self, Outcome}};
//!
//! fn loopback_is_down() -> Outcome {
//!     match std::net::TcpStream::connect("127.0.0.1:9") {
//!         Err(_) => Outcome::Pass,
//!         Ok(_) => Outcome::Fail("connected to the machine's own network".into()),
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     harness::main(&cases![loopback_is_down])
//! }
//! ```
//!
//! It understands the arguments of `cargo test` (filters, `--list`, `--exact`, `--nocapture`, …).
//! A case that cannot run on this machine ends in [`Outcome::Skip`]: the line `SKIP name: reason`
//! goes to standard error and to the file named by [`SKIP_LOG`], and the case counts as passed in
//! the `test result:` line; who sums up subtracts the file's lines.

use std::{
    env,
    error::Error,
    fs::OpenOptions,
    io::{self, PipeReader, Read, Write},
    process::{self, Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::getppid,
};

use super::{
    probe::Unsupported,
    sandbox::{self, SandboxOptions},
};

/// Environment variable with the path of a file that collects one line for each skipped case.
pub const SKIP_LOG: &str = "VPC_CNI_SKIP_LOG";

/// Tells a re-executed test program which case it is to run.
const CASE: &str = "VPC_CNI_TESTKIT_CASE";

/// Process id of the test program that started the case.
const HARNESS: &str = "VPC_CNI_TESTKIT_HARNESS";

/// Precedes the reason of a skip in a case's output.
const SKIP_MARK: &str = "testkit-skip: ";

/// Exit status of a case that was skipped; what automake calls it too.
const EXIT_SKIP: u8 = 77;

/// Bound of a case that sets none. The longest of ours takes a few seconds on two busy cores.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How often a running case is looked at. Far below what a case takes to start.
const POLL: Duration = Duration::from_millis(5);

/// Output shown per case: enough to explain a failure.
const OUTPUT_MAX: usize = 1 << 20;

/// Bytes read at once: what a pipe holds.
const CHUNK: usize = 1 << 16;

/// How long output is awaited after a case has ended. All its processes are dead by then.
const DRAIN: Duration = Duration::from_secs(2);

/// How a case ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It could not be tried here, for this reason.
    Skip(String),
    /// It does not hold, for this reason. A panic is a failure too.
    Fail(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Pass
    }
}

impl<T: Into<Self>> From<Result<T, Box<dyn Error>>> for Outcome {
    fn from(result: Result<T, Box<dyn Error>>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => {
                if let Some(missing) = error.downcast_ref::<Unsupported>() {
                    return missing.clone().into();
                }
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(inner) = cause {
                    text = format!("{text}: {inner}");
                    cause = inner.source();
                }
                Self::Fail(text)
            }
        }
    }
}

/// One test case. [`cases!`](crate::cases) makes a table of them.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    run: fn() -> Outcome,
    timeout: Duration,
    sandboxed: bool,
}

impl Case {
    /// A case that runs `run` in a fresh sandbox, as its only thread.
    pub const fn new(name: &'static str, run: fn() -> Outcome) -> Self {
        Self { name, run, timeout: TIMEOUT, sandboxed: true }
    }

    /// Replaces the bound after which the case and all its processes are killed.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the case in a process of its own but on the machine as it is. What it starts is not
    /// killed with it.
    #[must_use]
    pub const fn unsandboxed(mut self) -> Self {
        self.sandboxed = false;
        self
    }
}

/// A table of [`Case`]s, named after the functions that it lists.
///
/// A function returns `()`, [`Outcome`](crate::testkit::harness::Outcome), or a `Result` of either
/// with `Box<dyn Error>`. An error fails the case, unless it is
/// [`Unsupported`](crate::testkit::probe::Unsupported): then the case is skipped.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        [$($crate::testkit::harness::Case::new(stringify!($name), || $name().into())),*]
    };
}

/// Runs a test program; to be returned from `main`, before which no thread may be started.
pub fn main(cases: &[Case]) -> ExitCode {
    if let Ok(name) = env::var(CASE) {
        return run_inside(cases, &name);
    }
    let args = Arguments::from_args();
    let capture = !args.nocapture;
    let trials =
        cases.iter().map(|&case| Trial::test(case.name, move || run_case(case, capture))).collect();
    libtest_mimic::run(&args, trials).exit_code()
}

/// The re-executed program: enters the sandbox, runs one case, tells the outcome by its status.
fn run_inside(cases: &[Case], name: &str) -> ExitCode {
    // Who kills the test program does not want its cases to go on.
    if let Err(e) = prctl::set_pdeathsig(Signal::SIGKILL) {
        eprintln!("cannot ask for a parent-death signal: {e}");
        return ExitCode::FAILURE;
    }
    // It may have been killed before that, and then nobody would bound the case. Further inside the
    // sandbox, which looks after itself, the parent is another process.
    let harness = env::var(HARNESS).ok().and_then(|pid| pid.parse().ok());
    if !sandbox::is_under_way() && harness != Some(getppid().as_raw()) {
        eprintln!("the test program that started case {name} is gone");
        return ExitCode::FAILURE;
    }
    let outcome = match cases.iter().find(|case| case.name == name) {
        None => Outcome::Fail(format!("there is no case {name}")),
        Some(case) if !case.sandboxed => (case.run)(),
        Some(case) => match sandbox::enter(&SandboxOptions::default()) {
            Err(e) if e.is_unavailable() => Outcome::Skip(e.to_string()),
            Err(e) => Outcome::Fail(e.to_string()),
            Ok(()) => (case.run)(),
        },
    };
    match outcome {
        Outcome::Pass => ExitCode::SUCCESS,
        Outcome::Skip(reason) => {
            println!("{SKIP_MARK}{}", reason.replace('\n', " "));
            ExitCode::from(EXIT_SKIP)
        }
        Outcome::Fail(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// The test program itself: starts one case, bounds it, and judges its status.
fn run_case(case: Case, capture: bool) -> Result<(), Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.env(CASE, case.name).env(HARNESS, process::id().to_string()).stdin(Stdio::null());
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?);
    if capture {
        command.stderr(writer);
    }
    let mut child = command.spawn()?;
    // It holds the write end; the reader would wait for itself.
    drop(command);
    let (sender, receiver) = mpsc::channel();
    let collector = thread::spawn(move || collect(reader, &sender));
    let status = wait(&mut child, case.timeout)?;
    let output = drain(&receiver, &collector);
    if !capture {
        print!("{output}");
    }
    let Some(status) = status else {
        return Err(format!("killed after {:?}\n{output}", case.timeout).into());
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(EXIT_SKIP) => {
            let reason = output.lines().rev().find_map(|line| line.strip_prefix(SKIP_MARK));
            note_skip(case.name, reason.ok_or("the case was skipped without a reason")?)?;
            Ok(())
        }
        _ => Err(format!("{status}\n{output}").into()),
    }
}

/// Waits for the end of a case; `None` if it had to be killed, which ends its PID namespace too.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Reads to the end, so that a talkative case never blocks.
fn collect(mut reader: PipeReader, sender: &mpsc::Sender<Vec<u8>>) {
    let mut chunk = vec![0; CHUNK];
    let mut sent = 0;
    while let Ok(n @ 1..) = reader.read(&mut chunk) {
        if sent <= OUTPUT_MAX {
            sent += n;
            let _ = sender.send(chunk.get(..n).unwrap_or_default().to_vec());
        }
    }
}

/// What the case wrote. A process that it left behind could hold the pipe open for ever, so the
/// wait for the end is bounded.
fn drain(receiver: &mpsc::Receiver<Vec<u8>>, collector: &JoinHandle<()>) -> String {
    let deadline = Instant::now() + DRAIN;
    while !collector.is_finished() && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    let mut kept: Vec<u8> = receiver.try_iter().flatten().collect();
    if kept.len() > OUTPUT_MAX {
        kept.truncate(OUTPUT_MAX);
        kept.extend_from_slice(b"\n[cut]\n");
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn note_skip(case: &str, reason: &str) -> io::Result<()> {
    // Two programs may have cases of the same name; the lines are counted after `sort -u`.
    let line = format!("SKIP {}::{case}: {reason}\n", program_name());
    eprint!("{line}");
    let Some(path) = env::var_os(SKIP_LOG) else { return Ok(()) };
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

/// File name of this program without the hash that cargo appends.
fn program_name() -> String {
    let exe = env::current_exe().unwrap_or_default();
    let stem = exe.file_name().unwrap_or_default().to_string_lossy();
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 => name.to_owned(),
        _ => stem.into_owned(),
    }
}
