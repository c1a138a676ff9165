//! ADD.

use std::path::Path;

use serde_json::{Value, json};
use vpc_cni_plugin::rpc::{AddNetworkReply, AddNetworkRequest, DelNetworkReply};

use crate::fakes::{
    Daemon, Kernel, Says, allocation, conf, daemon, env, error, pod_address, run, run_with,
};

#[test]
fn add_asks_wires_and_answers_in_the_form_of_the_reference() {
    let (daemon, kernel) = (daemon(), Kernel::default());
    let output = run("ADD", &conf("0.4.0"), &daemon, &kernel);
    assert_eq!(
        output.stdout,
        r#"{"cniVersion":"0.4.0","interfaces":[{"name":"enicc21c2d7785"},{"name":"eth0","mac":"3","sandbox":"/var/run/netns/cni-1"},{"name":"dummycc21c2d7785","mac":"0","sandbox":"2"}],"ips":[{"version":"4","interface":1,"address":"10.0.50.5/32"}],"dns":{}}"#
    );
    assert!(output.success);
    let want = AddNetworkRequest {
        k8s_pod_name: "cart".into(),
        k8s_pod_namespace: "shop".into(),
        k8s_pod_infra_container_id: "c1".into(),
        netns: "/var/run/netns/cni-1".into(),
        if_name: "eth0".into(),
        network_name: "aws-cni".into(),
        container_id: "c1".into(),
        client_version: env!("CARGO_PKG_VERSION").into(),
        requires_multi_nic_attachment: false,
    };
    assert_eq!(daemon.adds.into_inner(), [want]);
    assert!(daemon.dels.into_inner().is_empty());
    let wired = kernel.wired.into_inner().unwrap();
    assert_eq!(wired.len(), 1);
    assert_eq!(wired[0].pod.to_string(), "shop/cart");
    assert_eq!(wired[0].addresses, [pod_address()]);
    assert_eq!((wired[0].mtu, wired[0].if_name.as_str()), (9001, "eth0"));
    assert_eq!(wired[0].netns, Path::new("/var/run/netns/cni-1"));
}

#[test]
fn every_version_is_answered_in_kind() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let output = run("ADD", &conf(version), &daemon(), &Kernel::default());
        let result: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["ips"][0]["version"].is_string(), version.starts_with("0."), "{version}");
    }
}

#[test]
fn settings_of_the_configuration_reach_the_kernel_and_the_daemon() {
    let (daemon, kernel) = (daemon(), Kernel::default());
    let mut conf = conf("1.0.0");
    conf["mtu"] = json!("1500");
    conf["vethPrefix"] = json!("vpc");
    conf["runtimeConfig"] = json!({"io.kubernetes.cri.pod-annotations":
        {"k8s.amazonaws.com/nicConfig": "multi-nic-attachment"}});
    let output = run("ADD", &conf, &daemon, &kernel);
    assert!(output.stdout.contains(r#""name":"dummycc21c2d7785""#), "{}", output.stdout);
    assert!(daemon.adds.into_inner()[0].requires_multi_nic_attachment);
    let wired = kernel.wired.into_inner().unwrap();
    assert_eq!((wired[0].mtu, wired[0].veth_prefix.as_str()), (1500, "vpc"));
}

#[test]
fn add_without_a_daemon_says_try_again() {
    let daemon = Daemon { add: Says::Unreachable, ..daemon() };
    let kernel = Kernel::default();
    let (code, text) = error(&run("ADD", &conf("1.0.0"), &daemon, &kernel));
    assert_eq!(code, 11);
    assert!(text.contains("/nonexistent/ipamd.sock") && text.contains("aws-node"), "{text}");
    assert!(kernel.wired.into_inner().unwrap().is_empty());
    assert!(daemon.dels.into_inner().is_empty(), "nothing was assigned, nothing to give back");
}

#[test]
fn add_that_the_daemon_fails_says_why() {
    let daemon = Daemon { add: Says::Fails, ..daemon() };
    let (code, text) = error(&run("ADD", &conf("1.0.0"), &daemon, &Kernel::default()));
    assert_eq!(code, 999);
    assert!(text.contains("Internal: disk full"), "{text}");
}

fn add_reply(change: impl FnOnce(&mut AddNetworkReply)) -> Daemon {
    let mut daemon = daemon();
    if let Says::Reply(reply) = &mut daemon.add {
        change(reply);
    }
    daemon
}

#[test]
fn add_without_an_address_says_try_again() {
    let daemon = add_reply(|r| *r = AddNetworkReply::default());
    assert_eq!(error(&run("ADD", &conf("1.0.0"), &daemon, &Kernel::default())).0, 11);
    assert!(daemon.dels.into_inner().is_empty());
}

#[test]
fn replies_that_cannot_be_wired_are_given_back() {
    type Change = fn(&mut AddNetworkReply);
    let changes: [(u64, Change); 7] = [
        (11, |r| r.ip_allocation_metadata.clear()),
        (11, |r| r.ip_allocation_metadata[0].ipv4_addr.clear()),
        (999, |r| r.ip_allocation_metadata[0].ipv4_addr = "10.0.0.0/28".into()),
        (999, |r| r.ip_allocation_metadata[0].route_table_id = -1),
        (999, |r| r.ip_allocation_metadata.push(allocation())),
        (999, |r| r.pod_vlan_id = 7),
        (999, |r| r.network_policy_mode = "strict".into()),
    ];
    for (n, (want, change)) in changes.into_iter().enumerate() {
        let (daemon, kernel) = (add_reply(change), Kernel::default());
        let (code, text) = error(&run("ADD", &conf("1.0.0"), &daemon, &kernel));
        assert_eq!(code, want, "{n}: {text}");
        assert!(kernel.wired.into_inner().unwrap().is_empty(), "{n}");
        assert_eq!(daemon.dels.into_inner().len(), 1, "{n}: not given back");
    }
}

#[test]
fn failed_wiring_gives_the_address_back_and_reports_the_kernel() {
    let (daemon, kernel) = (daemon(), Kernel { broken: true, ..Kernel::default() });
    let (code, text) = error(&run("ADD", &conf("0.4.0"), &daemon, &kernel));
    assert_eq!(code, 999);
    assert!(text.contains("no such namespace"), "{text}");
    let dels = daemon.dels.into_inner();
    assert_eq!(dels.len(), 1);
    assert_eq!((dels[0].reason.as_str(), dels[0].k8s_pod_uid.as_str()), ("SetupNSFailed", ""));
    assert_eq!((dels[0].container_id.as_str(), dels[0].if_name.as_str()), ("c1", "eth0"));
    assert_eq!(dels[0].network_name, "aws-cni");
}

#[test]
fn a_failed_roll_back_does_not_hide_the_first_error() {
    for del in [Says::Unreachable, Says::Reply(DelNetworkReply::default())] {
        let daemon = Daemon { del, ..daemon() };
        let kernel = Kernel { broken: true, ..Kernel::default() };
        let (_, text) = error(&run("ADD", &conf("0.4.0"), &daemon, &kernel));
        assert!(text.contains("no such namespace"), "{text}");
    }
}

#[test]
fn add_needs_the_pod_s_name() {
    for args in [None, Some("K8S_POD_NAME=cart"), Some("K8S_POD_NAMESPACE=shop")] {
        let (daemon, mut env) = (daemon(), env("ADD"));
        env.args = args.map(Into::into);
        let (code, text) = error(&run_with(&env, &conf("1.0.0"), &daemon, &Kernel::default()));
        assert!(code == 4 && text.contains("K8S_POD_NAME"), "{code} {text}");
        assert!(daemon.adds.into_inner().is_empty());
    }
}

#[test]
fn the_node_s_own_namespace_is_never_wired() {
    let (daemon, mut env) = (daemon(), env("ADD"));
    env.netns = Some("/proc/self/ns/net".into());
    assert_eq!(error(&run_with(&env, &conf("1.0.0"), &daemon, &Kernel::default())).0, 8);
    assert!(daemon.adds.borrow().is_empty());
    env.netns_override = Some("1".into());
    assert!(run_with(&env, &conf("1.0.0"), &daemon, &Kernel::default()).success);
}
