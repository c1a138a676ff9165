//! What is read from instance metadata: where, how long it holds, what its absence means, and under which name it
//! is counted.
//!
//! Attributes are asked for one by one and the listing of an ENI's attributes is not asked for at all: it says
//! nothing that a 404 does not say, costs a request more, and where it fails it must not be taken for "no
//! attributes". Values are trimmed, whether or not metadata ends them with a newline.

use vpc_ipam_core::id::MacAddr;

/// What every path begins with.
pub(super) const ROOT: &str = "/latest/";
/// Where a token is to be had.
pub(super) const TOKEN_PATH: &str = "/latest/api/token";

const META: &str = "/latest/meta-data";
const MACS: &str = "network/interfaces/macs";

/// A metadata value.
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

/// What a 404 means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Absence {
    /// The ENI is on its way in or out: metadata lists a MAC before its attributes exist.
    Coming,
    /// An error: every instance has this.
    Error,
    /// The ENI has none.
    Normal,
}

/// How long a value holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Life {
    /// Until it is read again.
    Changes,
    /// As long as the instance runs; the caller keeps it.
    Instance,
    /// As long as the ENI is attached: kept once it was read.
    Mac,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// Below the ENI's own directory for those of an ENI, else below `meta-data`.
    pub(crate) key: &'static str,
    /// Name in the counters: the reference's accessor.
    pub(crate) counter: &'static str,
    pub(crate) absence: Absence,
    pub(crate) life: Life,
}

const fn row(key: &'static str, counter: &'static str, absence: Absence, life: Life) -> Row {
    Row { key, counter, absence, life }
}

impl Item {
    /// The table.
    pub(crate) fn row(self) -> Row {
        use Absence::{Coming, Error, Normal};
        use Life::{Changes, Instance, Mac};
        match self {
            Self::AvailabilityZone => row("placement/availability-zone", "GetAZ", Error, Instance),
            Self::DeviceNumber(_) => row("device-number", "GetDeviceNumber", Coming, Mac),
            Self::Identity => row("", "GetInstanceIdentityDocument", Error, Instance),
            Self::InstanceId => row("instance-id", "GetInstanceID", Error, Instance),
            Self::InstanceType => row("instance-type", "GetInstanceType", Error, Instance),
            Self::InterfaceId(_) => row("interface-id", "GetInterfaceID", Coming, Mac),
            Self::Ipv4Prefixes(_) => row("ipv4-prefix", "GetIPv4Prefixes", Normal, Changes),
            Self::Ipv6Prefixes(_) => row("ipv6-prefix", "GetIPv6Prefixes", Normal, Changes),
            Self::Ipv6s(_) => row("ipv6s", "GetIPv6s", Normal, Changes),
            Self::LocalIpv4 => row("local-ipv4", "GetLocalIPv4", Error, Instance),
            Self::LocalIpv4s(_) => row("local-ipv4s", "GetLocalIPv4s", Normal, Changes),
            Self::Mac => row("mac", "GetMAC", Error, Instance),
            Self::Macs => row(MACS, "GetMACs", Error, Changes),
            // Only types with several cards have it.
            Self::NetworkCard(_) => row("network-card", "GetNetworkCard", Normal, Mac),
            Self::SecurityGroups(_) => {
                row("security-group-ids", "GetSecurityGroupIDs", Error, Changes)
            }
            Self::SubnetCidr(_) => {
                row("subnet-ipv4-cidr-block", "GetSubnetIPv4CIDRBlock", Coming, Mac)
            }
            Self::SubnetId(_) => row("subnet-id", "GetSubnetID", Coming, Mac),
            Self::SubnetIpv6Cidrs(_) => {
                row("subnet-ipv6-cidr-blocks", "GetSubnetIPv6CIDRBlocks", Normal, Mac)
            }
            Self::VpcCidrs(_) => {
                row("vpc-ipv4-cidr-blocks", "GetVPCIPv4CIDRBlocks", Error, Changes)
            }
            Self::VpcId(_) => row("vpc-id", "GetVpcID", Error, Instance),
            Self::VpcIpv6Cidrs(_) => {
                row("vpc-ipv6-cidr-blocks", "GetVPCIPv6CIDRBlocks", Normal, Changes)
            }
        }
    }

    /// Absolute path. Directories are asked for without a trailing slash.
    pub(crate) fn path(self) -> String {
        let key = self.row().key;
        match (self, self.mac()) {
            (Self::Identity, _) => "/latest/dynamic/instance-identity/document".to_owned(),
            (_, Some(mac)) => format!("{META}/{MACS}/{mac}/{key}"),
            (_, None) => format!("{META}/{key}"),
        }
    }

    /// The ENI that it is about.
    pub(crate) fn mac(self) -> Option<MacAddr> {
        match self {
            Self::DeviceNumber(mac)
            | Self::InterfaceId(mac)
            | Self::Ipv4Prefixes(mac)
            | Self::Ipv6Prefixes(mac)
            | Self::Ipv6s(mac)
            | Self::LocalIpv4s(mac)
            | Self::NetworkCard(mac)
            | Self::SecurityGroups(mac)
            | Self::SubnetCidr(mac)
            | Self::SubnetId(mac)
            | Self::SubnetIpv6Cidrs(mac)
            | Self::VpcCidrs(mac)
            | Self::VpcId(mac)
            | Self::VpcIpv6Cidrs(mac) => Some(mac),
            Self::AvailabilityZone
            | Self::Identity
            | Self::InstanceId
            | Self::InstanceType
            | Self::LocalIpv4
            | Self::Mac
            | Self::Macs => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_are_read_where_metadata_has_them() {
        let mac: MacAddr = "02:ab:00:00:00:01".parse().unwrap();
        for (item, path) in [
            (Item::Mac, "/latest/meta-data/mac"),
            (Item::Macs, "/latest/meta-data/network/interfaces/macs"),
            (Item::Identity, "/latest/dynamic/instance-identity/document"),
            (
                Item::Ipv4Prefixes(mac),
                "/latest/meta-data/network/interfaces/macs/02:ab:00:00:00:01/ipv4-prefix",
            ),
        ] {
            assert_eq!(item.path(), path);
            assert!(path.starts_with(ROOT));
        }
    }

    #[test]
    fn what_pods_get_is_never_kept() {
        let mac: MacAddr = "02:ab:00:00:00:01".parse().unwrap();
        for item in [
            Item::Ipv4Prefixes(mac),
            Item::Ipv6Prefixes(mac),
            Item::Ipv6s(mac),
            Item::LocalIpv4s(mac),
            Item::SecurityGroups(mac),
            Item::VpcCidrs(mac),
        ] {
            assert_eq!(item.row().life, Life::Changes, "{item:?}");
        }
    }
}
