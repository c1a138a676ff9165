//! `/v1/enis`: the pool in the reference's JSON, whose key names and order are fixed.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Serialize, Serializer};
use vpc_ipam_core::{
    addr::Prefix,
    class::{Retirement, Standing},
    cloud::EniKind,
    id::PodRef,
    stats::{AddressStats, CidrStats, EniStats, Stats},
    time::Time,
};

use crate::telemetry::rfc3339;

/// Go's zero time: never.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Card {
    #[serde(rename = "TotalIPs")]
    total_ips: u64,
    #[serde(rename = "AssignedIPs")]
    assigned_ips: u64,
    #[serde(rename = "ENIs")]
    enis: BTreeMap<String, Eni>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Eni {
    #[serde(rename = "ID")]
    id: String,
    is_primary: bool,
    is_trunk: bool,
    #[serde(rename = "IsEFA")]
    is_efa: bool,
    device_number: u32,
    #[serde(rename = "AvailableIPv4Cidrs")]
    available_ipv4_cidrs: BTreeMap<String, Cidr>,
    #[serde(rename = "IPv6Cidrs")]
    ipv6_cidrs: BTreeMap<String, Cidr>,
    #[serde(rename = "IsExcludedForPodIPs")]
    is_excluded_for_pod_ips: bool,
    #[serde(rename = "RouteTableID")]
    route_table_id: u32,
    #[serde(rename = "SubnetID")]
    subnet_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Cidr {
    cidr: Net,
    #[serde(rename = "IPAddresses")]
    ip_addresses: BTreeMap<String, Address>,
    is_prefix: bool,
    address_family: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Net {
    #[serde(rename = "IP")]
    ip: String,
    #[serde(serialize_with = "base64_mask")]
    mask: Prefix,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    address: String,
    #[serde(rename = "IPAMKey")]
    ipam_key: Key,
    #[serde(rename = "IPAMMetadata")]
    ipam_metadata: Metadata,
    assigned_time: String,
    unassigned_time: String,
}

/// Only the network is shown: with the rest, whoever can read this could forge a DEL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    network_name: String,
    #[serde(rename = "containerID")]
    container_id: &'static str,
    if_name: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct Metadata {
    #[serde(rename = "k8sPodNamespace", skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(rename = "k8sPodName", skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "interfacesCount", skip_serializing_if = "Option::is_none")]
    interfaces: Option<u32>,
}

/// The pool's ENIs by network card.
pub(crate) fn cards(stats: &Stats) -> BTreeMap<String, Card> {
    let mut cards: BTreeMap<String, Card> = BTreeMap::new();
    for eni in &stats.enis {
        let card = cards.entry(eni.card.to_string()).or_default();
        card.total_ips += eni.total();
        card.assigned_ips += eni.assigned();
        card.enis.insert(eni.id.to_string(), Eni::from(eni));
    }
    cards
}

impl From<&EniStats> for Eni {
    fn from(eni: &EniStats) -> Self {
        let cidrs = |v4: bool| {
            let of_family = eni.cidrs.iter().filter(|c| c.cidr.is_v4() == v4);
            of_family.map(|c| (c.cidr.to_string(), Cidr::from(c))).collect()
        };
        Self {
            id: eni.id.to_string(),
            is_primary: eni.primary,
            is_trunk: eni.kind == EniKind::Trunk,
            is_efa: eni.kind == EniKind::Efa,
            device_number: eni.device,
            available_ipv4_cidrs: cidrs(true),
            ipv6_cidrs: cidrs(false),
            is_excluded_for_pod_ips: eni.standing == Standing::Retired(Retirement::ExcludedSubnet),
            route_table_id: eni.table,
            subnet_id: eni.subnet.to_string(),
        }
    }
}

impl From<&CidrStats> for Cidr {
    fn from(cidr: &CidrStats) -> Self {
        Self {
            cidr: Net { ip: cidr.cidr.base().to_string(), mask: cidr.cidr },
            ip_addresses: cidr
                .addresses
                .iter()
                .map(|a| (a.ip.to_string(), Address::from(a)))
                .collect(),
            is_prefix: cidr.is_prefix,
            // The reference's snapshot leaves it empty too.
            address_family: "",
        }
    }
}

impl From<&AddressStats> for Address {
    fn from(address: &AddressStats) -> Self {
        let network = address.key.as_ref().map(|k| k.network().to_owned());
        let held = address.key.is_some();
        Self {
            address: address.ip.to_string(),
            ipam_key: Key {
                network_name: network.unwrap_or_default(),
                container_id: "",
                if_name: "",
            },
            ipam_metadata: if held { Metadata::from(&address.pod) } else { Metadata::default() },
            assigned_time: rfc3339(address.assigned),
            unassigned_time: address.released.map_or_else(|| NEVER.to_owned(), time),
        }
    }
}

fn time(time: Time) -> String {
    rfc3339(time)
}

impl From<&PodRef> for Metadata {
    fn from(pod: &PodRef) -> Self {
        // One address per pod: only one network card is managed.
        Self { namespace: pod.namespace.clone(), name: pod.name.clone(), interfaces: Some(1) }
    }
}

/// The bytes of the network mask as Go prints a byte slice.
fn base64_mask<S: Serializer>(prefix: &Prefix, serializer: S) -> Result<S::Ok, S::Error> {
    let ones = usize::from(prefix.len());
    let bytes = match prefix.base() {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    };
    let mask: Vec<u8> = (0..bytes)
        .map(|n: usize| match ones.saturating_sub(n * 8) {
            0 => 0,
            bits @ 1..8 => 0xff << (8 - bits),
            _ => 0xff,
        })
        .collect();
    serializer.serialize_str(&base64(&mask))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |n: u32| DIGITS.get((n & 63) as usize).map_or('=', |d| char::from(*d));
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0, |w, n| w << 8 | u32::from(group.get(n).copied().unwrap_or(0)));
        for n in 0..4 {
            text.push(if n <= group.len() { digit(word >> (18 - 6 * n)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_those_of_the_reference() {
        for (prefix, mask) in [
            ("10.0.0.0/32", "\"/////w==\""),
            ("10.0.0.0/28", "\"////8A==\""),
            ("2001:db8::/80", "\"/////////////wAAAAAAAA==\""),
            ("0.0.0.0/0", "\"AAAAAA==\""),
        ] {
            let net = Net { ip: String::new(), mask: prefix.parse().unwrap() };
            let json = serde_json::to_string(&net).unwrap();
            assert!(json.ends_with(&format!("{mask}}}")), "{prefix}: {json}");
        }
    }
}
