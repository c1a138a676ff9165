//! The program as a test in another language sees it: a line of JSON, HTTP, a signal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

struct Emulator {
    child: Child,
    urls: Value,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(options: &[&str]) -> Emulator {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vpc-emulator"))
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let urls = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
    Emulator { child, urls }
}

/// Status and body.
fn http(url: &str, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl Emulator {
    fn ec2(&self, query: &str) -> (u16, String) {
        let body = format!("{query}&Version=2016-11-15");
        http(self.urls["ec2"].as_str().unwrap(), "POST", "/", "", &body)
    }

    fn instances(&self) -> Vec<(String, String)> {
        let all = self.urls["instances"].as_object().unwrap();
        all.iter().map(|(id, url)| (id.clone(), url.as_str().unwrap().to_owned())).collect()
    }

    fn control(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let url = self.urls["control"].as_str().unwrap().strip_suffix("/_control").unwrap();
        http(url, method, &format!("/_control/{path}"), "", body)
    }

    /// Ends it with a signal; true if it ended well, with nothing more to say.
    fn end(mut self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let ended = self.child.wait().unwrap().success();
        let mut rest = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        ended && rest.is_empty()
    }
}

fn metadata(url: &str, path: &str) -> String {
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let (status, token) = http(url, "PUT", "/latest/api/token", ttl, "");
    assert_eq!(status, 200);
    let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
    let (status, body) = http(url, "GET", &format!("/latest/meta-data/{path}"), &header, "");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[test]
fn a_world_of_two_zones_without_any_file() {
    let emulator = start(&[]);
    let instances = emulator.instances();
    let mut zones: Vec<String> =
        instances.iter().map(|(_, url)| metadata(url, "placement/availability-zone")).collect();
    zones.sort();
    assert_eq!(zones, ["us-west-2a", "us-west-2b"]);
    for (id, url) in &instances {
        assert_eq!(metadata(url, "instance-id"), *id);
        assert_eq!(metadata(url, "instance-type"), "m5.large");
    }
    let (status, xml) = emulator.ec2("Action=DescribeSubnets");
    assert_eq!((status, xml.matches("<subnetId>").count()), (200, 2), "{xml}");
    // Seconds since 1970, give or take an hour: the wall clock.
    let state: Value = serde_json::from_str(&emulator.control("GET", "state", "").1).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(state["now_ms"].as_u64().unwrap().abs_diff(now * 1000) < 3_600_000);
    assert!(emulator.end(Signal::SIGTERM));
}

#[test]
fn files_make_the_world_and_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    let (world, faults) = (dir.path().join("w.toml"), dir.path().join("f.toml"));
    std::fs::write(
        &world,
        "imds_v1 = true\n[[vpcs]]\ncidrs = [\"10.9.0.0/16\"]\n[[vpcs.subnets]]\nname = \"a\"\nzone = \"c\"\n\
         cidr = \"10.9.0.0/24\"\n[[instances]]\nid = \"i-mine\"\ntype = \"t3.small\"\nsubnet = \"a\"\n",
    )
    .unwrap();
    std::fs::write(&faults, "[[ec2]]\nerror = \"UnauthorizedOperation\"\n").unwrap();
    let emulator =
        start(&["--world", world.to_str().unwrap(), "--faults", faults.to_str().unwrap()]);
    let (status, xml) = emulator.ec2("Action=DescribeVpcs");
    assert!(status == 403 && xml.contains("<Code>UnauthorizedOperation</Code>"), "{xml}");
    assert!(emulator.ec2("Action=DescribeVpcs").1.contains("10.9.0.0/16"));
    let (id, url) = emulator.instances().remove(0);
    assert_eq!(id, "i-mine");
    assert_eq!(http(&url, "GET", "/latest/meta-data/local-ipv4", "", "").1, "10.9.0.4");
    assert_eq!(emulator.control("POST", "faults", "[[imds]]\nstatus = 500").0, 200);
    assert_eq!(http(&url, "GET", "/latest/meta-data/local-ipv4", "", "").0, 500);
    assert!(emulator.end(Signal::SIGINT));
}

#[test]
fn an_open_connection_does_not_keep_it() {
    let emulator = start(&[]);
    let host = emulator.urls["ec2"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let mut half = TcpStream::connect(host).unwrap();
    half.write_all(b"POST / HTTP/1.1\r\n").unwrap();
    assert!(emulator.end(Signal::SIGTERM));
}

#[test]
fn it_ends_when_nobody_is_left_on_standard_input() {
    let mut emulator = start(&["--until-stdin-closes"]);
    drop(emulator.child.stdin.take());
    assert!(emulator.child.wait().unwrap().success());
    let url = emulator.urls["ec2"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    assert!(TcpStream::connect(url).is_err(), "nobody listens any more");
}

#[test]
fn mistakes_are_told_with_their_place_and_nothing_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    for (option, text, want) in [
        (
            "--world",
            "[[vpcs]]\ncidrs = [\"10.0.0.0/8\"]",
            "bad.toml:2:10: vpcs.cidrs: 10.0.0.0/8 is",
        ),
        ("--faults", "[[ec2]]\nerorr = 1", "bad.toml:2:1: unknown field `erorr`"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_vpc-emulator"))
            .args([option, file.to_str().unwrap()])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(error.contains(want), "{error}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_vpc-emulator"))
        .args(["--ec2", &address])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("choose another address with --ec2")
    );
}
