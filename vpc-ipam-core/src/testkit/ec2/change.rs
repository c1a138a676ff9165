//! What an embedder is told so that it can plug links and route addresses.

use std::net::Ipv4Addr;

use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr},
};

/// An ENI whose link is to appear in its instance.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AttachedEni {
    /// The ENI.
    pub eni: EniId,
    /// Its link-layer address; the link must carry it.
    pub mac: MacAddr,
    /// The instance that gets the link.
    pub instance: InstanceId,
    /// Device index on the card.
    pub device: u32,
    /// Network card index.
    pub card: u32,
    /// IPv4 block of the ENI's subnet; the gateway is its second address.
    pub subnet_cidr: Prefix,
    /// Primary address.
    pub primary_ip: Ipv4Addr,
    /// True for the ENI the instance was born with.
    pub primary: bool,
}

/// One change outside the model, in the order in which they must be applied.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WorldChange {
    /// A link appears. [`AddressesChanged`](Self::AddressesChanged) follows at once.
    EniAttached(AttachedEni),
    /// A link disappears.
    EniDetached {
        /// The ENI.
        eni: EniId,
        /// Its link-layer address.
        mac: MacAddr,
        /// The instance that loses the link.
        instance: InstanceId,
        /// Device index on the card.
        device: u32,
        /// Network card index.
        card: u32,
    },
    /// What an ENI with a link owns has changed.
    AddressesChanged {
        /// The ENI.
        eni: EniId,
        /// Its primary address, always owned.
        primary_ip: Ipv4Addr,
        /// Everything else that it owns now: secondary addresses and prefixes, sorted.
        owned: Vec<Prefix>,
    },
}
