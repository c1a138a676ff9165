//! The sandbox and the harness themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
// Leaving children to others is what some of the parts below are for.
#![allow(clippy::zombie_processes)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid, getppid, getuid},
};
use vpc_datapath_linux::{
    cases,
    testkit::{
        harness::{self, Case, Outcome},
        sandbox::{self, SandboxOptions},
    },
};

/// Makes this program play another part than that of a test program.
const ROLE: &str = "FABRIC_SANDBOX_ROLE";

const LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match env::var(ROLE).as_deref() {
        Ok("harness") => {
            let mut table = cases![role_passes, role_fails, role_skips].to_vec();
            let hangs = Case::new("role_hangs", role_hangs);
            let limit = if env::var_os("FABRIC_PATIENT").is_some() {
                LIMIT
            } else {
                Duration::from_secs(1)
            };
            table.push(hangs.timeout(limit));
            harness::main(&table)
        }
        Ok(role) => play(role),
        Err(_) => harness::main(&table()),
    }
}

fn table() -> Vec<Case> {
    let ordinary = Case::new("an_ordinary_user_can_enter", an_ordinary_user_can_enter);
    let root =
        Case::new("root_can_do_without_a_user_namespace", root_can_do_without_a_user_namespace);
    let mut table = cases![
        the_program_is_root_of_its_own_namespaces,
        the_exit_status_comes_out,
        a_killed_program_gives_128_and_the_signal,
        sigterm_reaches_the_program,
        sigkill_of_the_outer_process_ends_everything,
        orphans_are_reaped,
        mounts_stay_inside,
        without_namespaces_every_case_is_a_skip,
        threads_are_refused_with_a_reason,
        the_harness_tells_pass_fail_and_skip_apart,
        the_harness_kills_what_hangs,
        the_harness_filters_and_lists,
        the_harness_takes_its_cases_along_when_killed,
        a_case_whose_harness_was_killed_at_once_does_not_run,
    ]
    .to_vec();
    table.push(ordinary.unsandboxed());
    table.push(root.unsandboxed());
    table
}

// Parts that the program plays when it is started again.

fn play(role: &str) -> ExitCode {
    let part: fn() -> ExitCode = match role {
        "exit-7" => || ExitCode::from(7),
        "abort" => || {
            kill(getpid(), Signal::SIGKILL).unwrap();
            ExitCode::SUCCESS
        },
        "sleep" => || {
            Command::new("/proc/self/exe").env(ROLE, "grandchild").spawn().unwrap();
            println!("ready {}", getuid());
            thread::sleep(LIMIT);
            ExitCode::SUCCESS
        },
        "grandchild" => {
            thread::sleep(LIMIT);
            return ExitCode::SUCCESS;
        }
        "orphan" => || {
            // The middle process leaves its child to the init.
            let mut middle =
                Command::new("/proc/self/exe").env(ROLE, "orphan-middle").spawn().unwrap();
            middle.wait().unwrap();
            let gone = poll(|| zombies().is_empty() && processes("orphan-end").is_empty());
            ExitCode::from(if gone { 0 } else { 1 })
        },
        "orphan-middle" => {
            Command::new("/proc/self/exe").env(ROLE, "orphan-end").spawn().unwrap();
            return ExitCode::SUCCESS;
        }
        "orphan-end" => {
            thread::sleep(Duration::from_millis(50));
            return ExitCode::SUCCESS;
        }
        "no-userns" => {
            let mut options = SandboxOptions::default();
            options.user_namespace = false;
            return match sandbox::enter(&options) {
                Ok(()) => {
                    let all = fs::read_to_string("/proc/self/uid_map").unwrap();
                    println!("{} {} {}", getpid(), getuid(), all.trim());
                    ExitCode::SUCCESS
                }
                Err(e) => {
                    eprintln!("{e}");
                    ExitCode::from(if e.is_unavailable() { 77 } else { 1 })
                }
            };
        }
        "thread" => {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let other = thread::spawn(move || stopped.recv());
            let error = sandbox::enter(&SandboxOptions::default()).unwrap_err();
            drop(stop);
            let _ = other.join();
            eprintln!("{error}");
            return ExitCode::from(if error.is_unavailable() { 1 } else { 9 });
        }
        other => panic!("no part {other}"),
    };
    match sandbox::enter(&SandboxOptions::default()) {
        Ok(()) => part(),
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(99)
        }
    }
}

fn role_passes() {}

fn role_fails() {
    println!("on stdout");
    panic!("on stderr");
}

fn role_skips() -> Outcome {
    Outcome::Skip("no such kernel".to_owned())
}

fn role_hangs() -> Outcome {
    if env::var_os("FABRIC_HANG").is_some() {
        thread::sleep(Duration::from_secs(60));
    }
    Outcome::Pass
}

fn myself(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ROLE, role).env_remove("VPC_CNI_TESTKIT_CASE").env_remove(harness::SKIP_LOG);
    command
}

fn poll(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Processes of this PID namespace that carry `ROLE=role` in their environment.
fn processes(role: &str) -> Vec<i32> {
    let wanted = format!("{ROLE}={role}");
    let carries = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.split(|b| *b == 0).any(|entry| entry == wanted.as_bytes()))
    };
    pids().filter(carries).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
}

fn zombies() -> Vec<i32> {
    pids()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| status.contains("State:\tZ"))
        })
        .collect()
}

fn started(role: &str) -> Child {
    let mut child = myself(role).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready 0\n");
    child
}

// Cases.

fn the_program_is_root_of_its_own_namespaces() {
    assert!(getuid().is_root());
    assert_eq!((getpid().as_raw(), getppid().as_raw()), (2, 1));
    assert!(pids().all(|pid| pid <= 2), "the fresh /proc shows this PID namespace alone");
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let names: Vec<_> = devices.lines().skip(2).filter_map(|l| l.split(':').next()).collect();
    assert!(names.iter().all(|n| n.trim() != "eth0"), "{names:?}");
}

fn the_exit_status_comes_out() {
    assert_eq!(myself("exit-7").status().unwrap().code(), Some(7));
}

fn a_killed_program_gives_128_and_the_signal() {
    assert_eq!(myself("abort").status().unwrap().code(), Some(128 + 9));
}

fn sigterm_reaches_the_program() {
    let mut child = started("sleep");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

fn sigkill_of_the_outer_process_ends_everything() {
    let mut child = started("sleep");
    // Outer, init, program and the grandchild, which becomes an outer process of nobody.
    assert!(poll(|| processes("sleep").len() == 3 && processes("grandchild").len() == 1));
    let namespace = fs::read_link(format!("/proc/{}/ns/net", child.id())).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let left = || [processes("sleep"), processes("grandchild")].concat();
    assert!(poll(|| left().is_empty()), "left over: {:?}", left());
    let holders: Vec<_> = pids()
        .filter(|pid| {
            fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|held| held == namespace)
        })
        .collect();
    assert!(holders.is_empty(), "{holders:?} still hold {}", namespace.display());
}

fn orphans_are_reaped() {
    assert_eq!(myself("orphan").status().unwrap().code(), Some(0));
}

fn an_ordinary_user_can_enter() -> Outcome {
    if !getuid().is_root() {
        assert_eq!(myself("exit-7").status().unwrap().code(), Some(7));
        return Outcome::Pass;
    }
    // The build's own directory may be closed to others.
    let copy = env::temp_dir().join(format!("vpc-cni-sandbox-{}", std::process::id()));
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let status = Command::new(&copy).env(ROLE, "exit-7").uid(65534).gid(65534).output();
    fs::remove_file(&copy).unwrap();
    match status {
        Ok(output) if output.status.code() == Some(7) => Outcome::Pass,
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("not available") => {
            Outcome::Skip(String::from_utf8_lossy(&output.stderr).into_owned())
        }
        other => Outcome::Fail(format!("{other:?}")),
    }
}

fn root_can_do_without_a_user_namespace() -> Outcome {
    let output = myself("no-userns").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => {
            assert!(out.starts_with("2 0 "), "{out}");
            Outcome::Pass
        }
        Some(77) => {
            // What an ordinary user must be told.
            assert!(err.contains("run as root"), "{err}");
            Outcome::Pass
        }
        _ => Outcome::Fail(format!("{out}{err}")),
    }
}

fn mounts_stay_inside() {
    let before = fs::read_to_string("/proc/self/mounts").unwrap();
    assert_eq!(myself("exit-7").status().unwrap().code(), Some(7));
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), before);
}

fn without_namespaces_every_case_is_a_skip() -> Outcome {
    let limit = Path::new("/proc/sys/user/max_user_namespaces");
    // The limit belongs to this user namespace; the machine's own is untouched.
    if fs::write(limit, "0").is_err() {
        return Outcome::Skip(format!("{} is not writable", limit.display()));
    }
    let log = env::temp_dir().join(format!("vpc-cni-skip-{}", std::process::id()));
    let output = myself("harness").env(harness::SKIP_LOG, &log).output().unwrap();
    let skips = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(skips.lines().count(), 4, "{skips}");
    for line in skips.lines() {
        assert!(line.starts_with("SKIP fabric_sandbox::role_"), "{line}");
        assert!(line.contains("user.max_user_namespaces is 0"), "{line}");
        assert!(line.contains("sysctl -w user.max_user_namespaces="), "{line}");
    }
    Outcome::Pass
}

fn threads_are_refused_with_a_reason() {
    let output = myself("thread").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(9), "{stderr}");
    assert!(stderr.contains("before the first thread"), "{stderr}");
}

fn the_harness_tells_pass_fail_and_skip_apart() {
    let log = env::temp_dir().join(format!("vpc-cni-skip-{}", std::process::id()));
    let output = myself("harness").env(harness::SKIP_LOG, &log).output().unwrap();
    let skips = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(101), "{stdout}");
    assert_eq!(skips, "SKIP fabric_sandbox::role_skips: no such kernel\n");
    for expected in ["on stdout", "on stderr", "test role_passes ", "FAILED. 3 passed; 1 failed"] {
        assert!(stdout.contains(expected), "{expected:?} is missing in {stdout}");
    }
    assert!(stdout.trim_end().lines().last().unwrap().starts_with("test result:"), "{stdout}");
}

fn the_harness_kills_what_hangs() {
    let output =
        myself("harness").env("FABRIC_HANG", "1").args(["--exact", "role_hangs"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(101), "{stdout}");
    assert!(stdout.contains("killed after 1s"), "{stdout}");
    assert!(poll(|| processes("harness").is_empty()), "{:?}", processes("harness"));
}

fn the_harness_takes_its_cases_along_when_killed() {
    let mut child = myself("harness")
        .envs([("FABRIC_HANG", "1"), ("FABRIC_PATIENT", "1")])
        .arg("role_hangs")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The harness, and the case's outer process, init and program.
    assert!(poll(|| processes("harness").len() == 4), "{:?}", processes("harness"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(poll(|| processes("harness").is_empty()), "{:?}", processes("harness"));
}

fn a_case_whose_harness_was_killed_at_once_does_not_run() {
    let output = myself("harness")
        .env("VPC_CNI_TESTKIT_CASE", "role_passes")
        .env("VPC_CNI_TESTKIT_HARNESS", "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("role_passes is gone"), "{stderr}");
}

fn the_harness_filters_and_lists() {
    let list = myself("harness").arg("--list").output().unwrap();
    let names = String::from_utf8_lossy(&list.stdout);
    assert!(names.contains("role_hangs: test"), "{names}");
    let one = myself("harness").args(["--exact", "role_passes"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&one.stdout);
    assert!(stdout.contains("1 passed; 0 failed; 0 ignored; 0 measured; 3 filtered"), "{stdout}");
}
