//! The simulator as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const FILES: [&str; 4] = ["pool.csv", "report.html", "summary.csv", "waits.csv"];

fn simulate(out: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate"))
        .args(args)
        .arg("--out")
        .arg(out)
        .output()
        .expect("the simulator starts")
}

fn json(out: &Path, args: &[&str]) -> Value {
    let output = simulate(out, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Everything that a run leaves: standard output and files.
fn results(args: &[&str]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let output = simulate(dir.path(), args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = FILES.iter().map(|name| fs::read(dir.path().join(name)).unwrap());
    std::iter::once(output.stdout).chain(files).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let args = ["--nodes", "5", "--hours", "2", "--workload", "bursts", "--faults", "throttled"];
    let run =
        |seed, threads| results(&[&args[..], &["--seed", seed, "--threads", threads]].concat());
    let first = run("3", "1");
    assert!(first == run("3", "3"), "results depend on the number of threads");
    // The seed itself stands in the title; pool.csv has nothing but results.
    let pool = |results: &[Vec<u8>]| results[1].clone();
    assert!(pool(&first) != pool(&run("4", "1")), "results do not depend on the seed");
}

#[test]
fn figures_agree_with_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let run = json(dir.path(), &["--hours", "3", "--workload", "steady"]);
    let policies = run["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 3);
    for p in policies {
        let of = |name: &str| p[name].as_f64().unwrap();
        let apart = of("held_per_node") - of("used_per_node") - of("idle_per_node");
        assert!(apart.abs() < 0.02, "{p}");
        assert!(of("used_per_node") > 30.0, "{p}");
        assert!(of("ec2_calls_per_node_hour") > 1.0, "{p}");
        assert_eq!((of("failed_adds"), of("throttled_calls")), (0.0, 0.0), "{p}");
        let events = run["pod_events"].as_f64().unwrap();
        assert!(of("pods_started") > 0.45 * events && of("pods_started") < 0.6 * events, "{p}");
    }
    // A spare ENI of 14 addresses is more than five addresses.
    let idle = |n: usize| policies[n]["idle_per_node"].as_f64().unwrap();
    assert!(idle(0) > idle(1), "{run}");
}

#[test]
fn every_fault_is_survived_and_leaves_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--hours", "6", "--workload", "bursts", "--policy", "warm-ip", "--seed", "5"];
    let run = |faults: &str| {
        let mut all = args.to_vec();
        if !faults.is_empty() {
            all.extend(["--faults", faults]);
        }
        json(dir.path(), &all)["policies"][0].clone()
    };
    let calm = run("");
    for fault in [
        "blackout",
        "crowded",
        "disk",
        "fragmented",
        "lagging",
        "outage",
        "rate-limited",
        "restarts",
        "slow-ec2",
        "small-subnet",
        "throttled",
    ] {
        let hit = run(fault);
        assert!(hit["pods_started"].as_u64().unwrap() > 50, "{fault}: {hit}");
        // Single addresses do not care how the free ones lie.
        assert!(hit != calm || fault == "fragmented", "{fault} changes nothing");
    }
    assert!(run("throttled")["throttled_calls"].as_u64().unwrap() > 0);
    assert!(run("rate-limited")["throttled_calls"].as_u64().unwrap() > 0);
    assert!(run("crowded")["subnet_exhausted_calls"].as_u64().unwrap() > 0);
    assert!(run("blackout")["unreachable_calls"].as_u64().unwrap() > 0);
    assert!(run("disk")["failed_adds"].as_u64().unwrap() > 0);
}

#[test]
fn a_fragmented_subnet_has_nothing_for_prefixes() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--hours", "2", "--workload", "steady", "--policy", "warm-prefix"];
    let run = json(dir.path(), &[&args[..], &["--faults", "fragmented"]].concat());
    assert!(run["policies"][0]["subnet_exhausted_calls"].as_u64().unwrap() > 0, "{run}");
}

#[test]
fn a_trace_is_played() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.csv");
    fs::write(&trace, "seconds,node,pod,change\n5,0,a,start\n6,0,b,start\n300,0,a,stop\n").unwrap();
    let run = json(dir.path(), &["--workload", trace.to_str().unwrap(), "--policy", "warm-eni"]);
    assert_eq!(run["pod_events"], 3);
    assert_eq!(run["policies"][0]["pods_started"], 2);
    assert_eq!(run["workload"], "trace.csv");
    let waits = fs::read_to_string(dir.path().join("waits.csv")).unwrap();
    assert!(waits.lines().skip(1).all(|line| line.starts_with("warm-eni,")), "{waits}");
}

#[test]
fn all_workloads_are_compared_in_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["--workload", "all", "--hours", "1", "--policy", "warm-eni", "--policy", "adaptive"];
    let output = simulate(dir.path(), &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    let page = fs::read_to_string(dir.path().join("workloads.md")).unwrap();
    for name in ["steady", "bursts", "rollout", "cron", "daily", "drain"] {
        assert_eq!(table.matches(name).count(), 2, "{table}");
        assert_eq!(page.matches(&format!("| {name} |")).count(), 2, "{page}");
        assert!(dir.path().join(name).join("report.html").exists());
    }
    let runs = json(dir.path(), &args);
    let adaptive = &runs["workloads"][4]["policies"][1];
    let csv = fs::read_to_string(dir.path().join("workloads.csv")).unwrap();
    let idle = adaptive["idle_per_node"].as_f64().unwrap();
    assert!(csv.contains(&format!("daily,adaptive,{idle},")), "{csv}");
}

#[test]
fn the_report_needs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        simulate(dir.path(), &["--hours", "1", "--policy", "WARM_IP_TARGET=2,MINIMUM_IP_TARGET=4"]);
    assert!(output.status.success());
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    for outside in ["http:", "https:", "src=", "url(", "<script"] {
        assert!(!page.contains(outside), "the page refers to {outside}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(!page.contains("NaN") && !page.contains("inf"), "a plot has no numbers");
    let csv = fs::read_to_string(dir.path().join("summary.csv")).unwrap();
    assert!(csv.contains("\"WARM_IP_TARGET=2,MINIMUM_IP_TARGET=4\","), "{csv}");
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["--workload", "weekly"][..], "there is no workload \"weekly\""),
        (&["--instance-type", "m9.huge"], "known: c5.large"),
        (&["--policy", "ENABLE_PREFIX_DELEGATION=true"], "prefix delegation needs"),
    ] {
        let output = simulate(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{args:?}: {said}");
    }
}
