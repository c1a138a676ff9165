//! What the pool holds, in numbers: the source of metrics, introspection and tables.

use std::net::IpAddr;

use crate::{
    addr::Prefix,
    budget::CallLevel,
    class::Standing,
    cloud::EniKind,
    id::{EniId, PodRef, SandboxKey, SubnetId},
    time::Time,
};

/// A snapshot of the pool. All sums are taken over `enis`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Addresses that pods can have.
    pub total: u64,
    /// Addresses that pods have.
    pub assigned: u64,
    /// Released addresses that still rest.
    pub cooling: u64,
    /// Leases whose ENI the cloud does not show: kept, not reused.
    pub orphaned: u64,
    /// Addresses that the state file names without explaining who has them: kept out of use.
    pub quarantined: u64,
    /// Delegated prefixes.
    pub prefixes: u64,
    /// Single addresses that stand in for prefixes, because the subnet had no free block for one.
    pub singles: u64,
    /// Of these, those that pods have.
    pub singles_assigned: u64,
    /// Attached ENIs that take a place but are not for the pool to use.
    pub unmanaged_enis: u64,
    /// ADDs that are waiting for an address.
    pub waiting: u64,
    /// Operations under way in the cloud.
    pub in_flight: u64,
    /// ENIs, sorted by card and device.
    pub enis: Vec<EniStats>,
    /// Until when some kind of growth is paused because a subnet is exhausted. In prefix mode, single
    /// addresses may still be had.
    pub growth_paused_until: Option<Time>,
    /// What the pool does without because EC2 throttles.
    pub call_level: CallLevel,
    /// Calls that EC2 has throttled since the pool began.
    pub throttled_calls: u64,
    /// Events that answered no operation.
    pub unexpected_events: u64,
    /// ADDs that ended without an address.
    pub no_address: u64,
    /// True once the ENIs are known, from the cloud or from an earlier life, and set up.
    pub ready: bool,
    /// Why the pool is not as it should be, one plain sentence per reason.
    pub degraded: Vec<String>,
}

/// One ENI of the pool.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EniStats {
    /// EC2 id.
    pub id: EniId,
    /// Device index.
    pub device: u32,
    /// Network card.
    pub card: u32,
    /// What EC2 says it is for.
    pub kind: EniKind,
    /// True for the node's first ENI.
    pub primary: bool,
    /// What the pool does with it.
    pub standing: Standing,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its routing table.
    pub table: u32,
    /// What it holds for pods, sorted.
    pub cidrs: Vec<CidrStats>,
}

/// One secondary address or prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CidrStats {
    /// The block.
    pub cidr: Prefix,
    /// True for a delegated prefix.
    pub is_prefix: bool,
    /// Addresses in use or resting, sorted by address.
    pub addresses: Vec<AddressStats>,
}

/// One address that is, or recently was, a pod's.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AddressStats {
    /// The address.
    pub ip: IpAddr,
    /// Its owner; `None` while it rests.
    pub key: Option<SandboxKey>,
    /// Its owner's pod, or its last owner's.
    pub pod: PodRef,
    /// When it was given.
    pub assigned: Time,
    /// When it was taken back.
    pub released: Option<Time>,
}

impl EniStats {
    /// Addresses that pods can have on this ENI.
    pub fn total(&self) -> u64 {
        self.cidrs.iter().map(|c| u64::try_from(c.cidr.size()).unwrap_or(u64::MAX)).sum()
    }

    /// Addresses that pods have on this ENI.
    pub fn assigned(&self) -> u64 {
        self.cidrs.iter().map(CidrStats::assigned).sum()
    }
}

impl CidrStats {
    /// Addresses of this block that pods have.
    pub fn assigned(&self) -> u64 {
        self.addresses.iter().filter(|a| a.key.is_some()).count() as u64
    }
}
