//! The container runtime's side of CNI: what the plugin is told and what it answers.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// Network name of the reference's conflist; part of every allocation's key.
const NETWORK: &str = "aws-cni";
/// Name of the interface inside the pod.
const IF_NAME: &str = "eth0";
/// CNI's error code for "try again later".
const TRY_AGAIN_LATER: u32 = 11;
/// Of a failed plugin's standard error this much is told.
const STDERR_TOLD_BYTES: usize = 400;

/// One sandbox as the runtime knows it.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    pub(crate) container_id: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Path of its network namespace, as the plugin sees it.
    pub(crate) netns: String,
}

/// What the plugin said of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) ip: Ipv4Addr,
    /// The whole result, which the runtime hands back on DEL.
    pub(crate) result: Value,
}

/// Why a call to the plugin failed.
#[derive(Debug, Error)]
pub(crate) enum CniError {
    #[error("cannot start the plugin: {0}")]
    Start(#[source] io::Error),

    #[error("plugin did not end within {seconds} s and was killed")]
    Hung { seconds: u64 },

    #[error("plugin failed with code {code}: {msg}{details}")]
    Refused { code: u32, msg: String, details: String },

    #[error("plugin ended with {status} and no CNI error: {told}")]
    Died { status: String, told: String },

    #[error("plugin answered with something that is no CNI result ({why}): {told}")]
    NoResult { why: String, told: String },
}

impl CniError {
    /// True if the plugin itself says that a later try may succeed.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Refused { code: TRY_AGAIN_LATER, .. })
    }
}

/// The plugin as this runtime calls it.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    /// Path as seen in the node's mount namespace.
    pub(crate) path: String,
    pub(crate) cni_version: &'static str,
    pub(crate) log_file: String,
    pub(crate) mtu: u32,
    /// It is killed if it takes longer.
    pub(crate) deadline: Duration,
}

impl Plugin {
    /// ADD. `spawn` starts the command in the node's namespaces.
    pub(crate) fn add(
        &self,
        sandbox: &Sandbox,
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Result<Added, CniError> {
        let command = self.command("ADD", sandbox, &sandbox.netns);
        let output = exchange(command, &self.net_conf(None), self.deadline, spawn)?;
        read_result(&answer(output)?)
    }

    /// DEL as containerd sends it when it stops a sandbox: with the namespace and the result of ADD.
    pub(crate) fn del(
        &self,
        sandbox: &Sandbox,
        result: Option<&Value>,
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Result<(), CniError> {
        let command = self.command("DEL", sandbox, &sandbox.netns);
        answer(exchange(command, &self.net_conf(result), self.deadline, spawn)?).map(drop)
    }

    /// The second DEL, when containerd removes the sandbox: the namespace is gone, and so is what it
    /// knew of ADD's result.
    pub(crate) fn del_again(
        &self,
        sandbox: &Sandbox,
        spawn: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Result<(), CniError> {
        let command = self.command("DEL", sandbox, "");
        answer(exchange(command, &self.net_conf(None), self.deadline, spawn)?).map(drop)
    }

    fn command(&self, verb: &str, sandbox: &Sandbox, netns: &str) -> Command {
        let Sandbox { container_id, namespace, name, uid, .. } = sandbox;
        let args = format!(
            "K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={container_id};K8S_POD_UID={uid};\
             IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace}"
        );
        let bin_dir = self.path.rsplit_once('/').map_or(".", |(dir, _)| dir);
        let mut command = Command::new(&self.path);
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container_id)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", IF_NAME)
            .env("CNI_PATH", bin_dir)
            .env("CNI_ARGS", args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn net_conf(&self, prev_result: Option<&Value>) -> Vec<u8> {
        let mut conf = json!({
            "cniVersion": self.cni_version,
            "name": NETWORK,
            "type": "aws-cni",
            "vethPrefix": "eni",
            "mtu": self.mtu.to_string(),
            "podSGEnforcingMode": "strict",
            "pluginLogFile": self.log_file,
            "pluginLogLevel": "DEBUG",
            "capabilities": {"io.kubernetes.cri.pod-annotations": true},
            "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {}},
        });
        if let (Some(result), Some(conf)) = (prev_result, conf.as_object_mut()) {
            conf.insert("prevResult".into(), result.clone());
        }
        conf.to_string().into_bytes()
    }
}

fn exchange(
    command: Command,
    stdin: &[u8],
    deadline: Duration,
    spawn: impl FnOnce(Command) -> io::Result<Child>,
) -> Result<Output, CniError> {
    let mut child = spawn(command).map_err(CniError::Start)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A plugin that ends without reading is judged by its exit status, not by the broken pipe.
        let _ = pipe.write_all(stdin);
    }
    let pid = child.id();
    let (ended, end) = mpsc::channel();
    let wait = move || ended.send(child.wait_with_output());
    thread::Builder::new().spawn(wait).map_err(CniError::Start)?;
    match end.recv_timeout(deadline) {
        Ok(output) => output.map_err(CniError::Start),
        Err(_) => {
            // Nobody has waited for it yet, so the number is still its own.
            if let Ok(pid) = i32::try_from(pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            Err(CniError::Hung { seconds: deadline.as_secs() })
        }
    }
}

#[derive(Deserialize)]
struct ErrorAnswer {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

fn answer(output: Output) -> Result<Vec<u8>, CniError> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    match serde_json::from_slice::<ErrorAnswer>(&output.stdout) {
        Ok(ErrorAnswer { code, msg, details }) => {
            let details = if details.is_empty() { details } else { format!(": {details}") };
            Err(CniError::Refused { code, msg, details })
        }
        Err(_) => {
            Err(CniError::Died { status: output.status.to_string(), told: told(&output.stderr) })
        }
    }
}

fn read_result(stdout: &[u8]) -> Result<Added, CniError> {
    let no = |why: String| CniError::NoResult { why, told: told(stdout) };
    let result: Value = serde_json::from_slice(stdout).map_err(|e| no(e.to_string()))?;
    let address = result
        .pointer("/ips/0/address")
        .and_then(Value::as_str)
        .ok_or_else(|| no("no ips[0].address".into()))?;
    let ip = address
        .strip_suffix("/32")
        .and_then(|ip| ip.parse().ok())
        .ok_or_else(|| no(format!("address {address:?} is no IPv4 host address")))?;
    Ok(Added { ip, result })
}

fn told(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().take(STDERR_TOLD_BYTES).collect()
}

#[cfg(test)]
#[path = "cni_tests.rs"]
mod tests;
