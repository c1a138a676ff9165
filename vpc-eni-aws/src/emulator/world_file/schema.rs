//! The keys of a world file.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use vpc_ipam_core::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId, VpcId},
    testkit::ec2::{Allocation, InterfaceType},
};

use crate::emulator::file::{ConsistencySpec, DelaysSpec, Span, ThrottlingSpec, is_word};

pub(super) type Tags = BTreeMap<String, String>;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    #[serde(default)]
    pub(super) region: Region,
    pub(super) account: Option<Account>,
    #[serde(default)]
    pub(super) seed: u64,
    #[serde(default)]
    pub(super) allocation: AllocationName,
    #[serde(default)]
    pub(super) imds_v1: bool,
    #[serde(default)]
    pub(super) delays: DelaysSpec,
    #[serde(default)]
    pub(super) consistency: ConsistencySpec,
    pub(super) throttling: Option<ThrottlingSpec>,
    pub(super) vpcs: Vec<VpcSpec>,
    #[serde(default)]
    pub(super) instances: Vec<Spanned<InstanceSpec>>,
    #[serde(default)]
    pub(super) enis: Vec<Spanned<EniSpec>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Region(pub(super) String);

impl Default for Region {
    fn default() -> Self {
        Self("us-west-2".to_owned())
    }
}

impl TryFrom<String> for Region {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_word(&text) {
            return Ok(Self(text));
        }
        Err(format!("{text:?} is no region; write one such as \"us-west-2\""))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Account(pub(super) String);

impl TryFrom<String> for Account {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self(text));
        }
        Err(format!("{text:?} is no account number; write twelve digits in quotes"))
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AllocationName {
    #[default]
    LowestFree,
    Scattered,
}

impl From<AllocationName> for Allocation {
    fn from(name: AllocationName) -> Self {
        match name {
            AllocationName::LowestFree => Self::LowestFree,
            AllocationName::Scattered => Self::Scattered,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VpcSpec {
    pub(super) id: Option<Spanned<VpcId>>,
    pub(super) cidrs: Spanned<Vec<Spanned<Prefix>>>,
    #[serde(default)]
    pub(super) security_groups: Vec<GroupSpec>,
    #[serde(default)]
    pub(super) subnets: Vec<Spanned<SubnetSpec>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupSpec {
    pub(super) id: Option<SecurityGroupId>,
    pub(super) name: Spanned<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubnetSpec {
    pub(super) id: Option<SubnetId>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) zone: Zone,
    pub(super) cidr: Spanned<Prefix>,
    pub(super) ipv6: Option<Spanned<Prefix>>,
    #[serde(default)]
    pub(super) tags: Tags,
    #[serde(default)]
    pub(super) reserved: Vec<Spanned<Prefix>>,
    pub(super) fragmented: Option<u32>,
}

/// `a` or `us-west-2a`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Zone(String);

impl Zone {
    pub(super) fn name(&self, region: &str) -> String {
        if self.0.len() == 1 { format!("{region}{}", self.0) } else { self.0.clone() }
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_word(&text) {
            return Ok(Self(text));
        }
        Err(format!("{text:?} is no zone; write its letter such as \"a\", or \"us-west-2a\""))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceSpec {
    pub(super) id: Option<InstanceId>,
    #[serde(rename = "type")]
    pub(super) type_name: Spanned<String>,
    pub(super) subnet: Spanned<String>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) tags: Tags,
    pub(super) primary: Option<Spanned<EniSpec>>,
    #[serde(default)]
    pub(super) enis: Vec<Spanned<EniSpec>>,
}

/// An ENI; which keys it may have depends on where it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EniSpec {
    pub(super) id: Option<EniId>,
    pub(super) mac: Option<MacAddr>,
    pub(super) subnet: Option<Spanned<String>>,
    pub(super) kind: Option<Kind>,
    pub(super) card: Option<u32>,
    pub(super) device: Option<u32>,
    pub(super) delete_on_termination: Option<bool>,
    pub(super) groups: Option<Vec<Spanned<String>>>,
    pub(super) addresses: Option<u32>,
    pub(super) prefixes: Option<u32>,
    pub(super) ipv6_addresses: Option<u32>,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) tags: Tags,
    pub(super) connection_tracking: Option<TrackingSpec>,
    pub(super) created: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Kind(pub(super) InterfaceType);

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("{text:?} is no kind of ENI; write interface, efa, efa-only or trunk")
        })
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrackingSpec {
    pub(super) tcp_established_timeout: Option<u32>,
    pub(super) udp_stream_timeout: Option<u32>,
    pub(super) udp_timeout: Option<u32>,
}
