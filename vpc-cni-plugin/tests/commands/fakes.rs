//! A daemon and a kernel that do what a test says, and what runtimes send.

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
pub(crate) enum Says<T> {
    Reply(T),
    Unreachable,
    Unknown,
    Fails,
}

/// A daemon with one scripted answer per method that records what it was asked.
pub(crate) struct Daemon {
    pub(crate) add: Says<AddNetworkReply>,
    pub(crate) del: Says<DelNetworkReply>,
    pub(crate) adds: RefCell<Vec<AddNetworkRequest>>,
    pub(crate) dels: RefCell<Vec<DelNetworkRequest>>,
}

pub(crate) fn answer<T: Clone>(says: &Says<T>, socket: &Path) -> Result<T, BackendError> {
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
pub(crate) struct Kernel {
    pub(crate) broken: bool,
    pub(crate) wired: Mutex<Vec<PodSpec>>,
    pub(crate) torn_down: Mutex<Vec<PodTeardown>>,
}

impl Kernel {
    pub(crate) fn fail(&self) -> Result<(), DatapathError> {
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

pub(crate) fn allocation() -> IpAllocationMetadata {
    IpAllocationMetadata {
        ipv4_addr: "10.0.50.5".into(),
        ipv6_addr: String::new(),
        device_number: 2,
        route_table_id: 3,
    }
}

pub(crate) fn daemon() -> Daemon {
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

pub(crate) fn env(command: &str) -> Env {
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

pub(crate) fn conf(version: &str) -> Value {
    // A socket whose directory does not exist, so that no lock file is made; no log to speak of.
    json!({"cniVersion": version, "name": "aws-cni", "type": "aws-cni", "mtu": "9001",
           "pluginLogFile": "/dev/null", "ipamdSocket": "/nonexistent/ipamd.sock"})
}

pub(crate) fn run_with(env: &Env, conf: &Value, daemon: &Daemon, kernel: &Kernel) -> Output {
    command::run(env, &mut conf.to_string().as_bytes(), daemon, kernel)
}

pub(crate) fn run(command: &str, conf: &Value, daemon: &Daemon, kernel: &Kernel) -> Output {
    run_with(&env(command), conf, daemon, kernel)
}

/// The error that a failed command printed.
pub(crate) fn error(output: &Output) -> (u64, String) {
    assert!(!output.success, "{output:?}");
    let error: Value = serde_json::from_str(&output.stdout).expect("an error is JSON");
    assert!(error["cniVersion"].is_string(), "{error}");
    let details = error["details"].as_str().unwrap_or_default();
    (error["code"].as_u64().unwrap(), format!("{}: {details}", error["msg"].as_str().unwrap()))
}

pub(crate) fn pod_address() -> PodAddress {
    PodAddress { ip: "10.0.50.5".parse().unwrap(), table: 3, device: 2 }
}

/// Configuration of a DEL that follows an ADD.
pub(crate) fn conf_after_add(version: &str) -> Value {
    let output = run("ADD", &conf(version), &daemon(), &Kernel::default());
    let mut conf = conf(version);
    conf["prevResult"] = serde_json::from_str(&output.stdout).unwrap();
    conf
}
