//! The program itself, as far as it goes without a node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::process::{Command, Output};

fn agent(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aws-k8s-agent"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_setting_that_cannot_stand_ends_it_with_one_clear_line() {
    for (env, says) in [
        (("AWS_VPC_ENI_MTU", "9002"), "AWS_VPC_ENI_MTU=\"9002\""),
        (("IP_COOLDOWN_PERIOD", "-1"), "IP_COOLDOWN_PERIOD=\"-1\""),
        (("AWS_VPC_K8S_CNI_VETHPREFIX", "eth"), "AWS_VPC_K8S_CNI_VETHPREFIX=\"eth\""),
        (("ENABLE_IPv6", "true"), "ENABLE_IPv6=true is not supported"),
        (("ENABLE_IPv4", "false"), "set ENABLE_IPv4=true"),
        (("ENABLE_PREFIX_DELEGATION", "true"), "set WARM_PREFIX_TARGET=1"),
    ] {
        let output = agent(&[], &[env]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
}

#[test]
fn a_state_file_in_use_ends_it_with_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipam.json");
    let _held = vpc_ipamd::store::FileStore::open(&path).unwrap();
    let log = dir.path().join("log");
    let env = [
        ("AWS_VPC_K8S_CNI_BACKING_STORE", path.to_str().unwrap()),
        ("AWS_VPC_K8S_CNI_LOG_FILE", log.to_str().unwrap()),
    ];
    let output = agent(&[], &env);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("another daemon holds"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(std::fs::read_to_string(log).unwrap().contains("another daemon holds"));
}

#[test]
fn it_prints_its_settings_and_its_version() {
    let output = agent(&["--settings"], &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), vpc_ipamd::settings::markdown());
    let output = agent(&["--version"], &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), vpc_ipamd::VERSION);
    assert_eq!(agent(&["--nonsense"], &[]).status.code(), Some(1));
}
