//! Settings, parsed once from named strings. Nothing below this module reads the environment.

mod docs;
mod parse;
mod resolve;
mod source;
pub mod table;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use thiserror::Error;
use vpc_ipam_core::{addr::Prefix, config::WarmTargets, datapath::SnatPorts, policy::Bounds};

pub use self::{
    docs::markdown,
    source::{ProcessEnv, Strings},
};
use self::{
    source::{Reader, parse_u32},
    table as t,
};

/// Why the daemon refuses to start with these settings.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SettingsError {
    /// Both address families on, or both off.
    #[error(
        "ENABLE_IPv4 and ENABLE_IPv6 are both {0}; exactly one must be true, set ENABLE_IPv4=true"
    )]
    Families(bool),
    /// A value that must not be replaced by a default.
    #[error("{name}={value:?} is not valid ({why}); correct or unset it, valid is: {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value, cut to a sane length.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What it may be.
        expected: &'static str,
    },
    /// IPv6 pods are asked for.
    #[error(
        "ENABLE_IPv6=true is not supported by this version; set ENABLE_IPv6=false and ENABLE_IPv4=true"
    )]
    Ipv6,
    /// Prefix mode with nothing to keep would take and release one prefix for ever.
    #[error(
        "ENABLE_PREFIX_DELEGATION=true needs WARM_PREFIX_TARGET, WARM_IP_TARGET or MINIMUM_IP_TARGET above 0; set WARM_PREFIX_TARGET=1"
    )]
    PrefixTargets,
}

/// A value that was replaced, skipped, or has no effect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// The variable.
    pub name: &'static str,
    /// What is wrong and what happens instead.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// Least severe messages that are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Failures only.
    Error,
    /// What ends the daemon only.
    Fatal,
    /// What happens.
    Info,
    /// What is not as it should be.
    Warn,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "DEBUG",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Info => "INFO",
            Self::Warn => "WARN",
        })
    }
}

/// Where the log goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogSink {
    /// A file that is appended to.
    File(PathBuf),
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}

/// Where a server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BindAddress {
    /// `host:port`.
    Tcp(String),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Everything that the environment says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How much to keep ready.
    pub targets: WarmTargets,
    /// True if `VPC_CNI_WARM_POLICY` is `adaptive`.
    pub adaptive: bool,
    /// `VPC_CNI_WARM_MIN` and `VPC_CNI_WARM_MAX`.
    pub warm_bounds: Bounds,
    /// `ENABLE_PREFIX_DELEGATION`.
    pub prefix_delegation: bool,
    /// `MAX_ENI`.
    pub max_eni: Option<u32>,
    /// `MAX_PODS`.
    pub max_pods: Option<u32>,
    /// `IP_COOLDOWN_PERIOD`.
    pub cooldown: Duration,
    /// False if `DISABLE_NETWORK_RESOURCE_PROVISIONING`.
    pub provisioning: bool,
    /// False if `DISABLE_LEAKED_ENI_CLEANUP`.
    pub leaked_eni_cleanup: bool,
    /// `MANAGE_UNTAGGED_ENI`.
    pub manage_untagged: bool,
    /// `ENABLE_POD_ENI`.
    pub pod_eni: bool,
    /// `ENABLE_IMDS_ONLY_MODE`.
    pub imds_only: bool,
    /// `ENABLE_SUBNET_DISCOVERY`.
    pub subnet_discovery: bool,
    /// `AWS_VPC_ENI_MTU` in bytes.
    pub mtu: u32,
    /// `AWS_VPC_K8S_CNI_EXTERNALSNAT`.
    pub external_snat: bool,
    /// `AWS_VPC_K8S_CNI_RANDOMIZESNAT`.
    pub snat_ports: SnatPorts,
    /// `AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS`, sorted.
    pub exclude_snat_cidrs: Vec<Prefix>,
    /// `AWS_VPC_CNI_NODE_PORT_SUPPORT`.
    pub node_port: bool,
    /// `AWS_VPC_K8S_CNI_CONNMARK`.
    pub connmark: u32,
    /// `AWS_VPC_K8S_CNI_VETHPREFIX`.
    pub veth_prefix: String,
    /// `AWS_EXTERNAL_SERVICE_CIDRS`, sorted.
    pub external_service_cidrs: Vec<Prefix>,
    /// `AWS_VPC_K8S_CNI_BACKING_STORE`.
    pub backing_store: PathBuf,
    /// `VPC_CNI_STATE_JOURNAL`.
    pub state_journal: bool,
    /// `AWS_VPC_K8S_CNI_LOGLEVEL`.
    pub log_level: LogLevel,
    /// `AWS_VPC_K8S_CNI_LOG_FILE`.
    pub log_sink: LogSink,
    /// `INTROSPECTION_BIND_ADDRESS`; `None` if `DISABLE_INTROSPECTION`.
    pub introspection: Option<BindAddress>,
    /// False if `DISABLE_METRICS`.
    pub metrics: bool,
    /// `CLUSTER_NAME`.
    pub cluster_name: Option<String>,
    /// `ADDITIONAL_ENI_TAGS`.
    pub extra_tags: BTreeMap<String, String>,
    /// `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// `AWS_EC2_METADATA_DISABLED`.
    pub metadata_disabled: bool,
    /// False if `AWS_EC2_METADATA_V1_DISABLED`.
    pub metadata_v1: bool,
    /// `AWS_EC2_ENDPOINT`.
    pub ec2_endpoint: Option<String>,
    /// `HTTP_TIMEOUT`.
    pub http_timeout: Duration,
    /// `MY_NODE_NAME`.
    pub node_name: Option<String>,
    /// `VPC_CNI_VERSION`, or the daemon's own version.
    pub version: String,
    /// Spreads the daemon's retries, since nodes that start together must not retry together. No
    /// variable: without it, each process has its own.
    pub seed: Option<u64>,
}

const MTU_MIN: u32 = 576;
const MTU_MAX: u32 = 9001;
const HTTP_TIMEOUT_MIN_S: u32 = 10;
/// More pods than any node runs; keeps sums of counts far from overflow.
const COUNT_MAX: u32 = 100_000;
/// A day: an address that rests longer is an operator's mistake.
const COOLDOWN_MAX_S: u32 = 86_400;

impl Settings {
    /// Reads all variables of the [`table`] from `source`, and what deserves a warning.
    ///
    /// # Errors
    ///
    /// At the first value that must not be replaced by a default, and if values contradict each
    /// other.
    pub fn parse(source: &dyn Strings) -> Result<(Self, Vec<Warning>), SettingsError> {
        let mut r = Reader::new(source);
        check_families(&mut r)?;
        let targets = warm_targets(&mut r)?;
        let prefix_delegation = r.bool(&t::ENABLE_PREFIX_DELEGATION, false)?;
        if prefix_delegation && !targets.has_ip_targets() && targets.prefixes == 0 {
            return Err(SettingsError::PrefixTargets);
        }
        let cooldown = r.parsed(&t::IP_COOLDOWN_PERIOD, 30, |s| parse_u32(s, 0, COOLDOWN_MAX_S))?;
        let mtu = r.parsed(&t::AWS_VPC_ENI_MTU, MTU_MAX, |s| parse_u32(s, MTU_MIN, MTU_MAX))?;
        let http_timeout = r.parsed(&t::HTTP_TIMEOUT, HTTP_TIMEOUT_MIN_S, |s| {
            parse_u32(s, HTTP_TIMEOUT_MIN_S, u32::MAX)
        })?;
        let settings = Self {
            targets,
            adaptive: r
                .optional(&t::VPC_CNI_WARM_POLICY, parse::is_adaptive, "static")?
                .unwrap_or(false),
            warm_bounds: warm_bounds(&mut r)?,
            prefix_delegation,
            max_eni: r.optional(&t::MAX_ENI, |s| parse_u32(s, 1, COUNT_MAX), "no limit")?,
            max_pods: r.optional(&t::MAX_PODS, |s| parse_u32(s, 1, COUNT_MAX), "the default")?,
            cooldown: Duration::from_secs(cooldown.into()),
            provisioning: !r.bool(&t::DISABLE_NETWORK_RESOURCE_PROVISIONING, false)?,
            leaked_eni_cleanup: !r.bool(&t::DISABLE_LEAKED_ENI_CLEANUP, false)?,
            manage_untagged: r.bool(&t::MANAGE_UNTAGGED_ENI, true)?,
            pod_eni: r.bool(&t::ENABLE_POD_ENI, false)?,
            imds_only: r.bool(&t::ENABLE_IMDS_ONLY_MODE, false)?,
            subnet_discovery: r.bool(&t::ENABLE_SUBNET_DISCOVERY, true)?,
            mtu,
            external_snat: r.bool(&t::AWS_VPC_K8S_CNI_EXTERNALSNAT, false)?,
            snat_ports: r.snat_ports()?,
            exclude_snat_cidrs: r.cidrs(&t::AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS),
            node_port: r.bool(&t::AWS_VPC_CNI_NODE_PORT_SUPPORT, true)?,
            connmark: r.parsed(&t::AWS_VPC_K8S_CNI_CONNMARK, 0x80, parse::connmark)?,
            veth_prefix: r.parsed(
                &t::AWS_VPC_K8S_CNI_VETHPREFIX,
                "eni".to_owned(),
                parse::veth_prefix,
            )?,
            external_service_cidrs: r.cidrs(&t::AWS_EXTERNAL_SERVICE_CIDRS),
            backing_store: r
                .optional(&t::AWS_VPC_K8S_CNI_BACKING_STORE, parse::path, "the default")?
                .unwrap_or_else(|| PathBuf::from("/var/run/aws-node/ipam.json")),
            state_journal: r.bool(&t::VPC_CNI_STATE_JOURNAL, false)?,
            log_level: r.parsed(&t::AWS_VPC_K8S_CNI_LOGLEVEL, LogLevel::Debug, parse::log_level)?,
            log_sink: r.log_sink(),
            introspection: introspection(&mut r)?,
            metrics: !r.bool(&t::DISABLE_METRICS, false)?,
            cluster_name: non_empty(&r, &t::CLUSTER_NAME),
            extra_tags: r.tags(),
            ca_bundle: non_empty(&r, &t::AWS_CA_BUNDLE).map(PathBuf::from),
            metadata_disabled: r.bool(&t::AWS_EC2_METADATA_DISABLED, false)?,
            metadata_v1: !r.bool(&t::AWS_EC2_METADATA_V1_DISABLED, false)?,
            ec2_endpoint: r.optional(&t::AWS_EC2_ENDPOINT, parse::endpoint, "none")?.flatten(),
            http_timeout: Duration::from_secs(http_timeout.into()),
            node_name: non_empty(&r, &t::MY_NODE_NAME),
            version: r
                .optional(&t::VPC_CNI_VERSION, parse::version, "the daemon's version")?
                .flatten()
                .unwrap_or_else(|| crate::VERSION.to_owned()),
            seed: None,
        };
        if settings.pod_eni {
            r.warn(t::ENABLE_POD_ENI.name, t::POD_ENI_PART);
        }
        warn_unsupported(&mut r);
        Ok((settings, r.into_warnings()))
    }
}

fn non_empty(r: &Reader<'_>, var: &t::Variable) -> Option<String> {
    r.text(var).filter(|text| !text.is_empty())
}

fn check_families(r: &mut Reader<'_>) -> Result<(), SettingsError> {
    let v6 = r.bool(&t::ENABLE_IPv6, false)?;
    let v4 = r.bool(&t::ENABLE_IPv4, !v6)?;
    match (v4, v6) {
        (true, false) => Ok(()),
        (false, true) => Err(SettingsError::Ipv6),
        (both, _) => Err(SettingsError::Families(both)),
    }
}

fn warm_targets(r: &mut Reader<'_>) -> Result<WarmTargets, SettingsError> {
    let count = |s: &str| parse_u32(s, 0, COUNT_MAX);
    Ok(WarmTargets {
        enis: r.parsed(&t::WARM_ENI_TARGET, 1, count)?,
        ips: r.parsed(&t::WARM_IP_TARGET, 0, count)?,
        minimum_ips: r.parsed(&t::MINIMUM_IP_TARGET, 0, count)?,
        prefixes: r.parsed(&t::WARM_PREFIX_TARGET, 0, count)?,
    })
}

fn warm_bounds(r: &mut Reader<'_>) -> Result<Bounds, SettingsError> {
    let count = |s: &str| parse_u32(s, 0, COUNT_MAX);
    let default = Bounds::default();
    Ok(Bounds {
        min: r.parsed(&t::VPC_CNI_WARM_MIN, default.min, count)?,
        max: r.optional(&t::VPC_CNI_WARM_MAX, count, "the default")?,
    })
}

fn introspection(r: &mut Reader<'_>) -> Result<Option<BindAddress>, SettingsError> {
    let default = BindAddress::Tcp("127.0.0.1:61679".to_owned());
    let address = r.parsed(&t::INTROSPECTION_BIND_ADDRESS, default, parse::bind_address)?;
    Ok((!r.bool(&t::DISABLE_INTROSPECTION, false)?).then_some(address))
}

/// Asking for something that does not happen must not pass in silence.
fn warn_unsupported(r: &mut Reader<'_>) {
    for (name, inert) in t::UNSUPPORTED {
        if let Some(text) = r.raw(name)
            && !inert.contains(&text.as_str())
        {
            r.warn(name, format!("{:?} has no effect in this version", source::shorten(&text)));
        }
    }
}
