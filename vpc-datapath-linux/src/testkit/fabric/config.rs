//! What a fabric and an ENI are made from.

use std::net::{IpAddr, Ipv4Addr};

use vpc_ipam_core::{addr::Prefix, id::MacAddr};

use super::FabricError;

/// Largest packet between ENIs of a VPC, in bytes, as AWS documents it.
pub const VPC_MTU: u32 = 9001;

/// Largest packet to and from the internet, in bytes, as AWS documents it.
const INTERNET_MTU: u32 = 1500;

/// How a VPC is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FabricConfig {
    /// Address ranges of the VPC.
    pub vpc_cidrs: Vec<Prefix>,
    /// Address of the one host on the internet.
    pub internet: Ipv4Addr,
    /// Largest packet on the way there, in bytes. The router tells senders of larger ones.
    pub internet_mtu: u32,
}

impl FabricConfig {
    /// A VPC of these ranges, with an internet host whose link carries 1500 bytes.
    pub fn new(vpc_cidrs: &[Prefix], internet: Ipv4Addr) -> Self {
        Self { vpc_cidrs: vpc_cidrs.to_vec(), internet, internet_mtu: INTERNET_MTU }
    }
}

/// An ENI and where it is plugged in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EniPort {
    /// Its id, the key of everything that the fabric tells about it.
    pub eni_id: String,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// What the node calls its link, `eth1` or `ens6`.
    pub if_name: String,
    /// Its primary address, which it always owns.
    pub primary_ip: Ipv4Addr,
    /// Its subnet.
    pub subnet: Prefix,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// True for the node's first ENI, the only one whose address reaches the internet.
    pub primary: bool,
    /// Reverse path filter of the link, if it differs from the node's.
    pub rp_filter: Option<u8>,
}

impl EniPort {
    /// A secondary ENI that carries 9001 bytes.
    pub fn new(
        eni_id: &str,
        mac: MacAddr,
        if_name: &str,
        primary_ip: Ipv4Addr,
        subnet: Prefix,
    ) -> Self {
        Self {
            eni_id: eni_id.to_owned(),
            mac,
            if_name: if_name.to_owned(),
            primary_ip,
            subnet,
            mtu: VPC_MTU,
            primary: false,
            rp_filter: None,
        }
    }

    /// The node's first ENI.
    #[must_use]
    pub fn primary(mut self) -> Self {
        self.primary = true;
        self
    }

    /// Another largest packet, in bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Another reverse path filter than the node's: 0 off, 1 strict, 2 loose.
    #[must_use]
    pub fn rp_filter(mut self, value: u8) -> Self {
        self.rp_filter = Some(value);
        self
    }
}

/// The address after a subnet's first, which AWS reserves for the router.
pub(super) fn gateway(subnet: &Prefix) -> Result<IpAddr, FabricError> {
    let gateway = subnet.nth(1).filter(|_| subnet.is_v4() && subnet.size() > 2);
    gateway.ok_or(FabricError::NoGateway { subnet: *subnet })
}
