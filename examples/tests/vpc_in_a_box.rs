//! The built program, run as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Run, run, start};

/// Kinds of probes that a layout of several ENIs on several nodes must have.
const ALL_KINDS: [&str; 11] = [
    "pod_to_pod_same_eni",
    "pod_to_pod_across_enis",
    "pod_to_pod_across_nodes",
    "pod_to_node",
    "node_to_pod",
    "pod_to_vpc",
    "vpc_to_pod",
    "pod_to_internet",
    "internet_to_pod_refused",
    "flow_of_100",
    "large_packet",
];

/// Runs with `--json` and expects a pass. `None` if this machine has no namespaces.
fn pass(args: &str) -> Option<Value> {
    let run = run(&format!("--json {args}"))?;
    let json = run.json();
    assert_eq!(run.code, Some(0), "{args}: {}", run.told());
    for zero in ["probes_failed", "source_check_drops", "leftovers"] {
        assert_eq!(json[zero], 0, "{args}: {}", run.told());
    }
    assert_eq!(json["passed"], true, "{args}: {}", run.told());
    Some(json)
}

/// Runs with `--json` and expects the verdict to be a failure.
fn fail(args: &str) -> Option<(Run, Value)> {
    let run = run(&format!("--json {args}"))?;
    let json = run.json();
    assert_eq!(run.code, Some(1), "{args}: {}", run.told());
    assert_eq!(json["passed"], false, "{args}: {}", run.told());
    Some((run, json))
}

fn total(json: &Value, kind: &str) -> u64 {
    ["tcp", "udp"]
        .iter()
        .map(|p| json["probes"][format!("{kind}_{p}")]["total"].as_u64().unwrap_or(0))
        .sum()
}

#[test]
fn the_default_passes_and_tells_every_promised_figure() {
    let Some(json) = pass("") else { return };
    assert_eq!(json["nodes"], 2);
    assert_eq!(json["pods"], 40);
    assert_eq!(json["enis"], 6, "9 + 9 + 2 pods on the 3 ENIs of each m5.large");
    assert_eq!(json["prefixes"], 0);
    for kind in ALL_KINDS {
        assert!(total(&json, kind) > 0, "{kind}: {json}");
    }
    for kind in ["pod_to_internet", "internet_to_pod_refused", "pod_to_node", "node_to_pod"] {
        assert_eq!(total(&json, kind), 80, "{kind}: every pod, by TCP and UDP");
    }
    for figure in ["add_ms", "del_ms"] {
        for percentile in ["p50", "p90", "p99"] {
            assert!(json[figure][percentile].as_f64().unwrap() > 0.0, "{figure}: {json}");
        }
    }
    assert!(json["ec2_calls"]["CreateNetworkInterface"].as_u64().unwrap() >= 4, "{json}");
    assert!(json["ipamd_rss_kb"].as_u64().unwrap() > 1_000, "{json}");
    let sum: u64 = json["probes"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count["total"].as_u64().unwrap())
        .sum();
    assert_eq!(json["probes_total"].as_u64().unwrap(), sum);
}

#[test]
fn it_passes_when_ec2_and_metadata_fail_at_first() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/rough.toml");
    let Some(json) = pass(&format!("--faults {file}")) else { return };
    assert_eq!(json["enis"], 6, "nothing is left of the ENI that could not be attached: {json}");
    let calls = |action: &str| json["ec2_calls"][action].as_u64().unwrap_or(0);
    assert_eq!(calls("DeleteNetworkInterface"), 1, "{json}");
    assert_eq!(calls("AttachNetworkInterface"), 5, "four ENIs and one that was deleted: {json}");
    assert_eq!(calls("CreateNetworkInterface"), 8, "the same, and three that were refused: {json}");
}

#[test]
fn prefix_mode_passes() {
    let Some(json) = pass("--mode prefix") else { return };
    assert!(json["prefixes"].as_u64().unwrap() >= 4, "20 pods need two prefixes a node: {json}");
    assert_eq!(total(&json, "pod_to_pod_across_enis"), 0, "one ENI a node holds them all");
}

#[test]
fn prefixes_on_several_enis_pass() {
    let Some(json) = pass("--mode prefix --nodes 1 --pods 60 --instance-type t3.small") else {
        return;
    };
    assert!(json["enis"].as_u64().unwrap() >= 2, "{json}");
    assert!(total(&json, "pod_to_pod_across_enis") > 0, "{json}");
    assert_eq!(total(&json, "pod_to_pod_across_nodes"), 0, "{json}");
}

#[test]
fn one_node_passes_whatever_rp_filter_was_and_whatever_the_cni_version() {
    for (rp_filter, cni) in [(0, "1.0.0"), (2, "0.4.0")] {
        let args = format!("--nodes 1 --pods 20 --rp-filter {rp_filter} --cni-version {cni}");
        if pass(&args).is_none() {
            return;
        }
    }
}

#[test]
fn a_hundred_and_twenty_pods_on_three_large_nodes_pass() {
    let Some(json) = pass("--nodes 3 --pods 120 --instance-type m5.4xlarge") else { return };
    assert_eq!(json["pods"], 120);
}

#[test]
fn a_small_instance_can_be_filled() {
    let Some(json) = pass("--instance-type t3.small --nodes 1 --pods 8") else { return };
    assert_eq!(json["enis"], 3);
}

#[test]
fn more_pods_than_fit_is_refused_at_once_with_numbers() {
    let Some(run) = run("--json --nodes 2 --pods 55") else { return };
    assert_eq!(run.code, Some(2), "{}", run.told());
    assert!(run.stdout.is_empty(), "{}", run.told());
    for part in ["55 pods do not fit", "hold 54", "27 each", "--nodes 3"] {
        assert!(run.stderr.contains(part), "{part:?}: {}", run.told());
    }
    assert_eq!(run.stderr.lines().count(), 1, "something was started: {}", run.told());
}

#[test]
fn an_unknown_instance_type_is_refused_with_the_known_ones() {
    let Some(run) = run("--instance-type m9.huge") else { return };
    assert_eq!(run.code, Some(2), "{}", run.told());
    for part in ["m9.huge", "m5.large", "t3.small"] {
        assert!(run.stderr.contains(part), "{part:?}: {}", run.told());
    }
}

#[test]
fn missing_programs_are_named_with_the_way_to_build_them() {
    let dir = tempfile::tempdir().unwrap();
    let Some(run) = run(&format!("--bin-dir {}", dir.path().display())) else { return };
    assert_eq!(run.code, Some(2), "{}", run.told());
    for part in ["aws-k8s-agent", "make demo"] {
        assert!(run.stderr.contains(part), "{part:?}: {}", run.told());
    }
}

#[test]
fn without_a_source_map_the_vpc_drops_and_the_verdict_names_the_eni() {
    let Some((run, json)) = fail("--nodes 1 --pods 12 --sabotage no-source-map") else { return };
    assert!(json["source_check_drops"].as_u64().unwrap() > 0, "{}", run.told());
    assert!(json["probes_failed"].as_u64().unwrap() > 0, "{}", run.told());
    assert!(mentions(&json, "does not own"), "{}", run.told());
}

#[test]
fn with_crossed_tables_the_vpc_drops() {
    let Some((run, json)) = fail("--nodes 1 --pods 12 --sabotage wrong-table") else { return };
    assert!(json["source_check_drops"].as_u64().unwrap() > 0, "{}", run.told());
    assert!(mentions(&json, "does not own"), "{}", run.told());
}

#[test]
fn without_snat_the_internet_is_out_of_reach_and_the_verdict_says_why() {
    let Some((run, json)) = fail("--nodes 1 --pods 12 --sabotage no-snat") else { return };
    let internet = &json["probes"]["pod_to_internet_tcp"];
    assert_eq!(internet["failed"], internet["total"], "{}", run.told());
    assert_eq!(json["probes"]["pod_to_node_tcp"]["failed"], 0, "{}", run.told());
    assert!(mentions(&json, "not translated"), "{}", run.told());
}

#[test]
fn a_strict_reverse_path_check_is_found_out() {
    let Some((run, json)) = fail("--nodes 1 --pods 12 --sabotage strict-rp-filter") else { return };
    assert!(json["probes_failed"].as_u64().unwrap() > 0, "{}", run.told());
    assert!(mentions(&json, "rp_filter"), "{}", run.told());
}

fn mentions(json: &Value, part: &str) -> bool {
    json["failures"].as_array().unwrap().iter().any(|f| f.as_str().unwrap().contains(part))
}

#[test]
fn a_daemon_killed_in_the_middle_of_the_scale_up_changes_nothing() {
    let args = "--nodes 1 --pods 24";
    let Some(undisturbed) = pass(args) else { return };
    let Some(killed) = pass(&format!("{args} --kill-ipamd-at 8")) else { return };
    assert_eq!(killed["ipamd_restarts"], 1);
    for same in ["pods", "enis", "prefixes", "probes_total"] {
        assert_eq!(killed[same], undisturbed[same], "{same}");
    }
}

#[test]
fn killing_the_box_leaves_nothing() {
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let before = mounts();
    let Some(mut running) = start("--nodes 1 --pods 8 --keep") else { return };
    running.wait_for("nsenter");
    let family = running.descendants();
    assert!(family.len() >= 3, "box, its inner self and the daemon: {family:?}");
    running.kill();
    let deadline = Instant::now() + Duration::from_secs(10);
    while family.iter().any(support::Process::is_alive) {
        assert!(Instant::now() < deadline, "still alive: {family:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(mounts(), before);
}

#[test]
fn an_ordinary_user_can_run_it() {
    let Some(run) = support::run_as_nobody("--json --nodes 1 --pods 6") else { return };
    assert_eq!(run.code, Some(0), "{}", run.told());
    assert_eq!(run.json()["passed"], true);
}

#[test]
fn root_can_do_without_a_user_namespace() {
    if !nix::unistd::geteuid().is_root() {
        return support::skip("without a user namespace", "needs root");
    }
    pass("--nodes 1 --pods 6 --no-userns");
}
