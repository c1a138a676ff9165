//! The network configuration that the runtime sends on standard input.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{CniError, CniResult, Code, SpecVersion, env::is_cni_name, result::ResultError};

/// MTU of a pod where the configuration gives none, or one that no VPC can carry, in bytes.
pub const MTU_BYTES_DEFAULT: u32 = 9001;
/// Largest MTU, in bytes: a VPC's jumbo frame.
pub const MTU_BYTES_MAX: u32 = 9001;
/// Smallest MTU, in bytes: every IPv4 host must take as much.
pub const MTU_BYTES_MIN: u32 = 576;

/// Characters of `vethPrefix`: with 11 digits of the hash they fill the kernel's 15.
const VETH_PREFIX_LEN_MAX: usize = 4;
/// Beginnings of the node's own interfaces; the daemon's rules for pods would match them.
const VETH_PREFIXES_TAKEN: [&str; 3] = ["eth", "lo", "vlan"];

/// Version of a configuration that does not say: it predates the key.
const VERSION_ABSENT: &str = "0.1.0";

/// Annotation by which a pod asks for one interface per network card.
const MULTI_NIC_ANNOTATION: &str = "k8s.amazonaws.com/nicConfig";
/// Its value.
const MULTI_NIC_VALUE: &str = "multi-nic-attachment";

/// Annotations of a pod.
pub type Annotations = BTreeMap<String, String>;

/// Why a network configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetConfError {
    /// Not JSON, or a key of another type than it should have.
    #[error("network configuration cannot be decoded")]
    Decode(#[source] serde_json::Error),
    /// `cniVersion` is one that this plugin does not speak.
    #[error("cniVersion {0:?} is not supported, expected one of {list}", list = SpecVersion::list())]
    Version(String),
    /// `name` is missing or malformed.
    #[error(
        "network name {0:?} is invalid, expected a letter or digit followed by letters, digits, \
         '_', '.' or '-'"
    )]
    Name(String),
    /// `vethPrefix` is too long for the kernel's interface names, or would match the node's own.
    #[error(
        "vethPrefix {0:?} is invalid, expected at most 4 characters, none of '/', ':', ' ', and not \
         eth, lo or vlan; the usual one is eni"
    )]
    VethPrefix(String),
    /// `prevResult` is not a result of the configuration's version.
    #[error("prevResult cannot be decoded")]
    PrevResult(#[source] ResultError),
}

impl From<NetConfError> for CniError {
    fn from(e: NetConfError) -> Self {
        let code = match &e {
            NetConfError::Decode(_) | NetConfError::PrevResult(_) => Code::Decode,
            NetConfError::Version(_) => Code::IncompatibleVersion,
            NetConfError::Name(_) | NetConfError::VethPrefix(_) => Code::InvalidConfig,
        };
        let details = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
        Self::new(code, e.to_string(), details)
    }
}

/// How much the plugin's log says.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum LogLevel {
    /// All.
    #[default]
    Debug,
    /// What was done.
    Info,
    /// What is odd.
    Warn,
    /// What failed.
    Error,
}

impl LogLevel {
    /// The level as the log spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Any case; what is not known says all, since a typing error must not hide a failure.
    fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "fatal" | "panic" => Self::Error,
            _ => Self::Debug,
        }
    }
}

/// The configuration of one network, parsed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetConf {
    /// Spec version, which the answer must have too.
    pub version: SpecVersion,
    /// Network name, part of the allocation's key.
    pub name: String,
    /// First characters of host veth names, `eni` by default.
    pub veth_prefix: String,
    /// MTU of the pod's interface in bytes.
    pub mtu: u32,
    /// `podSGEnforcingMode`, `strict` by default.
    pub pod_sg_enforcing_mode: String,
    /// `pluginLogFile`; empty means standard error.
    pub log_file: String,
    /// `pluginLogLevel`
    pub log_level: LogLevel,
    /// Annotations of the pod, if the runtime passes them.
    pub pod_annotations: Annotations,
    /// Result of the ADD that this command follows.
    pub prev_result: Option<CniResult>,
    /// Unix socket of the daemon, if not the usual one (`ipamdSocket`): for those who embed the
    /// daemon elsewhere. Not a key of the reference.
    pub ipamd_socket: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Raw {
    name: Option<String>,
    #[serde(rename = "vethPrefix")]
    veth_prefix: Option<String>,
    mtu: Option<String>,
    #[serde(rename = "podSGEnforcingMode")]
    pod_sg_enforcing_mode: Option<String>,
    #[serde(rename = "pluginLogFile")]
    plugin_log_file: Option<String>,
    #[serde(rename = "pluginLogLevel")]
    plugin_log_level: Option<String>,
    #[serde(rename = "runtimeConfig")]
    runtime_config: Option<RuntimeConfig>,
    #[serde(rename = "ipamdSocket")]
    ipamd_socket: Option<String>,
}

#[derive(Default, Deserialize)]
struct RuntimeConfig {
    #[serde(rename = "io.kubernetes.cri.pod-annotations")]
    pod_annotations: Option<Annotations>,
}

impl NetConf {
    /// Parses a configuration of at most a few megabytes.
    ///
    /// # Errors
    ///
    /// See [`NetConfError`].
    pub fn parse(json: &[u8]) -> Result<Self, NetConfError> {
        // By way of a value, where a repeated key keeps its last value as it does in Go, rather
        // than failing.
        let mut value: Value = serde_json::from_slice(json).map_err(NetConfError::Decode)?;
        let version_text = version_of(&value)?.to_owned();
        let prev = value.get_mut("prevResult").map(Value::take).filter(|v| !v.is_null());
        let raw: Raw = serde_json::from_value(value).map_err(NetConfError::Decode)?;
        let name = raw.name.unwrap_or_default();
        if !is_cni_name(&name) {
            return Err(NetConfError::Name(quoted(&name)));
        }
        let version = SpecVersion::parse(&version_text)
            .ok_or_else(|| NetConfError::Version(quoted(&version_text)))?;
        let prev_result = prev
            .map(|prev| CniResult::from_json(version, prev))
            .transpose()
            .map_err(NetConfError::PrevResult)?;
        Ok(Self {
            version,
            name,
            veth_prefix: veth_prefix(raw.veth_prefix)?,
            mtu: mtu(raw.mtu.as_deref()),
            pod_sg_enforcing_mode: non_empty(raw.pod_sg_enforcing_mode)
                .unwrap_or_else(|| "strict".to_owned()),
            log_file: raw.plugin_log_file.unwrap_or_default(),
            log_level: LogLevel::parse(&raw.plugin_log_level.unwrap_or_default()),
            pod_annotations: raw
                .runtime_config
                .unwrap_or_default()
                .pod_annotations
                .unwrap_or_default(),
            prev_result,
            ipamd_socket: non_empty(raw.ipamd_socket).map(PathBuf::from),
        })
    }

    /// The version that an error about `json` should carry: the configuration's own if it can be
    /// read, the newest otherwise.
    pub fn version_for_errors(json: &[u8]) -> String {
        let value: Option<Value> = serde_json::from_slice(json).ok();
        value
            .as_ref()
            .and_then(|v| version_of(v).ok())
            .filter(|text| text.len() <= QUOTED_CHARS_MAX)
            .unwrap_or(SpecVersion::LATEST.as_str())
            .to_owned()
    }

    /// True if the pod asks for one interface per network card.
    pub fn wants_multi_nic(&self) -> bool {
        self.pod_annotations.get(MULTI_NIC_ANNOTATION).is_some_and(|v| v == MULTI_NIC_VALUE)
    }
}

/// `cniVersion` of a configuration that is an object.
fn version_of(config: &Value) -> Result<&str, NetConfError> {
    #[derive(Deserialize)]
    struct Version<'a> {
        #[serde(borrow, rename = "cniVersion")]
        cni_version: Option<&'a str>,
    }
    let version = Version::deserialize(config).map_err(NetConfError::Decode)?;
    Ok(version.cni_version.filter(|v| !v.is_empty()).unwrap_or(VERSION_ABSENT))
}

fn veth_prefix(configured: Option<String>) -> Result<String, NetConfError> {
    let prefix = non_empty(configured).unwrap_or_else(|| "eni".to_owned());
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    let taken = VETH_PREFIXES_TAKEN.contains(&prefix.as_str());
    if taken || prefix.len() > VETH_PREFIX_LEN_MAX || prefix.contains(bad) {
        return Err(NetConfError::VethPrefix(quoted(&prefix)));
    }
    Ok(prefix)
}

/// Out of range is not an error: the reference falls back silently, and a pod with a usable MTU is
/// better than none.
fn mtu(configured: Option<&str>) -> u32 {
    configured
        .and_then(|text| text.parse().ok())
        .filter(|mtu| (MTU_BYTES_MIN..=MTU_BYTES_MAX).contains(mtu))
        .unwrap_or(MTU_BYTES_DEFAULT)
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

/// Longest part of the offending text that an error repeats.
const QUOTED_CHARS_MAX: usize = 64;

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parse(json: &str) -> Result<NetConf, NetConfError> {
        NetConf::parse(json.as_bytes())
    }

    fn code(json: &str) -> u32 {
        CniError::from(parse(json).unwrap_err()).code.number()
    }

    #[test]
    fn defaults() {
        let got = parse(r#"{"cniVersion":"0.4.0","name":"aws-cni","type":"aws-cni"}"#).unwrap();
        assert_eq!(got.version, SpecVersion::V0_4_0);
        assert_eq!(
            (got.name.as_str(), got.veth_prefix.as_str(), got.mtu),
            ("aws-cni", "eni", 9001)
        );
        assert_eq!(got.pod_sg_enforcing_mode, "strict");
        assert_eq!((got.log_file.as_str(), got.log_level), ("", LogLevel::Debug));
        assert_eq!((got.prev_result.as_ref(), got.ipamd_socket.as_ref()), (None, None));
        assert!(!got.wants_multi_nic());
    }

    #[test]
    fn every_key_counts() {
        let got = parse(
            r#"{"cniVersion":"1.0.0","name":"n","vethPrefix":"vpc","mtu":"1500","unknown":[1],
                "podSGEnforcingMode":"standard","pluginLogFile":"/l","pluginLogLevel":"WARN",
                "ipamdSocket":"/s","runtimeConfig":{"portMappings":[],
                "io.kubernetes.cri.pod-annotations":{"k8s.amazonaws.com/nicConfig":"multi-nic-attachment"}},
                "prevResult":{"ips":[{"address":"10.0.0.5/32"}]}}"#,
        )
        .unwrap();
        assert_eq!((got.veth_prefix.as_str(), got.mtu), ("vpc", 1500));
        assert_eq!((got.log_file.as_str(), got.log_level), ("/l", LogLevel::Warn));
        assert_eq!(got.pod_sg_enforcing_mode, "standard");
        assert_eq!(got.ipamd_socket, Some("/s".into()));
        assert!(got.wants_multi_nic());
        assert_eq!(got.prev_result.unwrap().ips.len(), 1);
    }

    #[test]
    fn mtu_is_text_and_falls_back() {
        let mtu = |m: &str| parse(&format!(r#"{{"cniVersion":"0.4.0","name":"n","mtu":{m}}}"#));
        for (text, want) in [
            (r#""576""#, 576),
            (r#""9001""#, 9001),
            (r#""575""#, 9001),
            (r#""9002""#, 9001),
            (r#""-1""#, 9001),
            (r#""x""#, 9001),
            (r#""""#, 9001),
            ("null", 9001),
        ] {
            assert_eq!(mtu(text).unwrap().mtu, want, "{text}");
        }
        assert!(matches!(mtu("1500"), Err(NetConfError::Decode(_))));
    }

    #[test]
    fn codes_of_the_spec() {
        for bad in ["", "{", "null", "[]", "7", r#"{"cniVersion":1,"name":"n"}"#] {
            assert_eq!(code(bad), 6, "{bad}");
        }
        assert_eq!(code(r#"{"cniVersion":"0.4.0"}"#), 7);
        assert_eq!(code(r#"{"cniVersion":"0.4.0","name":"-n"}"#), 7);
        assert_eq!(code(r#"{"cniVersion":"0.4.0","name":"n","vethPrefix":"veths"}"#), 7);
        assert_eq!(code(r#"{"cniVersion":"0.4.0","name":"n","vethPrefix":"eth"}"#), 7);
        assert_eq!(code(r#"{"name":"n"}"#), 1);
        assert_eq!(code(r#"{"cniVersion":"0.2.0","name":"n"}"#), 1);
        assert_eq!(code(r#"{"cniVersion":"2.0.0","name":"n"}"#), 1);
        assert_eq!(code(r#"{"cniVersion":"0.4.0","name":"n","prevResult":{"ips":7}}"#), 6);
        assert_eq!(
            code(r#"{"cniVersion":"0.4.0","name":"n","prevResult":{"cniVersion":"1.0.0"}}"#),
            6
        );
    }

    #[test]
    fn a_repeated_key_keeps_its_last_value() {
        let got = parse(r#"{"cniVersion":"0.4.0","name":"a","name":"b"}"#).unwrap();
        assert_eq!(got.name, "b");
    }

    #[test]
    fn errors_carry_the_version_that_was_asked_for() {
        assert_eq!(NetConf::version_for_errors(br#"{"cniVersion":"0.4.0"}"#), "0.4.0");
        assert_eq!(NetConf::version_for_errors(br#"{}"#), "0.1.0");
        assert_eq!(NetConf::version_for_errors(b"{"), "1.1.0");
        assert_eq!(NetConf::version_for_errors(br#"{"cniVersion":7}"#), "1.1.0");
    }
}
