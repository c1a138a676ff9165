//! The state file: `vpc-cni-ipam/1`, the reference's format.

use std::net::IpAddr;

use thiserror::Error;

use crate::id::{PodRef, SandboxKey};

/// Version text that the file must carry.
pub const VERSION: &str = "vpc-cni-ipam/1";

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
    /// Some other version.
    #[error("version {0:?} is not {VERSION}")]
    Version(String),
}

/// Encodes `checkpoint` as one line of JSON.
pub fn encode(_checkpoint: &Checkpoint) -> Vec<u8> {
    todo!()
}

/// Decodes a state file.
///
/// # Errors
///
/// If the file is torn, of another version, or contradicts itself.
pub fn decode(_content: &[u8]) -> Result<Checkpoint, CheckpointError> {
    todo!()
}
