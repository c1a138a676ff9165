//! The state file: `vpc-cni-ipam/1`, the reference's format.
//!
//! Nothing that can be saved is refused. Members that this version does not know go back into the
//! file as they came. An entry that is not understood, or that contradicts another one, is
//! [`Kept`]: it stays in the file, is reported, and nobody else is given an address that it names:
//!
//! - Two sandboxes with one address: a pod of either may be using it, so that neither may free it for
//!   others alone. Both entries are kept; the DEL of each removes its own, and the last one frees the
//!   address.
//! - One sandbox with two addresses: the later lease counts, and the earlier entry is kept until the
//!   sandbox's DEL removes both.
//! - An entry that cannot be understood: kept until a DEL of its sandbox, if it names one. Otherwise it
//!   has to be removed by hand, while no daemon runs; a reboot does it where the file is on a tmpfs.
//!
//! A file that is torn, is no state file or has another version says nothing that can be relied upon:
//! [`decode`] refuses it, and the caller sets it aside.

mod changes;
mod raw;
mod read;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;
use thiserror::Error;

pub use self::{
    changes::{Changes, RESERVED_NETWORK},
    read::decode,
};
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
    /// What else its entry says.
    pub unknown: Unknown,
}

/// Members of the file that this version does not know, as they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unknown {
    /// Members of the object itself: `"a":1,"b":[2]`.
    own: Box<str>,
    /// Members of its metadata.
    metadata: Box<str>,
}

/// An entry of the file that is no lease, and goes back into it as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Addresses that it names, sorted. Nobody may be given one of them.
    pub addresses: Vec<IpAddr>,
    /// Sandbox that it names.
    pub owner: Option<SandboxKey>,
    /// Why it is no lease.
    pub why: Unexplained,
    text: Box<str>,
}

/// Why an entry of the state file is not taken for a lease.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unexplained {
    /// It is not what the format says; the text says where.
    NotUnderstood(String),
    /// Its sandbox has a later lease of another address.
    SecondLease,
    /// Another entry names the same address.
    SharedAddress,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnderstood(why) => write!(f, "it is not understood: {why}"),
            Self::SecondLease => f.write_str("its sandbox has a later lease of another address"),
            Self::SharedAddress => f.write_str("another entry has the same address"),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner}")?,
            None => f.write_str("an unknown sandbox")?,
        }
        for (n, ip) in self.addresses.iter().enumerate() {
            write!(f, "{}{ip}", if n == 0 { " with " } else { " and " })?;
        }
        write!(f, " ({})", self.why)
    }
}

/// All leases at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Checkpoint {
    /// Sorted by address. No two have the same address or owner.
    pub leases: Vec<Lease>,
    /// Entries that are no leases.
    pub kept: Vec<Kept>,
    /// What else the file says.
    pub unknown: Unknown,
}

impl Checkpoint {
    /// A checkpoint of nothing but these leases.
    pub fn new(leases: Vec<Lease>) -> Self {
        Self { leases, ..Self::default() }
    }
}

/// Why a state file cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not what the format says.
    #[error("not a {VERSION} state file: {0}")]
    Malformed(String),
    /// Some other version.
    #[error("version {0:?} is not {VERSION}")]
    Version(String),
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

/// Encodes `checkpoint` as one line of JSON.
pub fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut file = format!("{{\"version\":\"{VERSION}\",\"allocations\":[").into_bytes();
    for lease in &checkpoint.leases {
        put_lease(&mut file, lease);
        file.push(b',');
    }
    for kept in &checkpoint.kept {
        file.extend_from_slice(kept.text.as_bytes());
        file.push(b',');
    }
    file.pop_if(|last| *last == b',');
    file.push(b']');
    put_members(&mut file, &checkpoint.unknown.own);
    file.extend_from_slice(b"}\n");
    file
}

fn put_lease(file: &mut Vec<u8>, lease: &Lease) {
    let (ipv4, ipv6) = match lease.ip {
        IpAddr::V4(ip) => (Some(ip), None),
        IpAddr::V6(ip) => (None, Some(ip)),
    };
    let entry = EntryOut {
        network_name: lease.key.network(),
        container_id: lease.key.container_id(),
        if_name: lease.key.if_name(),
        ipv4,
        ipv6,
        allocation_timestamp: lease.allocated_ns,
    };
    let metadata = MetadataOut {
        namespace: &lease.pod.namespace,
        name: &lease.pod.name,
        interfaces: lease.interfaces,
    };
    // Strings, integers and addresses only: serialisation into memory has no way to fail.
    let _ = serde_json::to_writer(&mut *file, &entry);
    file.pop();
    file.extend_from_slice(b",\"metadata\":");
    let _ = serde_json::to_writer(&mut *file, &metadata);
    file.pop();
    put_members(file, &lease.unknown.metadata);
    file.push(b'}');
    put_members(file, &lease.unknown.own);
    file.push(b'}');
}

/// Adds members to the object that has been begun.
fn put_members(file: &mut Vec<u8>, members: &str) {
    if members.is_empty() {
        return;
    }
    if file.last() != Some(&b'{') {
        file.push(b',');
    }
    file.extend_from_slice(members.as_bytes());
}

/// Path of the state file of a network card, given the one of card 0: `ipam.json`, `ipam-nic-1.json`,
/// and so on, as the reference names them.
pub fn path_of_card(path: &str, card: u32) -> String {
    if card == 0 {
        return path.to_owned();
    }
    format!("{}-nic-{card}.json", path.strip_suffix(".json").unwrap_or(path))
}

#[cfg(test)]
mod tests;
