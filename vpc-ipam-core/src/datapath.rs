//! Port to the kernel: desired state of the node, its ENIs and its pods.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use thiserror::Error;

use crate::{
    addr::Prefix,
    id::{EniId, MacAddr, PodRef},
};

/// The kernel's main routing table.
pub const MAIN_TABLE: u32 = 254;

/// Routing table of the ENI at `device` on `card`.
///
/// The primary ENI uses main. The numbers are shared with the reference and with Amazon Linux's
/// network tooling, so that either finds what the other made.
pub fn route_table(card: u32, device: u32) -> u32 {
    match (card, device) {
        (0, 0) => MAIN_TABLE,
        (0, d) => d.saturating_add(1),
        (c, d) => 10_000u32.saturating_add(c.saturating_mul(100)).saturating_add(d),
    }
}

/// Source port choice of SNATed connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SnatPorts {
    /// Hash of the connection (`hashrandom`).
    Hash,
    /// Keep the pod's port where possible (`none`).
    Keep,
    /// Fully random (`prng`).
    #[default]
    Prng,
}

/// Who translates the source of traffic that leaves the VPC.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Snat {
    /// Somebody else, such as a NAT gateway: pods keep their address everywhere.
    External,
    /// This node, to its primary address.
    Node {
        /// Source port choice.
        ports: SnatPorts,
        /// Destinations outside the VPC that see the pod's own address.
        exclude: Vec<Prefix>,
    },
}

/// Desired state of the node as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeSpec {
    /// MAC of the primary ENI.
    pub primary_mac: MacAddr,
    /// Primary IPv4 address of the node.
    pub primary_ip: Ipv4Addr,
    /// IPv4 blocks of the VPC.
    pub vpc_cidrs: Vec<Prefix>,
    /// Source translation.
    pub snat: Snat,
    /// Answer NodePort connections through the interface they came by.
    pub node_port: bool,
    /// First characters of host veth names, `eni` by default.
    pub veth_prefix: String,
    /// Mark bit of connections that belong to the primary ENI, `0x80` by default.
    pub connmark: u32,
    /// MTU of all ENIs in bytes.
    pub mtu: u32,
    /// Destinations that always take the main table.
    pub external_service_cidrs: Vec<Prefix>,
}

/// Desired state of one ENI on the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EniSpec {
    /// EC2 id, for messages.
    pub id: EniId,
    /// How the link is found.
    pub mac: MacAddr,
    /// Device index on its card.
    pub device: u32,
    /// Network card index.
    pub card: u32,
    /// True for the primary ENI, whose address and routes belong to the operating system.
    pub primary: bool,
    /// Primary address of the ENI.
    pub primary_ip: IpAddr,
    /// Block of the ENI's subnet; its first address is the gateway.
    pub subnet_cidr: Prefix,
    /// Routing table, see [`route_table`].
    pub table: u32,
    /// All that the ENI owns for pods: packets from these leave by it.
    pub sources: Vec<Prefix>,
}

/// One address of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodAddress {
    /// The address, configured as a host address.
    pub ip: IpAddr,
    /// Table of the owning ENI; [`MAIN_TABLE`] for the primary one.
    pub table: u32,
    /// Device index of the owning ENI.
    pub device: u32,
}

/// Desired state of one pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodSpec {
    /// Whose pod, for names and messages.
    pub pod: PodRef,
    /// Path of the pod's network namespace.
    pub netns: PathBuf,
    /// Name of the interface inside the pod.
    pub if_name: String,
    /// First characters of the host veth's name.
    pub veth_prefix: String,
    /// Addresses, first one on `if_name`.
    pub addresses: Vec<PodAddress>,
    /// MTU of the pod's interface in bytes.
    pub mtu: u32,
}

/// What is known of a pod when it goes: its namespace may be gone already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodTeardown {
    /// Whose pod.
    pub pod: PodRef,
    /// First characters of the host veth's name.
    pub veth_prefix: String,
    /// Addresses it had.
    pub addresses: Vec<PodAddress>,
}

/// What wiring a pod made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodWiring {
    /// Host end of the veth pair.
    pub host_if: String,
    /// MAC of the host end: the pod's gateway.
    pub host_mac: MacAddr,
    /// MAC of the pod's end.
    pub container_mac: MacAddr,
}

/// What kind of failure the kernel met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DatapathErrorKind {
    /// The link with the ENI's MAC has not appeared yet; try again.
    LinkMissing,
    /// The pod's network namespace does not exist or is not one.
    NetnsMissing,
    /// A feature or a right that the kernel does not give.
    NotSupported,
    /// Anything else.
    Other,
}

/// A failed kernel operation.
#[derive(Clone, Debug, Error)]
#[error("{object}: {message}")]
#[non_exhaustive]
pub struct DatapathError {
    /// Kind of failure.
    pub kind: DatapathErrorKind,
    /// What was being set up or removed, for example `eni-0a1 (02:…)` or `pod shop/cart`.
    pub object: String,
    /// Which step failed, the kernel's reason, and the remedy where there is one.
    pub message: String,
}

impl DatapathError {
    /// An error of `kind` about `object`.
    pub fn new(
        kind: DatapathErrorKind,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, object: object.into(), message: message.into() }
    }
}

/// The kernel as driver and plugin see it. Real adapter: `vpc-datapath-linux`; stateful fake:
/// `testkit`. All calls are idempotent and blocking (well under a millisecond to a few ones).
pub trait Datapath: Send + Sync {
    /// Makes the node's rules, tables and chains what `node` says.
    ///
    /// # Errors
    ///
    /// At the first step that fails; nothing that worked before is torn down.
    fn set_up_node(&self, node: &NodeSpec) -> Result<(), DatapathError>;

    /// Makes one ENI what `eni` says: link, address, table, rule, and the source map of what it owns.
    ///
    /// # Errors
    ///
    /// [`DatapathErrorKind::LinkMissing`] until the kernel shows the link.
    fn set_up_eni(&self, eni: &EniSpec) -> Result<(), DatapathError>;

    /// Removes all that [`set_up_eni`](Self::set_up_eni) made. The link may be gone.
    ///
    /// # Errors
    ///
    /// After trying every step, the failures together.
    fn tear_down_eni(&self, eni: &EniSpec) -> Result<(), DatapathError>;

    /// Wires a pod. On error nothing of it remains.
    ///
    /// # Errors
    ///
    /// At the first step that fails.
    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError>;

    /// Removes a pod's rules and routes. What is gone already is a success.
    ///
    /// # Errors
    ///
    /// After trying every step, the failures together.
    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_numbers_are_those_of_the_reference() {
        assert_eq!(route_table(0, 0), MAIN_TABLE);
        assert_eq!(route_table(0, 1), 2);
        assert_eq!(route_table(1, 1), 10_101);
        assert_eq!(route_table(2, 3), 10_203);
    }
}
