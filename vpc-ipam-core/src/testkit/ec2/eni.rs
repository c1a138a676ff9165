//! Elastic network interfaces.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::error::Ec2Error;
use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId, VpcId},
};

/// State of an ENI as EC2 names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EniStatus {
    /// Being attached.
    Attaching,
    /// Not attached.
    Available,
    /// Being detached.
    Detaching,
    /// Attached.
    InUse,
}

impl EniStatus {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attaching => "attaching",
            Self::Available => "available",
            Self::Detaching => "detaching",
            Self::InUse => "in-use",
        }
    }
}

/// State of an attachment as EC2 names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AttachmentStatus {
    /// Done.
    Attached,
    /// Under way.
    Attaching,
    /// On its way out.
    Detaching,
}

impl AttachmentStatus {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Attaching => "attaching",
            Self::Detaching => "detaching",
        }
    }
}

/// What an ENI is for, as EC2 names it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InterfaceType {
    /// Elastic fabric adapter that also carries IP.
    Efa,
    /// Elastic fabric adapter without IP.
    EfaOnly,
    /// Ordinary.
    #[default]
    Interface,
    /// Carries branch ENIs.
    Trunk,
}

impl InterfaceType {
    /// As EC2 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Efa => "efa",
            Self::EfaOnly => "efa-only",
            Self::Interface => "interface",
            Self::Trunk => "trunk",
        }
    }
}

impl fmt::Display for InterfaceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for InterfaceType {
    type Err = Ec2Error;

    fn from_str(s: &str) -> Result<Self, Ec2Error> {
        [Self::Efa, Self::EfaOnly, Self::Interface, Self::Trunk]
            .into_iter()
            .find(|t| t.as_str() == s)
            .ok_or_else(|| {
                Ec2Error::invalid_value(format!(
                    "Invalid value '{s}' for interfaceType. Valid values: efa, efa-only, interface, trunk"
                ))
            })
    }
}

/// Idle timeouts of tracked connections, in seconds; `None` is EC2's default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConnectionTracking {
    /// Established TCP, 60 to 432 000.
    pub tcp_established_timeout: Option<u32>,
    /// UDP flows that saw more than one request and reply, 60 to 180.
    pub udp_stream_timeout: Option<u32>,
    /// Other UDP, 30 to 60.
    pub udp_timeout: Option<u32>,
}

impl ConnectionTracking {
    /// Each timeout is in the range that EC2 takes.
    pub(super) fn check(&self) -> Result<(), Ec2Error> {
        for (name, value, range) in [
            ("TcpEstablishedTimeout", self.tcp_established_timeout, 60..=432_000),
            ("UdpStreamTimeout", self.udp_stream_timeout, 60..=180),
            ("UdpTimeout", self.udp_timeout, 30..=60),
        ] {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(Ec2Error::invalid_value(format!(
                    "Value ({value}) for parameter {name} is invalid. Valid values are {} to {}",
                    range.start(),
                    range.end()
                )));
            }
        }
        Ok(())
    }
}

/// How an ENI hangs on an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Attachment {
    /// `eni-attach-…`.
    pub id: String,
    /// The instance.
    pub instance: InstanceId,
    /// Device index on the card.
    pub device: u32,
    /// Network card index.
    pub card: u32,
    /// True if the ENI dies with the instance.
    pub delete_on_termination: bool,
    /// State.
    pub status: AttachmentStatus,
    /// True once the link has appeared in the instance.
    pub(super) link: bool,
}

/// One ENI as EC2 would describe it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Eni {
    /// `eni-…`.
    pub id: EniId,
    /// Link-layer address.
    pub mac: MacAddr,
    /// VPC of its subnet.
    pub vpc: VpcId,
    /// Subnet it lives in.
    pub subnet: SubnetId,
    /// Zone of its subnet.
    pub availability_zone: String,
    /// Primary address; `None` for `efa-only`.
    pub primary_ip: Option<Ipv4Addr>,
    /// Secondary addresses in the order of assignment.
    pub secondary_ips: Vec<Ipv4Addr>,
    /// Delegated /28 prefixes in the order of assignment.
    pub prefixes: Vec<Prefix>,
    /// IPv6 addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Delegated /80 prefixes.
    pub ipv6_prefixes: Vec<Prefix>,
    /// Security groups.
    pub groups: Vec<SecurityGroupId>,
    /// Free text.
    pub description: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Purpose.
    pub kind: InterfaceType,
    /// Idle timeouts, if any was set.
    pub connection_tracking: Option<ConnectionTracking>,
    /// `None` while available.
    pub attachment: Option<Attachment>,
}

impl Eni {
    /// State.
    pub fn status(&self) -> EniStatus {
        match self.attachment.as_ref().map(|a| a.status) {
            None => EniStatus::Available,
            Some(AttachmentStatus::Attached) => EniStatus::InUse,
            Some(AttachmentStatus::Attaching) => EniStatus::Attaching,
            Some(AttachmentStatus::Detaching) => EniStatus::Detaching,
        }
    }

    /// Slots in use: prefixes count against the same limit as secondary addresses.
    pub fn slots_used(&self) -> usize {
        self.secondary_ips.len() + self.prefixes.len()
    }

    /// Everything the ENI owns besides its primary address, sorted.
    pub fn owned(&self) -> Vec<Prefix> {
        let v4 = self.secondary_ips.iter().map(|ip| Prefix::host((*ip).into()));
        let v6 = self.ipv6_addresses.iter().map(|ip| Prefix::host((*ip).into()));
        let mut owned: Vec<Prefix> =
            v4.chain(v6).chain(self.prefixes.iter().chain(&self.ipv6_prefixes).copied()).collect();
        owned.sort();
        owned
    }

    /// True for the ENI its instance was born with.
    pub fn is_primary(&self) -> bool {
        self.attachment.as_ref().is_some_and(|a| a.device == 0 && a.card == 0)
    }
}
