//! The annotation in which the controller describes a pod's branch ENI.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use super::error::{Cause, members};
use crate::{addr::Prefix, config::Family, id::MacAddr};

/// Name of the annotation, and the beginning of the names of the resources that ask for a branch.
pub const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";

/// Highest VLAN id: 12 bits, of which 0 and the last are reserved (IEEE 802.1Q).
const VLAN_MAX: i64 = 4094;

/// One branch ENI as the controller spells it. A null counts as absent, unknown members are ignored:
/// the controller has some that are not for us.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BranchText {
    if_address: Option<String>,
    private_ip: Option<String>,
    ipv6_addr: Option<String>,
    #[serde(rename = "vlanID")]
    vlan_id: Option<i64>,
    subnet_cidr: Option<String>,
    #[serde(rename = "subnetV6Cidr")]
    subnet_v6_cidr: Option<String>,
}

impl BranchText {
    /// The first ENI that `text` lists. The others are not looked at.
    pub(super) fn parse(text: &str) -> Result<Self, Cause> {
        let not_json = |e: serde_json::Error| Cause::NotJson(e.to_string());
        let enis: Vec<serde_json::Value> = serde_json::from_str(text).map_err(not_json)?;
        let first = enis.into_iter().next().ok_or(Cause::Empty)?;
        // An array would be read as the members in their order.
        if !first.is_object() {
            return Err(Cause::NotJson("its first element is not an object".to_owned()));
        }
        serde_json::from_value(first).map_err(not_json)
    }

    pub(super) fn ip(&self, family: Family) -> Result<IpAddr, Cause> {
        let (member, _) = members(family);
        match family {
            Family::V4 => {
                let text = required(member, self.private_ip.as_deref())?;
                let ip = text.parse::<Ipv4Addr>();
                ip.map(Into::into).map_err(|_| Cause::value(member, text, "an IPv4 address"))
            }
            Family::V6 => {
                let text = required(member, self.ipv6_addr.as_deref())?;
                let ip = text.parse::<Ipv6Addr>();
                ip.map(Into::into).map_err(|_| Cause::value(member, text, "an IPv6 address"))
            }
        }
    }

    pub(super) fn mac(&self) -> Result<MacAddr, Cause> {
        let text = required("ifAddress", self.if_address.as_deref())?;
        text.parse().map_err(|_| Cause::value("ifAddress", text, "a MAC address"))
    }

    pub(super) fn vlan(&self) -> Result<u16, Cause> {
        let id = self.vlan_id.filter(|id| *id != 0).ok_or(Cause::Missing("vlanID"))?;
        let known = u16::try_from(id).ok().filter(|_| id <= VLAN_MAX);
        known.ok_or_else(|| Cause::value("vlanID", &id.to_string(), "1 to 4094"))
    }

    /// Block of the subnet in the given family.
    pub(super) fn subnet(&self, family: Family) -> Result<Prefix, Cause> {
        let (_, member) = members(family);
        let (text, expected) = match family {
            Family::V4 => (&self.subnet_cidr, "an IPv4 block such as 10.2.0.0/24"),
            Family::V6 => (&self.subnet_v6_cidr, "an IPv6 block such as 2001:db8::/64"),
        };
        let text = required(member, text.as_deref())?;
        text.parse::<Prefix>()
            .ok()
            .filter(|block| block.is_v4() == (family == Family::V4))
            .ok_or_else(|| Cause::value(member, text, expected))
    }
}

fn required<'a>(member: &'static str, text: Option<&'a str>) -> Result<&'a str, Cause> {
    text.filter(|text| !text.is_empty()).ok_or(Cause::Missing(member))
}
