//! The state file: `vpc-cni-ipam/1`, the reference's format.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{PodRef, SandboxKey};

/// Version text that the file must carry.
pub const VERSION: &str = "vpc-cni-ipam/1";

/// Largest file accepted, in bytes. A lease takes about 300 bytes and no node runs more than a few
/// thousand pods, so a larger file is not a state file.
pub const SIZE_MAX: usize = 16 << 20;

/// One lease as the file has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// Owner.
    pub key: SandboxKey,
    /// The address.
    pub ip: IpAddr,
    /// Nanoseconds since the epoch.
    pub allocated_ns: i64,
    /// Whose pod.
    pub pod: PodRef,
    /// Cards that the pod has an address on; 1 unless the file says otherwise.
    pub interfaces: u32,
}

/// All leases at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Checkpoint {
    /// Sorted by address.
    pub leases: Vec<Lease>,
}

/// Why a state file cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not what the format says.
    #[error("not a {VERSION} state file: {0}")]
    Malformed(String),
    /// Two leases of one address.
    #[error("address {0} is leased twice")]
    Duplicate(IpAddr),
    /// Two leases of one owner.
    #[error("sandbox {0} has two leases")]
    DuplicateKey(String),
    /// Some other version.
    #[error("version {0:?} is not {VERSION}")]
    Version(String),
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: &'a str,
    allocations: Vec<EntryOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryOut<'a> {
    network_name: &'a str,
    #[serde(rename = "containerID")]
    container_id: &'a str,
    if_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    allocation_timestamp: i64,
    metadata: MetadataOut<'a>,
}

#[derive(Serialize)]
struct MetadataOut<'a> {
    #[serde(rename = "k8sPodNamespace", skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(rename = "k8sPodName", skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "interfacesCount", skip_serializing_if = "is_zero")]
    interfaces: u32,
}

// serde's `skip_serializing_if` passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[derive(Deserialize)]
struct FileIn {
    #[serde(default)]
    version: String,
    // The reference writes `[]`, other Go programs may write `null` for an empty list.
    #[serde(default)]
    allocations: Option<Vec<EntryIn>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryIn {
    network_name: String,
    #[serde(rename = "containerID")]
    container_id: String,
    if_name: String,
    #[serde(default)]
    ipv4: Option<String>,
    #[serde(default)]
    ipv6: Option<String>,
    #[serde(default)]
    allocation_timestamp: i64,
    #[serde(default)]
    metadata: Option<MetadataIn>,
}

#[derive(Default, Deserialize)]
struct MetadataIn {
    #[serde(default, rename = "k8sPodNamespace")]
    namespace: String,
    #[serde(default, rename = "k8sPodName")]
    name: String,
    #[serde(default, rename = "interfacesCount")]
    interfaces: u32,
}

/// Encodes `checkpoint` as one line of JSON.
pub fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let allocations = checkpoint
        .leases
        .iter()
        .map(|lease| {
            let (ipv4, ipv6) = match lease.ip {
                IpAddr::V4(ip) => (Some(ip), None),
                IpAddr::V6(ip) => (None, Some(ip)),
            };
            EntryOut {
                network_name: lease.key.network(),
                container_id: lease.key.container_id(),
                if_name: lease.key.if_name(),
                ipv4,
                ipv6,
                allocation_timestamp: lease.allocated_ns,
                metadata: MetadataOut {
                    namespace: &lease.pod.namespace,
                    name: &lease.pod.name,
                    interfaces: lease.interfaces,
                },
            }
        })
        .collect();
    // Strings, integers and addresses only: serialisation into memory has no way to fail.
    let mut content =
        serde_json::to_vec(&FileOut { version: VERSION, allocations }).unwrap_or_default();
    content.push(b'\n');
    content
}

/// Decodes a state file. Unknown keys are ignored, as is the order of the leases.
///
/// # Errors
///
/// If the file is torn, of another version, or contradicts itself.
pub fn decode(content: &[u8]) -> Result<Checkpoint, CheckpointError> {
    if content.len() > SIZE_MAX {
        let text = format!("{} bytes are more than the {SIZE_MAX} allowed", content.len());
        return Err(CheckpointError::Malformed(text));
    }
    let file: FileIn =
        serde_json::from_slice(content).map_err(|e| CheckpointError::Malformed(e.to_string()))?;
    if file.version != VERSION {
        return Err(CheckpointError::Version(file.version.chars().take(64).collect()));
    }
    let mut leases = Vec::new();
    let (mut ips, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for entry in file.allocations.unwrap_or_default() {
        let lease = entry.lease()?;
        if !ips.insert(lease.ip) {
            return Err(CheckpointError::Duplicate(lease.ip));
        }
        if !keys.insert(lease.key.clone()) {
            return Err(CheckpointError::DuplicateKey(lease.key.to_string()));
        }
        leases.push(lease);
    }
    leases.sort_by_key(|lease| lease.ip);
    Ok(Checkpoint { leases })
}

impl EntryIn {
    fn lease(self) -> Result<Lease, CheckpointError> {
        let key = SandboxKey::new(&self.network_name, &self.container_id, &self.if_name)
            .map_err(|e| CheckpointError::Malformed(e.to_string()))?;
        let bad = |text: &str| {
            let text: String = text.chars().take(64).collect();
            CheckpointError::Malformed(format!("sandbox {key} has the address {text:?}"))
        };
        let v4 = self.ipv4.filter(|text| !text.is_empty());
        let v6 = self.ipv6.filter(|text| !text.is_empty());
        let ip = match (v4, v6) {
            (Some(text), None) => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| bad(&text)),
            (None, Some(text)) => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| bad(&text)),
            (None, None) => Err(bad("")),
            (Some(v4), Some(v6)) => Err(bad(&format!("{v4} and {v6}"))),
        }?;
        let metadata = self.metadata.unwrap_or_default();
        Ok(Lease {
            key,
            ip,
            allocated_ns: self.allocation_timestamp,
            pod: PodRef { namespace: metadata.namespace, name: metadata.name },
            interfaces: metadata.interfaces.max(1),
        })
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
