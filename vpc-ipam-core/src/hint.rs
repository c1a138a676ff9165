//! What a node remembers of itself and its ENIs, for a start on which neither EC2 nor instance metadata
//! answers.
//!
//! A file of its own beside the state file, `vpc-cni-enis/1`. It is a hint: its addresses are given to
//! pods only once the cloud has failed to answer, the first view of EC2 replaces it, nothing is ever
//! removed on its word, and a file that cannot be read is as good as none. What it says can be relied
//! upon because whatever is given back to EC2 is taken out of it, durably, before EC2 hears of it.
//!
//! That also tells what an earlier life may have given back a moment ago, which EC2 can still show for some
//! seconds: what a view adds in the first minute is given to pods once EC2 has shown it for ten seconds.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    addr::{DELEGATED_V4_LEN, DELEGATED_V6_LEN, Prefix},
    cloud::{CloudEni, EniKind, InstanceFacts, InstanceLimits},
    datapath::route_table,
    id::{EniId, InstanceId, MacAddr, SubnetId, VpcId},
};

/// Version text that the file must carry.
pub const VERSION: &str = "vpc-cni-enis/1";

/// Largest file accepted, in bytes. The fullest instances have 15 ENIs of 50 blocks of 20 bytes.
pub const SIZE_MAX: usize = 1 << 20;

/// A node and its ENIs as they were last known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hint {
    /// The node.
    pub node: Option<InstanceFacts>,
    /// Its ENIs with what they hold for pods, without tags.
    pub enis: Vec<CloudEni>,
}

/// Why a hint cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HintError {
    /// Some other version.
    #[error("version {0:?} is not {VERSION}")]
    Version(String),
    /// Not what the format says.
    #[error("not a {VERSION} file: {0}")]
    Malformed(String),
    /// A block that no ENI holds for pods.
    #[error("{eni} cannot hold {cidr} for pods")]
    Block {
        /// The ENI.
        eni: EniId,
        /// The block.
        cidr: Prefix,
    },
}

#[derive(Deserialize)]
struct VersionOnly {
    #[serde(default)]
    version: String,
}

#[derive(Deserialize, Serialize)]
struct File {
    version: String,
    node: Option<NodeEntry>,
    enis: Vec<EniEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeEntry {
    instance: InstanceId,
    instance_type: String,
    region: String,
    availability_zone: String,
    vpc: VpcId,
    primary_eni: EniId,
    primary_mac: MacAddr,
    primary_ip: std::net::Ipv4Addr,
    subnet: SubnetId,
    vpc_cidrs: Vec<Prefix>,
    enis: u32,
    ipv4_per_eni: u32,
    card_enis: Vec<u32>,
    prefixes: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct EniEntry {
    id: EniId,
    mac: MacAddr,
    device: u32,
    card: u32,
    /// For people: it follows from card and device.
    #[serde(default)]
    table: u32,
    kind: Kind,
    primary: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    excluded: bool,
    subnet: SubnetId,
    subnet_cidr: Prefix,
    primary_ip: IpAddr,
    cidrs: Vec<Prefix>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Efa,
    EfaOnly,
    Interface,
    Trunk,
}

/// Encodes `hint` as one line of JSON.
pub fn encode(hint: &Hint) -> Vec<u8> {
    let file = File {
        version: VERSION.to_owned(),
        node: hint.node.as_ref().map(NodeEntry::from),
        enis: hint.enis.iter().map(EniEntry::from).collect(),
    };
    // Strings, integers and addresses only: serialisation into memory has no way to fail.
    let mut content = serde_json::to_vec(&file).unwrap_or_default();
    content.push(b'\n');
    content
}

/// Decodes a hint. Unknown members are ignored.
///
/// # Errors
///
/// If the file is not what it should be.
pub fn decode(content: &[u8]) -> Result<Hint, HintError> {
    if content.len() > SIZE_MAX {
        let text = format!("{} bytes are more than the {SIZE_MAX} allowed", content.len());
        return Err(HintError::Malformed(text));
    }
    let malformed = |e: serde_json::Error| HintError::Malformed(e.to_string());
    let version = serde_json::from_slice::<VersionOnly>(content).map_err(malformed)?.version;
    if version != VERSION {
        return Err(HintError::Version(version.chars().take(64).collect()));
    }
    let file: File = serde_json::from_slice(content).map_err(malformed)?;
    let enis: Vec<CloudEni> = file.enis.into_iter().map(CloudEni::from).collect();
    for eni in &enis {
        if let Some(cidr) = eni.cidrs.iter().find(|cidr| !fits(eni, cidr)) {
            return Err(HintError::Block { eni: eni.id.clone(), cidr: *cidr });
        }
    }
    Ok(Hint { node: file.node.map(InstanceFacts::from), enis })
}

/// True for a block that EC2 could have given to the ENI. A wrong one would be given to pods.
fn fits(eni: &CloudEni, cidr: &Prefix) -> bool {
    let delegated = if cidr.is_v4() { DELEGATED_V4_LEN } else { DELEGATED_V6_LEN };
    let in_subnet = !cidr.is_v4() || eni.subnet_cidr.covers(cidr);
    (cidr.is_host() || cidr.len() == delegated) && in_subnet && !cidr.contains(eni.primary_ip)
}

impl From<&InstanceFacts> for NodeEntry {
    fn from(facts: &InstanceFacts) -> Self {
        Self {
            instance: facts.instance.clone(),
            instance_type: facts.instance_type.clone(),
            region: facts.region.clone(),
            availability_zone: facts.availability_zone.clone(),
            vpc: facts.vpc.clone(),
            primary_eni: facts.primary_eni.clone(),
            primary_mac: facts.primary_mac,
            primary_ip: facts.primary_ip,
            subnet: facts.subnet.clone(),
            vpc_cidrs: facts.vpc_cidrs.clone(),
            enis: facts.limits.enis,
            ipv4_per_eni: facts.limits.ipv4_per_eni,
            card_enis: facts.limits.card_enis.clone(),
            prefixes: facts.limits.prefixes,
        }
    }
}

impl From<NodeEntry> for InstanceFacts {
    fn from(entry: NodeEntry) -> Self {
        Self {
            instance: entry.instance,
            instance_type: entry.instance_type,
            region: entry.region,
            availability_zone: entry.availability_zone,
            vpc: entry.vpc,
            primary_eni: entry.primary_eni,
            primary_mac: entry.primary_mac,
            primary_ip: entry.primary_ip,
            subnet: entry.subnet,
            vpc_cidrs: entry.vpc_cidrs,
            limits: InstanceLimits {
                enis: entry.enis,
                ipv4_per_eni: entry.ipv4_per_eni,
                card_enis: entry.card_enis,
                prefixes: entry.prefixes,
            },
        }
    }
}

impl From<&CloudEni> for EniEntry {
    fn from(eni: &CloudEni) -> Self {
        Self {
            id: eni.id.clone(),
            mac: eni.mac,
            device: eni.device,
            card: eni.card,
            table: route_table(eni.card, eni.device),
            kind: match eni.kind {
                EniKind::Efa => Kind::Efa,
                EniKind::EfaOnly => Kind::EfaOnly,
                EniKind::Interface => Kind::Interface,
                EniKind::Trunk => Kind::Trunk,
            },
            primary: eni.primary,
            excluded: eni.excluded,
            subnet: eni.subnet.clone(),
            subnet_cidr: eni.subnet_cidr,
            primary_ip: eni.primary_ip,
            cidrs: eni.cidrs.clone(),
        }
    }
}

impl From<EniEntry> for CloudEni {
    fn from(entry: EniEntry) -> Self {
        Self {
            id: entry.id,
            mac: entry.mac,
            device: entry.device,
            card: entry.card,
            kind: match entry.kind {
                Kind::Efa => EniKind::Efa,
                Kind::EfaOnly => EniKind::EfaOnly,
                Kind::Interface => EniKind::Interface,
                Kind::Trunk => EniKind::Trunk,
            },
            primary: entry.primary,
            excluded: entry.excluded,
            subnet: entry.subnet,
            subnet_cidr: entry.subnet_cidr,
            primary_ip: entry.primary_ip,
            cidrs: entry.cidrs,
            tags: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn hint() -> Hint {
        let eni = CloudEni {
            id: "eni-2".parse().unwrap(),
            cidrs: vec!["10.0.0.9/32".parse().unwrap(), "10.0.0.16/28".parse().unwrap()],
            ..CloudEni::example()
        };
        let node = InstanceFacts {
            instance: "i-1".parse().unwrap(),
            instance_type: "m5.large".to_owned(),
            region: "us-west-2".to_owned(),
            availability_zone: "us-west-2b".to_owned(),
            vpc: "vpc-1".parse().unwrap(),
            primary_eni: "eni-1".parse().unwrap(),
            primary_mac: "02:00:00:00:00:00".parse().unwrap(),
            primary_ip: "10.0.0.3".parse().unwrap(),
            subnet: "subnet-1".parse().unwrap(),
            vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
            limits: InstanceLimits {
                enis: 3,
                ipv4_per_eni: 10,
                card_enis: vec![3],
                prefixes: true,
            },
        };
        Hint { node: Some(node), enis: vec![eni] }
    }

    #[test]
    fn the_file_is_readable_by_people_and_reads_back() {
        let text = String::from_utf8(encode(&hint())).unwrap();
        let enis = r#""enis":[{"id":"eni-2","mac":"02:00:00:00:00:01","device":1,"card":0,"table":2,"kind":"interface","primary":false,"subnet":"subnet-1","subnetCidr":"10.0.0.0/24","primaryIp":"10.0.0.4","cidrs":["10.0.0.9/32","10.0.0.16/28"]}]}"#;
        assert!(
            text.starts_with(r#"{"version":"vpc-cni-enis/1","node":{"instance":"i-1","#),
            "{text}"
        );
        assert!(text.ends_with(&format!("{enis}\n")), "{text}");
        assert_eq!(decode(text.as_bytes()).unwrap(), hint());
        assert_eq!(decode(&encode(&Hint::default())).unwrap(), Hint::default());
        let mut hint = hint();
        hint.enis[0].excluded = true;
        assert_eq!(decode(&encode(&hint)).unwrap(), hint);
    }

    #[test]
    fn a_block_that_ec2_cannot_have_given_makes_the_hint_useless() {
        for cidr in ["10.0.0.0/24", "10.0.0.0/28", "10.0.0.4/32", "10.0.1.9/32", "2001:db8::/64"] {
            let mut hint = hint();
            hint.enis[0].cidrs.push(cidr.parse().unwrap());
            let error = decode(&encode(&hint)).unwrap_err();
            assert!(matches!(error, HintError::Block { .. }), "{cidr}: {error}");
        }
        let mut hint = hint();
        hint.enis[0].cidrs.push("2001:db8::/80".parse().unwrap());
        assert_eq!(decode(&encode(&hint)), Ok(hint));
    }

    #[test]
    fn another_version_is_named() {
        let error = decode(br#"{"version":"vpc-cni-enis/2","enis":7}"#).unwrap_err();
        assert_eq!(error, HintError::Version("vpc-cni-enis/2".to_owned()));
        assert!(decode(&vec![b' '; SIZE_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut content = encode(&hint());
            let at = at.index(content.len());
            content[at] = byte;
            if cut {
                content.truncate(at);
            }
            if let Ok(hint) = decode(&content) {
                prop_assert_eq!(decode(&encode(&hint)), Ok(hint));
            }
        }
    }
}
