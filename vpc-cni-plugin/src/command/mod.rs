//! The commands: what a runtime asks, turned into one call to the daemon and one to the kernel.

mod add;
mod allocation;
mod del;
mod wired;

use std::{
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use vpc_ipam_core::id::PodRef;

use crate::{
    backend::Backend,
    kernel::PodDatapath,
    log::Log,
    protocol::{
        CniError, Code, Command, Env, Invocation, NetConf, PodArgs, SpecVersion, version_reply,
    },
    rpc::IPAMD_SOCKET,
};

/// Largest configuration accepted, in bytes. Kubernetes allows 256 KiB of annotations per pod, which
/// JSON may write six times as long; the rest is small.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// What a command leaves: text for the runtime, text for people, success or not.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// For standard output: a result, an error, or nothing.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// The exit status is 0 if true, 1 if not.
    pub success: bool,
}

impl Output {
    fn ok(stdout: String) -> Self {
        Self { stdout, stderr: String::new(), success: true }
    }

    fn err(error: &CniError, cni_version: &str) -> Self {
        Self { stdout: error.to_json(cni_version), stderr: String::new(), success: false }
    }

    /// Writes both texts and gives the exit status. A result that nobody could read is a failure:
    /// the runtime must clean up.
    pub fn emit(self) -> ExitCode {
        let _lost = io::stderr().write_all(self.stderr.as_bytes());
        let mut out = io::stdout().lock();
        let written = out.write_all(self.stdout.as_bytes()).and_then(|()| out.flush());
        if self.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// One command about one sandbox, with all that it needs.
struct Call<'a> {
    invocation: &'a Invocation,
    conf: &'a NetConf,
    args: &'a PodArgs,
    pod: PodRef,
    backend: &'a dyn Backend,
    datapath: &'a dyn PodDatapath,
    socket: &'a Path,
    log: &'a Log,
}

impl Call<'_> {
    /// Logs with what identifies the sandbox.
    fn fields<'b>(&'b self, more: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let mut fields = vec![
            ("command", self.invocation.command.as_str()),
            ("container", self.invocation.container_id.as_str()),
            ("interface", self.invocation.if_name.as_str()),
            ("pod_namespace", self.pod.namespace.as_str()),
            ("pod_name", self.pod.name.as_str()),
        ];
        fields.extend_from_slice(more);
        fields
    }
}

/// Runs the command that `env` names with the configuration from `stdin`.
///
/// Every input ends in an [`Output`]; none panics. `backend` and `datapath` are called by ADD and DEL
/// only.
pub fn run(
    env: &Env,
    stdin: &mut dyn Read,
    backend: &dyn Backend,
    datapath: &dyn PodDatapath,
) -> Output {
    let latest = SpecVersion::LATEST.as_str();
    let invocation = match env.parse() {
        Ok(Some(invocation)) => invocation,
        Ok(None) => return about(),
        Err(e) => return Output::err(&e.into(), latest),
    };
    let config = match read_all(stdin) {
        Ok(config) => config,
        Err(_) if invocation.command == Command::Version => Vec::new(),
        Err(e) => return Output::err(&e, latest),
    };
    if invocation.command == Command::Version {
        return Output::ok(version_reply(&config));
    }
    match configured(&invocation, &config, backend, datapath) {
        Ok(stdout) => Output::ok(stdout),
        Err(e) => Output::err(&e, &NetConf::version_for_errors(&config)),
    }
}

fn configured(
    invocation: &Invocation,
    config: &[u8],
    backend: &dyn Backend,
    datapath: &dyn PodDatapath,
) -> Result<String, CniError> {
    let conf = NetConf::parse(config)?;
    let log = Log::open(&conf.log_file, conf.log_level);
    let args = PodArgs::parse(&invocation.args)?;
    let pod = PodRef { namespace: args.pod_namespace.clone(), name: args.pod_name.clone() };
    let socket = conf.ipamd_socket.as_deref().unwrap_or(Path::new(IPAMD_SOCKET));
    let call =
        Call { invocation, conf: &conf, args: &args, pod, backend, datapath, socket, log: &log };
    let done = match invocation.command {
        Command::Add => add::add(&call).map(|result| result.to_json(conf.version)),
        Command::Del => del::del(&call).map(|()| String::new()),
        command => Err(not_served(command, conf.version)),
    };
    match &done {
        Ok(result) => log.info("done", &call.fields(&[("result", result)])),
        Err(e) => log.error("failed", &call.fields(&[("error", &e.to_string())])),
    }
    done
}

/// Says so when a command is not there, rather than that all is well.
fn not_served(command: Command, version: SpecVersion) -> CniError {
    let (since, remedy) = match command {
        Command::Check => (SpecVersion::V0_4_0, "set disableCheck in the network configuration"),
        _ => (SpecVersion::V1_1_0, "use cniVersion 1.0.0, with which runtimes do not send it"),
    };
    let command = command.as_str();
    if version < since {
        return CniError::new(
            Code::IncompatibleVersion,
            format!("cniVersion {version} has no {command}"),
            format!("it exists since {since}"),
        );
    }
    CniError::new(
        Code::InvalidEnvironment,
        format!("CNI_COMMAND {command} is not implemented by this release"),
        remedy,
    )
}

fn read_all(stdin: &mut dyn Read) -> Result<Vec<u8>, CniError> {
    let mut config = Vec::new();
    stdin.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut config).map_err(|e| {
        CniError::new(Code::Io, "cannot read the network configuration", e.to_string())
    })?;
    if config.len() as u64 > CONFIG_BYTES_MAX {
        return Err(CniError::new(
            Code::Decode,
            "the network configuration is too long",
            format!("more than {CONFIG_BYTES_MAX} bytes on standard input"),
        ));
    }
    Ok(config)
}

/// For people who run the plugin by hand.
fn about() -> Output {
    let stderr = format!(
        "CNI plugin aws-cni {}: run by a container runtime, with CNI_COMMAND set\n\
         CNI protocol versions supported: {}\n",
        env!("CARGO_PKG_VERSION"),
        SpecVersion::list()
    );
    Output { stdout: String::new(), stderr, success: true }
}
