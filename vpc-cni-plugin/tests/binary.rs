//! The program itself, run as a container runtime runs it, as far as it goes without the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    ffi::OsString,
    fs,
    io::Write,
    os::unix::ffi::OsStringExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use vpc_cni_plugin::rpc::{AddNetworkReply, DelNetworkReply};

mod support;
use support::{Daemon, Script};

fn plugin(command: &str) -> Command {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_aws-cni"));
    plugin
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_NETNS", "/nonexistent/netns")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/nonexistent")
        .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart");
    plugin
}

fn run(mut plugin: Command, stdin: &[u8]) -> Output {
    plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = plugin.spawn().unwrap();
    // The plugin may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn conf(dir: &Path) -> Value {
    json!({"cniVersion": "1.0.0", "name": "aws-cni", "type": "aws-cni",
           "ipamdSocket": dir.join("ipamd.sock"), "pluginLogFile": dir.join("plugin.log")})
}

/// Code and text of the error that the runtime is told.
fn error(output: &Output) -> (u64, String) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stdout).expect("an error is JSON");
    (error["code"].as_u64().unwrap(), error.to_string())
}

#[test]
fn by_hand_it_introduces_itself() {
    let mut plugin = plugin("");
    plugin.env_clear();
    let output = run(plugin, b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("aws-cni") && text.contains("0.4.0, 1.0.0"), "{text}");
}

#[test]
fn version_needs_nothing() {
    let mut plugin = plugin("VERSION");
    plugin.env_clear().env("CNI_COMMAND", "VERSION");
    let output = run(plugin, br#"{"cniVersion":"1.0.0"}"#);
    assert_eq!(output.status.code(), Some(0));
    let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reply["cniVersion"], "1.0.0");
    assert_eq!(reply["supportedVersions"], json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}

#[test]
fn bad_invocations_have_the_codes_of_the_spec() {
    let dir = tempfile::tempdir().unwrap();
    let good = conf(dir.path()).to_string();
    assert_eq!(error(&run(plugin("REMOVE"), good.as_bytes())).0, 4);
    for malformed in ["", "{", "[]", r#"{"cniVersion":"1.0.0","name":"aws-cni","mtu":9001}"#] {
        assert_eq!(error(&run(plugin("ADD"), malformed.as_bytes())).0, 6, "{malformed}");
    }
    assert_eq!(error(&run(plugin("ADD"), br#"{"cniVersion":"1.0.0"}"#)).0, 7);
    assert_eq!(error(&run(plugin("ADD"), br#"{"name":"aws-cni"}"#)).0, 1);
    for (variable, value) in [
        ("CNI_NETNS", ""),
        ("CNI_IFNAME", "a/b"),
        ("CNI_CONTAINERID", "../c"),
        ("CNI_ARGS", "K8S_POD_NAME"),
        ("CNI_ARGS", ""),
    ] {
        let mut plugin = plugin("ADD");
        plugin.env(variable, value);
        let (code, text) = error(&run(plugin, good.as_bytes()));
        assert!(code == 4 && text.contains(variable), "{variable}={value}: {text}");
    }
    let mut plugin = plugin("ADD");
    plugin.env("CNI_CONTAINERID", OsString::from_vec(vec![0xc3, 0x28]));
    assert_eq!(error(&run(plugin, good.as_bytes())).0, 4);
}

#[test]
fn without_the_daemon_add_is_tried_again_and_del_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let conf = conf(dir.path()).to_string();
    let (code, text) = error(&run(plugin("ADD"), conf.as_bytes()));
    assert_eq!(code, 11);
    assert!(text.contains("ipamd.sock") && text.contains("aws-node"), "{text}");
    let mut del = plugin("DEL");
    del.env_remove("CNI_NETNS");
    let output = run(del, conf.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_daemon_without_addresses_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(
        &dir.path().join("ipamd.sock"),
        Script {
            add: Box::new(|_| Ok(AddNetworkReply::default())),
            del: Box::new(|_| Ok(DelNetworkReply { success: true, ..Default::default() })),
        },
    );
    let output = run(plugin("ADD"), conf(dir.path()).to_string().as_bytes());
    assert_eq!(error(&output).0, 11);
    let asked = daemon.asked.lock().unwrap();
    assert_eq!((asked.adds.len(), asked.dels.len()), (1, 0));
    assert_eq!(asked.adds[0].container_id, "c1");
}

#[test]
fn the_log_is_lines_of_json_and_never_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let mut conf = conf(dir.path());
    for command in ["ADD", "DEL"] {
        run(plugin(command), conf.to_string().as_bytes());
    }
    let log = fs::read_to_string(dir.path().join("plugin.log")).unwrap();
    let events: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(events.iter().any(|e| e["command"] == "ADD" && e["level"] == "error"), "{log}");
    assert!(events.iter().any(|e| e["command"] == "DEL" && e["msg"] == "done"), "{log}");
    assert!(events.iter().all(|e| e["pod_name"] == "cart" && e["ts"].is_string()), "{log}");

    conf["pluginLogFile"] = json!("/proc/nowhere/plugin.log");
    let output = run(plugin("DEL"), conf.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_log_file_that_is_standard_output_does_not_spoil_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let mut conf = conf(dir.path());
    for name in ["stdout", "/dev/stdout", "/proc/self/fd/1"] {
        conf["pluginLogFile"] = json!(name);
        let output = run(plugin("ADD"), conf.to_string().as_bytes());
        assert_eq!(error(&output).0, 11, "{name}");
        let output = run(plugin("DEL"), conf.to_string().as_bytes());
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{name}: {output:?}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = plugin("VERSION").stdin(Stdio::null()).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
