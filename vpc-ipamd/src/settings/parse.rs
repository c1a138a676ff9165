//! One function per variable that is more than a number or a boolean.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, str::FromStr};

use vpc_datapath_linux::names::VethPrefix;
use vpc_ipam_core::{addr::Prefix, datapath::SnatPorts};

use super::{
    BindAddress, LogLevel, LogSink, SettingsError,
    source::{Reader, shorten},
    table::{self, Variable},
};

/// EC2's limits on the length of a tag, in characters.
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;
/// Mark bits that carry the number of a pod's ENI.
const ENI_MARK_BITS: u32 = 0x7f;
const LOG_FILE_DEFAULT: &str = "/host/var/log/aws-routed-eni/ipamd.log";

impl Reader<'_> {
    /// A list of IPv4 blocks; bad entries are reported one by one and skipped.
    pub(super) fn cidrs(&mut self, var: &Variable) -> Vec<Prefix> {
        let text = self.text(var).unwrap_or_default();
        let mut cidrs = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            match Prefix::from_str(entry) {
                Ok(prefix) if prefix.is_v4() => cidrs.push(prefix),
                Ok(_) => {
                    self.warn(var.name, format!("{:?} is not IPv4; skipped", shorten(entry)));
                }
                Err(e) => self.warn(var.name, format!("{e}; skipped")),
            }
        }
        cidrs.sort_unstable();
        cidrs.dedup();
        cidrs
    }

    /// Tags as EC2 takes them; entries that it would refuse are reported and skipped.
    pub(super) fn tags(&mut self) -> BTreeMap<String, String> {
        let name = table::ADDITIONAL_ENI_TAGS.name;
        let text = self.text(&table::ADDITIONAL_ENI_TAGS).unwrap_or_default();
        if text.trim().is_empty() {
            return BTreeMap::new();
        }
        let tags: BTreeMap<String, String> = match serde_json::from_str(&text) {
            Ok(tags) => tags,
            Err(e) => {
                self.warn(name, format!("not a JSON object of strings ({e}); no extra tags"));
                return BTreeMap::new();
            }
        };
        let mut kept = BTreeMap::new();
        for (key, value) in tags {
            if key.is_empty()
                || key.chars().count() > TAG_KEY_MAX
                || value.chars().count() > TAG_VALUE_MAX
            {
                self.warn(name, format!("tag {:?} is empty or too long; skipped", shorten(&key)));
            } else if key.contains("k8s.amazonaws.com") {
                self.warn(name, format!("tag {:?} is reserved; skipped", shorten(&key)));
            } else {
                kept.insert(key, value);
            }
        }
        kept
    }

    pub(super) fn snat_ports(&mut self) -> Result<SnatPorts, SettingsError> {
        let ports = self.optional(
            &table::AWS_VPC_K8S_CNI_RANDOMIZESNAT,
            |text| match text {
                "prng" => Ok(SnatPorts::Prng),
                "hashrandom" => Ok(SnatPorts::Hash),
                "none" => Ok(SnatPorts::Keep),
                _ => Err("no such choice".to_owned()),
            },
            "prng",
        )?;
        Ok(ports.unwrap_or_default())
    }

    pub(super) fn log_sink(&self) -> LogSink {
        let text = self.text(&table::AWS_VPC_K8S_CNI_LOG_FILE).unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "stdout" => LogSink::Stdout,
            "stderr" => LogSink::Stderr,
            "" => LogSink::File(PathBuf::from(LOG_FILE_DEFAULT)),
            _ => LogSink::File(PathBuf::from(text)),
        }
    }
}

pub(super) fn connmark(text: &str) -> Result<u32, String> {
    let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    match value {
        None | Some(0) => Err("not an integer from 1 to 4294967295".to_owned()),
        Some(v) if v & ENI_MARK_BITS != 0 => {
            Err("overlaps the bits 0x7f that carry a pod's ENI".to_owned())
        }
        Some(v) => Ok(v),
    }
}

pub(super) fn veth_prefix(text: &str) -> Result<String, String> {
    VethPrefix::new(text).map(|prefix| prefix.as_str().to_owned()).map_err(|e| e.why.to_owned())
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" => Ok(LogLevel::Debug),
        "INFO" => Ok(LogLevel::Info),
        "WARN" => Ok(LogLevel::Warn),
        "ERROR" => Ok(LogLevel::Error),
        "FATAL" => Ok(LogLevel::Fatal),
        _ => Err("no such level".to_owned()),
    }
}

pub(super) fn is_adaptive(text: &str) -> Result<bool, String> {
    match text {
        "adaptive" => Ok(true),
        "static" => Ok(false),
        _ => Err("no such policy".to_owned()),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.ends_with('/') {
        return Err("not the path of a file".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn endpoint(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !host.contains(' ') => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("not an http or https URL".to_owned()),
    }
}

/// The version becomes part of an HTTP header.
pub(super) fn version(text: &str) -> Result<Option<String>, String> {
    if text.bytes().any(|b| !b.is_ascii_alphanumeric() && !b".-+_".contains(&b)) {
        return Err("not a version".to_owned());
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

pub(super) fn bind_address(text: &str) -> Result<BindAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return self::path(path).map(BindAddress::Unix);
    }
    let (host, port) = text.rsplit_once(':').ok_or("no port")?;
    port.parse::<u16>().map_err(|_| "port is not a number up to 65535".to_owned())?;
    // A host without a name is any address, as Go reads it.
    let host = if host.is_empty() { Ipv4Addr::UNSPECIFIED.to_string() } else { host.to_owned() };
    Ok(BindAddress::Tcp(format!("{host}:{port}")))
}
