//! The emulator driven by EC2 and metadata clients that others wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    env,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// A running `vpc-emulator`; ends with this value.
struct Emulator {
    process: Child,
    ec2: String,
    imds: Vec<String>,
}

impl Emulator {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_vpc-emulator"))
            .args(["--ec2", "127.0.0.1:0", "--imds", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON when it is ready");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let imds = ready["instances"].as_object().unwrap().values().map(text).collect();
        Self { process, ec2: text(&ready["ec2"]), imds }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The Python with foreign clients; `None`, after a note, where they are not installed.
fn python(test: &str) -> Option<PathBuf> {
    if let Some(dir) = env::var_os("VPC_CNI_FOREIGN") {
        return Some(Path::new(&dir).join("bin/python"));
    }
    let why = env::var("VPC_CNI_FOREIGN_WHY")
        .unwrap_or_else(|_| "foreign clients are installed by `make test` only".to_owned());
    let skip = format!("SKIP foreign::{test}: {why}");
    eprintln!("{skip}");
    if let Some(path) = env::var_os("VPC_CNI_SKIP_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(log, "{skip}").unwrap();
    }
    None
}

fn play(python: &Path, script: &str, arguments: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let done = Command::new(python)
        // Nothing is written beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(folder.join(script))
        .args(arguments)
        .output()
        .unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", told(&done.stdout));
    assert!(done.status.success(), "{script}: {}", told(&done.stderr));
}

#[test]
fn boto3_takes_an_eni_through_its_whole_life_and_knows_every_element() {
    let Some(python) = python("boto3") else { return };
    let emulator = Emulator::start();
    play(&python, "boto3_life_cycle.py", &[&emulator.ec2]);
}

#[test]
fn the_aws_command_line_client_takes_an_eni_through_its_life() {
    let Some(python) = python("aws_cli") else { return };
    let (emulator, home) = (Emulator::start(), tempfile::tempdir().unwrap());
    play(&python, "aws_cli.py", &[&emulator.ec2, home.path().to_str().unwrap()]);
}

#[test]
fn foreign_metadata_clients_find_what_ec2_says() {
    let Some(python) = python("imds") else { return };
    let emulator = Emulator::start();
    assert!(!emulator.imds.is_empty());
    for imds in &emulator.imds {
        play(&python, "imds.py", &[imds, &emulator.ec2]);
    }
}
