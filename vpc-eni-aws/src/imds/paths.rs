//! What is read from instance metadata, and under which name it is counted.

use vpc_ipam_core::id::MacAddr;

/// A metadata value. The counter name is the reference's accessor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    AvailabilityZone,
    DeviceNumber(MacAddr),
    Identity,
    InstanceId,
    InstanceType,
    InterfaceId(MacAddr),
    Ipv4Prefixes(MacAddr),
    Ipv6Prefixes(MacAddr),
    Ipv6s(MacAddr),
    LocalIpv4,
    LocalIpv4s(MacAddr),
    Mac,
    Macs,
    NetworkCard(MacAddr),
    SecurityGroups(MacAddr),
    SubnetCidr(MacAddr),
    SubnetId(MacAddr),
    SubnetIpv6Cidrs(MacAddr),
    VpcCidrs(MacAddr),
    VpcId(MacAddr),
    VpcIpv6Cidrs(MacAddr),
}

impl Item {
    /// Absolute path. Directories are asked for without a trailing slash.
    pub(crate) fn path(self) -> String {
        const META: &str = "/latest/meta-data";
        let of = |mac: MacAddr, key| format!("{META}/network/interfaces/macs/{mac}/{key}");
        match self {
            Self::AvailabilityZone => format!("{META}/placement/availability-zone"),
            Self::DeviceNumber(mac) => of(mac, "device-number"),
            Self::Identity => "/latest/dynamic/instance-identity/document".to_owned(),
            Self::InstanceId => format!("{META}/instance-id"),
            Self::InstanceType => format!("{META}/instance-type"),
            Self::InterfaceId(mac) => of(mac, "interface-id"),
            Self::Ipv4Prefixes(mac) => of(mac, "ipv4-prefix"),
            Self::Ipv6Prefixes(mac) => of(mac, "ipv6-prefix"),
            Self::Ipv6s(mac) => of(mac, "ipv6s"),
            Self::LocalIpv4 => format!("{META}/local-ipv4"),
            Self::LocalIpv4s(mac) => of(mac, "local-ipv4s"),
            Self::Mac => format!("{META}/mac"),
            Self::Macs => format!("{META}/network/interfaces/macs"),
            Self::NetworkCard(mac) => of(mac, "network-card"),
            Self::SecurityGroups(mac) => of(mac, "security-group-ids"),
            Self::SubnetCidr(mac) => of(mac, "subnet-ipv4-cidr-block"),
            Self::SubnetId(mac) => of(mac, "subnet-id"),
            Self::SubnetIpv6Cidrs(mac) => of(mac, "subnet-ipv6-cidr-blocks"),
            Self::VpcCidrs(mac) => of(mac, "vpc-ipv4-cidr-blocks"),
            Self::VpcId(mac) => of(mac, "vpc-id"),
            Self::VpcIpv6Cidrs(mac) => of(mac, "vpc-ipv6-cidr-blocks"),
        }
    }

    /// Name in the counters.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::AvailabilityZone => "GetAZ",
            Self::DeviceNumber(_) => "GetDeviceNumber",
            Self::Identity => "GetInstanceIdentityDocument",
            Self::InstanceId => "GetInstanceID",
            Self::InstanceType => "GetInstanceType",
            Self::InterfaceId(_) => "GetInterfaceID",
            Self::Ipv4Prefixes(_) => "GetIPv4Prefixes",
            Self::Ipv6Prefixes(_) => "GetIPv6Prefixes",
            Self::Ipv6s(_) => "GetIPv6s",
            Self::LocalIpv4 => "GetLocalIPv4",
            Self::LocalIpv4s(_) => "GetLocalIPv4s",
            Self::Mac => "GetMAC",
            Self::Macs => "GetMACs",
            Self::NetworkCard(_) => "GetNetworkCard",
            Self::SecurityGroups(_) => "GetSecurityGroupIDs",
            Self::SubnetCidr(_) => "GetSubnetIPv4CIDRBlock",
            Self::SubnetId(_) => "GetSubnetID",
            Self::SubnetIpv6Cidrs(_) => "GetSubnetIPv6CIDRBlocks",
            Self::VpcCidrs(_) => "GetVPCIPv4CIDRBlocks",
            Self::VpcId(_) => "GetVpcID",
            Self::VpcIpv6Cidrs(_) => "GetVPCIPv6CIDRBlocks",
        }
    }
}
