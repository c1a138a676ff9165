//! The examples of the library, as a reader runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    process::{Command, Output},
};

fn lines(program: &str, args: &[&str]) -> Vec<String> {
    let output = run(program, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().expect("the example starts")
}

/// Lines that begin with `word`.
fn of<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(word)).collect()
}

#[test]
fn a_cloud_of_ones_own_is_asked_for_what_pods_need_and_gets_back_what_they_do_not() {
    let lines = lines(env!("CARGO_BIN_EXE_custom_cni"), &[]);
    let answers = of(&lines, "ADD ");
    let expected = [
        "pod-1: 10.7.0.10, table 254",
        "pod-2: 10.7.0.11, table 254",
        "pod-3: 10.7.0.12, table 254",
        "pod-4: 10.7.0.13, table 254",
        "pod-5: 10.7.1.10, table 2",
        "pod-6: 10.7.1.11, table 2",
    ];
    assert_eq!(answers, expected);
    assert_eq!(of(&lines, "DEL ").len(), 5);
    // What is plugged in and pulled out again, in this order.
    let ports: Vec<_> = of(&lines, "rack: eni-port");
    assert_eq!(ports, ["1 plugged in", "1 pulled out"]);
    assert_eq!(lines.last().unwrap(), "1 of 2 addresses in use on 1 port(s)");
}

#[test]
fn a_fixed_block_serves_pods_without_any_cloud() {
    let lines = lines(env!("CARGO_BIN_EXE_static_pool"), &[]);
    let answers = of(&lines, "ADD ");
    let (before, after) = answers.split_at(4);
    assert_eq!(before[0], "pod-1: 192.168.7.64");
    assert_eq!(before[3], "pod-4: 192.168.7.67");
    assert_eq!(after[0], before[0], "the restart has changed an address");
    assert!(after[1].contains("4 of 4 addresses in use"), "{}", after[1]);
    assert!(after[2].contains("1 released address(es) rest"), "{}", after[2]);
    assert_eq!(after[3..], ["one-more: 192.168.7.65"]);
}

#[test]
fn a_fixed_block_comes_from_a_file_and_a_wrong_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pool.json");
    let config = |pods: &str| {
        format!(
            r#"{{"interface":"02:00:00:00:00:09","node":"10.0.0.1","subnet":"10.0.0.0/8","pods":"{pods}"}}"#
        )
    };
    let path = file.to_str().unwrap();
    fs::write(&file, config("10.9.0.0/29")).unwrap();
    let eight = lines(env!("CARGO_BIN_EXE_static_pool"), &[path]);
    assert_eq!(of(&eight, "ADD pod-8")[0], ": 10.9.0.7");
    for (pods, words) in [("10.9.0.0/16", "too large for a node"), ("10.9.0.0/33", "10.9.0.0/33")] {
        fs::write(&file, config(pods)).unwrap();
        let output = run(env!("CARGO_BIN_EXE_static_pool"), &[path]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
}

/// They are promised to be short.
#[test]
fn the_examples_fit_on_two_pages() {
    for name in ["custom_cni", "static_pool"] {
        let path = format!("{}/src/bin/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 150, "{name} has {lines} lines");
    }
}
