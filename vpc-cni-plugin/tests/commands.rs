//! ADD, DEL and the rest against a daemon and a kernel that are only remembered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{cell::RefCell, ffi::OsString, io, path::Path, sync::Mutex};

use serde_json::{Value, json};
use vpc_cni_plugin::{
    backend::{Backend, BackendError},
    command::{self, Output},
    kernel::PodDatapath,
    protocol::Env,
    rpc::{
        AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest,
        IpAllocationMetadata,
    },
};
use vpc_ipam_core::{
    datapath::{DatapathError, DatapathErrorKind, PodAddress, PodSpec, PodTeardown, PodWiring},
    id::MacAddr,
};

/// What the daemon does next.
enum Says<T> {
    Reply(T),
    Unreachable,
    Unknown,
    Fails,
}

/// A daemon with one scripted answer per method that records what it was asked.
struct Daemon {
    add: Says<AddNetworkReply>,
    del: Says<DelNetworkReply>,
    adds: RefCell<Vec<AddNetworkRequest>>,
    dels: RefCell<Vec<DelNetworkRequest>>,
}

fn answer<T: Clone>(says: &Says<T>, socket: &Path) -> Result<T, BackendError> {
    match says {
        Says::Reply(reply) => Ok(reply.clone()),
        Says::Unknown => Err(BackendError::UnknownPod),
        Says::Unreachable => Err(BackendError::Unreachable {
            socket: socket.to_owned(),
            source: io::Error::from(io::ErrorKind::ConnectionRefused),
        }),
        Says::Fails => {
            Err(BackendError::Failed { status: "Internal".into(), message: "disk full".into() })
        }
    }
}

impl Backend for Daemon {
    fn add_network(
        &self,
        socket: &Path,
        request: AddNetworkRequest,
    ) -> Result<AddNetworkReply, BackendError> {
        self.adds.borrow_mut().push(request);
        answer(&self.add, socket)
    }

    fn del_network(
        &self,
        socket: &Path,
        request: DelNetworkRequest,
    ) -> Result<DelNetworkReply, BackendError> {
        self.dels.borrow_mut().push(request);
        answer(&self.del, socket)
    }
}

/// A kernel that knows which pods are wired.
#[derive(Default)]
struct Kernel {
    broken: bool,
    wired: Mutex<Vec<PodSpec>>,
    torn_down: Mutex<Vec<PodTeardown>>,
}

impl Kernel {
    fn fail(&self) -> Result<(), DatapathError> {
        let error = DatapathError::new(
            DatapathErrorKind::NetnsMissing,
            "pod shop/cart",
            "no such namespace",
        );
        if self.broken { Err(error) } else { Ok(()) }
    }
}

impl PodDatapath for Kernel {
    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        self.fail()?;
        self.wired.lock().unwrap().push(pod.clone());
        Ok(PodWiring {
            host_if: format!("{}cc21c2d7785", pod.veth_prefix),
            host_mac: MacAddr([0x02, 0, 0, 0, 0, 1]),
            container_mac: MacAddr([0x02, 0, 0, 0, 0, 2]),
        })
    }

    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        self.torn_down.lock().unwrap().push(pod.clone());
        self.fail()
    }
}

fn allocation() -> IpAllocationMetadata {
    IpAllocationMetadata {
        ipv4_addr: "10.0.50.5".into(),
        ipv6_addr: String::new(),
        device_number: 2,
        route_table_id: 3,
    }
}

fn daemon() -> Daemon {
    Daemon {
        add: Says::Reply(AddNetworkReply {
            success: true,
            ip_allocation_metadata: vec![allocation()],
            ..AddNetworkReply::default()
        }),
        del: Says::Reply(DelNetworkReply {
            success: true,
            ip_allocation_metadata: vec![allocation()],
            ..DelNetworkReply::default()
        }),
        adds: RefCell::default(),
        dels: RefCell::default(),
    }
}

fn env(command: &str) -> Env {
    let command = command.to_owned();
    Env::from_lookup(move |name| {
        let value = match name {
            "CNI_COMMAND" => &command,
            "CNI_CONTAINERID" => "c1",
            "CNI_NETNS" => "/var/run/netns/cni-1",
            "CNI_IFNAME" => "eth0",
            "CNI_PATH" => "/opt/cni/bin",
            "CNI_ARGS" => {
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;\
                 K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=uid-1"
            }
            _ => return None,
        };
        Some(OsString::from(value))
    })
}

fn conf(version: &str) -> Value {
    // A socket whose directory does not exist, so that no lock file is made; no log to speak of.
    json!({"cniVersion": version, "name": "aws-cni", "type": "aws-cni", "mtu": "9001",
           "pluginLogFile": "/dev/null", "ipamdSocket": "/nonexistent/ipamd.sock"})
}

fn run_with(env: &Env, conf: &Value, daemon: &Daemon, kernel: &Kernel) -> Output {
    command::run(env, &mut conf.to_string().as_bytes(), daemon, kernel)
}

fn run(command: &str, conf: &Value, daemon: &Daemon, kernel: &Kernel) -> Output {
    run_with(&env(command), conf, daemon, kernel)
}

/// The error that a failed command printed.
fn error(output: &Output) -> (u64, String) {
    assert!(!output.success, "{output:?}");
    let error: Value = serde_json::from_str(&output.stdout).expect("an error is JSON");
    assert!(error["cniVersion"].is_string(), "{error}");
    let details = error["details"].as_str().unwrap_or_default();
    (error["code"].as_u64().unwrap(), format!("{}: {details}", error["msg"].as_str().unwrap()))
}

fn pod_address() -> PodAddress {
    PodAddress { ip: "10.0.50.5".parse().unwrap(), table: 3, device: 2 }
}

/// Configuration of a DEL that follows an ADD.
fn conf_after_add(version: &str) -> Value {
    let output = run("ADD", &conf(version), &daemon(), &Kernel::default());
    let mut conf = conf(version);
    conf["prevResult"] = serde_json::from_str(&output.stdout).unwrap();
    conf
}

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

#[test]
fn del_releases_and_unwires() {
    let (daemon, kernel) = (daemon(), Kernel::default());
    let output = run("DEL", &conf("0.4.0"), &daemon, &kernel);
    assert!(output.success && output.stdout.is_empty(), "{output:?}");
    let dels = daemon.dels.into_inner();
    assert_eq!(dels.len(), 1);
    assert_eq!((dels[0].reason.as_str(), dels[0].k8s_pod_uid.as_str()), ("PodDeleted", "uid-1"));
    assert_eq!((dels[0].container_id.as_str(), dels[0].if_name.as_str()), ("c1", "eth0"));
    let torn_down = kernel.torn_down.into_inner().unwrap();
    assert_eq!(torn_down.len(), 1);
    assert_eq!(torn_down[0].addresses, [pod_address()]);
    assert_eq!(torn_down[0].pod.to_string(), "shop/cart");
}

#[test]
fn del_goes_on_without_the_daemon() {
    for del in [Says::Unreachable, Says::Unknown, Says::Fails] {
        let (daemon, kernel) = (Daemon { del, ..daemon() }, Kernel::default());
        let mut env = env("DEL");
        env.netns = None;
        let output = run_with(&env, &conf_after_add("1.0.0"), &daemon, &kernel);
        assert!(output.success, "{output:?}");
        let torn_down = kernel.torn_down.into_inner().unwrap();
        assert_eq!(torn_down.len(), 1);
        assert_eq!(torn_down[0].addresses, [pod_address()]);
    }
}

#[test]
fn del_of_what_nobody_remembers_is_a_success() {
    for del in [Says::Unreachable, Says::Unknown, Says::Fails] {
        let (daemon, kernel) = (Daemon { del, ..daemon() }, Kernel::default());
        let mut env = env("DEL");
        (env.netns, env.args) = (None, None);
        assert!(run_with(&env, &conf("0.3.1"), &daemon, &kernel).success);
        assert!(kernel.torn_down.into_inner().unwrap().is_empty());
    }
}

#[test]
fn del_without_the_daemon_succeeds_even_if_the_kernel_fails() {
    let daemon = Daemon { del: Says::Unreachable, ..daemon() };
    let kernel = Kernel { broken: true, ..Kernel::default() };
    assert!(run("DEL", &conf_after_add("0.4.0"), &daemon, &kernel).success);
    assert_eq!(kernel.torn_down.into_inner().unwrap().len(), 1);
}

#[test]
fn del_reports_what_the_kernel_could_not_do_and_its_repeat_finishes() {
    let kernel = Kernel { broken: true, ..Kernel::default() };
    let (code, text) = error(&run("DEL", &conf_after_add("0.4.0"), &daemon(), &kernel));
    assert!(code == 999 && text.contains("no such namespace"), "{code} {text}");
    // The daemon has released by now; prevResult still knows what to remove.
    let (daemon, kernel) = (Daemon { del: Says::Unknown, ..daemon() }, Kernel::default());
    assert!(run("DEL", &conf_after_add("0.4.0"), &daemon, &kernel).success);
    assert_eq!(kernel.torn_down.into_inner().unwrap()[0].addresses, [pod_address()]);
}

#[test]
fn del_that_the_daemon_refuses_is_tried_again() {
    let daemon = Daemon { del: Says::Reply(DelNetworkReply::default()), ..daemon() };
    let kernel = Kernel::default();
    assert_eq!(error(&run("DEL", &conf_after_add("1.0.0"), &daemon, &kernel)).0, 11);
    assert!(kernel.torn_down.into_inner().unwrap().is_empty());
}

#[test]
fn del_uses_prev_result_when_the_reply_has_no_usable_address() {
    let mut empty = allocation();
    empty.ipv4_addr.clear();
    let reply = DelNetworkReply {
        success: true,
        ip_allocation_metadata: vec![empty],
        ..DelNetworkReply::default()
    };
    let (daemon, kernel) = (Daemon { del: Says::Reply(reply), ..daemon() }, Kernel::default());
    assert!(run("DEL", &conf_after_add("1.0.0"), &daemon, &kernel).success);
    assert_eq!(kernel.torn_down.into_inner().unwrap()[0].addresses, [pod_address()]);
}

#[test]
fn branch_pods_of_another_plugin_are_left_to_it() {
    let mut conf = conf("0.4.0");
    conf["prevResult"] = json!({"interfaces": [{"name":"vlancc21c2d7785"},
        {"name":"eth0","mac":"0","sandbox":"/ns"}, {"name":"dummycc21c2d7785","mac":"7"}],
        "ips": [{"version":"4","interface":1,"address":"10.0.50.5/32","gateway":"10.0.50.1"}]});
    let (daemon, kernel, mut env) = (daemon(), Kernel::default(), env("DEL"));
    assert_eq!(error(&run_with(&env, &conf, &daemon, &kernel)).0, 999);
    env.netns = None;
    assert!(run_with(&env, &conf, &daemon, &kernel).success, "a repeated DEL is a success");
    assert!(daemon.dels.into_inner().is_empty());
    assert!(kernel.torn_down.into_inner().unwrap().is_empty());
}

#[test]
fn commands_that_are_not_there_say_so() {
    for (command, version, want) in [
        ("CHECK", "0.3.1", 1),
        ("CHECK", "0.4.0", 4),
        ("STATUS", "1.0.0", 1),
        ("STATUS", "1.1.0", 4),
        ("GC", "1.0.0", 1),
        ("GC", "1.1.0", 4),
        ("SET", "1.1.0", 4),
    ] {
        let output = run(command, &conf(version), &daemon(), &Kernel::default());
        let (code, text) = error(&output);
        assert_eq!(code, want, "{command} {version}");
        assert!(text.contains(command), "{text}");
    }
}

#[test]
fn errors_come_in_the_version_of_the_configuration() {
    let mut conf = conf("0.4.0");
    conf["mtu"] = json!(1500);
    let output = run("ADD", &conf, &daemon(), &Kernel::default());
    assert_eq!(error(&output).0, 6);
    assert!(output.stdout.starts_with(r#"{"cniVersion":"0.4.0""#), "{}", output.stdout);
}

#[test]
fn too_long_a_configuration_is_refused_before_it_is_parsed() {
    let mut endless = io::repeat(b' ');
    let output = command::run(&env("ADD"), &mut endless, &daemon(), &Kernel::default());
    assert_eq!(error(&output).0, 6);
}

#[test]
fn unreadable_input_is_an_io_error_except_for_version() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let run = |command| command::run(&env(command), &mut Broken, &daemon(), &Kernel::default());
    assert_eq!(error(&run("ADD")).0, 5);
    assert!(run("VERSION").success);
}
