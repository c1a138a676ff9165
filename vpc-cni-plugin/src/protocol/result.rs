//! Results: what ADD made, as one version of the spec writes it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::SpecVersion;

/// Why a text is not a result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResultError {
    /// Not the JSON of a result.
    #[error("not a result: {0}")]
    Decode(#[from] serde_json::Error),
    /// The result is of a version that the configuration's version cannot read.
    #[error("its cniVersion {found:?} does not fit the configuration's {config}")]
    Version {
        /// Version in the result.
        found: String,
        /// Version of the configuration.
        config: SpecVersion,
    },
}

/// A result, independent of version.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CniResult {
    /// Interfaces on the host and in the sandbox.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<IpConfig>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Name service.
    pub dns: Dns,
}

/// One interface of a result.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Interface {
    /// Interface name.
    #[serde(default)]
    pub name: String,
    /// MAC, as text: this plugin and the reference keep a routing table's number here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// MTU in bytes (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Path of the network namespace; absent for the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Socket of a user-space interface (since 1.1.0).
    #[serde(default, rename = "socketPath", skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// PCI address (since 1.1.0).
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

impl Interface {
    /// An interface on the host, known by its name alone.
    pub fn host(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// An interface with a `mac` and a `sandbox`.
    pub fn new(
        name: impl Into<String>,
        mac: impl Into<String>,
        sandbox: impl Into<String>,
    ) -> Self {
        Self { mac: Some(mac.into()), sandbox: Some(sandbox.into()), ..Self::host(name) }
    }
}

/// One address of a result.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IpConfig {
    /// Address with the length of its network.
    pub address: IpNetwork,
    /// Index of its interface in the result.
    #[serde(default)]
    pub interface: Option<usize>,
    /// Gateway.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

/// One route of a result.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNetwork,
    /// Next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
}

/// Name service of a result; usually empty.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "cniVersion")]
    cni_version: Option<String>,
    interfaces: Option<Vec<Interface>>,
    ips: Option<Vec<IpConfig>>,
    routes: Option<Vec<Route>>,
    dns: Option<Dns>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Write<'a> {
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<WriteIp>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: &'a [Route],
    dns: &'a Dns,
}

#[derive(Serialize)]
struct WriteIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl CniResult {
    /// Reads a result as `config`, the version of the configuration that carries it, does. A result
    /// that does not say its version has that of the configuration.
    ///
    /// # Errors
    ///
    /// If it is not a result, or one of a generation that `config` cannot read.
    pub fn from_json(config: SpecVersion, json: Value) -> Result<Self, ResultError> {
        let read = Read::deserialize(json)?;
        let found = read.cni_version.filter(|v| !v.is_empty());
        if let Some(found) = found {
            let fits = SpecVersion::parse(&found).is_some_and(|v| config.reads(v));
            if !fits {
                let found = found.chars().take(64).collect();
                return Err(ResultError::Version { found, config });
            }
        }
        Ok(Self {
            interfaces: read.interfaces.unwrap_or_default(),
            ips: read.ips.unwrap_or_default(),
            routes: read.routes.unwrap_or_default(),
            dns: read.dns.unwrap_or_default(),
        })
    }

    /// The result as JSON of `version`; what that version does not know is left out.
    pub fn to_json(&self, version: SpecVersion) -> String {
        let write = Write {
            cni_version: version.as_str(),
            interfaces: self.interfaces.iter().map(|i| interface_for(version, i)).collect(),
            ips: self.ips.iter().map(|ip| ip_for(version, ip)).collect(),
            routes: &self.routes,
            dns: &self.dns,
        };
        serde_json::to_string(&write).unwrap_or_default()
    }
}

fn interface_for(version: SpecVersion, interface: &Interface) -> Interface {
    let mut interface = interface.clone();
    if version < SpecVersion::V1_1_0 {
        (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
    }
    interface
}

fn ip_for(version: SpecVersion, ip: &IpConfig) -> WriteIp {
    let family = if ip.address.is_ipv4() { "4" } else { "6" };
    WriteIp {
        version: version.addresses_say_family().then_some(family),
        interface: ip.interface,
        address: ip.address.to_string(),
        gateway: ip.gateway,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod() -> CniResult {
        CniResult {
            interfaces: vec![
                Interface::host("enicc21c2d7785"),
                Interface {
                    mtu: Some(9001),
                    ..Interface::new("eth0", "3", "/var/run/netns/cni-1")
                },
                Interface::new("dummycc21c2d7785", "0", "2"),
            ],
            ips: vec![IpConfig {
                address: "10.0.50.5/32".parse().unwrap(),
                interface: Some(1),
                gateway: None,
            }],
            ..CniResult::default()
        }
    }

    #[test]
    fn old_versions_say_the_family() {
        assert_eq!(
            pod().to_json(SpecVersion::V0_4_0),
            r#"{"cniVersion":"0.4.0","interfaces":[{"name":"enicc21c2d7785"},{"name":"eth0","mac":"3","sandbox":"/var/run/netns/cni-1"},{"name":"dummycc21c2d7785","mac":"0","sandbox":"2"}],"ips":[{"version":"4","interface":1,"address":"10.0.50.5/32"}],"dns":{}}"#
        );
    }

    #[test]
    fn new_versions_do_not_and_only_the_newest_knows_mtu() {
        let (v100, v110) = (pod().to_json(SpecVersion::V1_0_0), pod().to_json(SpecVersion::V1_1_0));
        assert!(!v100.contains(r#""version""#) && !v100.contains("mtu"), "{v100}");
        assert!(!v110.contains(r#""version""#) && v110.contains(r#""mtu":9001"#), "{v110}");
    }

    #[test]
    fn every_version_reads_back_what_it_wrote() {
        for version in SpecVersion::ALL {
            let text = pod().to_json(version);
            let back = CniResult::from_json(version, serde_json::from_str(&text).unwrap()).unwrap();
            let mut want = pod();
            if version < SpecVersion::V1_1_0 {
                want.interfaces.iter_mut().for_each(|i| i.mtu = None);
            }
            assert_eq!(back, want, "{version}");
        }
    }

    #[test]
    fn a_result_without_a_version_has_the_configuration_s() {
        let json = serde_json::json!({"ips":[{"version":"4","address":"10.0.0.5/32"}]});
        assert_eq!(CniResult::from_json(SpecVersion::V0_4_0, json).unwrap().ips.len(), 1);
    }

    #[test]
    fn what_cannot_be_a_result_is_refused() {
        for bad in [
            serde_json::json!([]),
            serde_json::json!({"ips":[{"address":"10.0.0"}]}),
            serde_json::json!({"ips":[{"address":"10.0.0.5/32","interface":-1}]}),
            serde_json::json!({"interfaces":"eth0"}),
            serde_json::json!({"cniVersion":"0.2.0"}),
        ] {
            assert!(CniResult::from_json(SpecVersion::V1_0_0, bad.clone()).is_err(), "{bad}");
        }
    }
}
