//! What others do to the world: people with a console, controllers, other nodes.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use vpc_ipam_core::{
    addr::Prefix,
    id::{EniId, InstanceId, SecurityGroupId, SubnetId, VpcId},
    testkit::ec2::{
        CreateNetworkInterface, Ec2Error, InterfaceType, Ipv4Request, NewEni, Place, World,
        WorldError,
    },
    time::Time,
};

use crate::emulator::{file::Span, rfc3339, server::Emulator};

/// Tag with the moment of creation, by which leaked ENIs are told from new ones.
const CREATED_AT_TAG: &str = "node.k8s.amazonaws.com/createdAt";

/// One thing that somebody else does. No call is counted, and no fault or limit of the account applies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Change {
    /// Associates an IPv4 block with a VPC.
    AddVpcCidr {
        /// The VPC; may be left out where there is one.
        vpc: Option<VpcId>,
        /// The block.
        cidr: Prefix,
    },
    /// Makes a security group. Its id is returned.
    AddSecurityGroup {
        /// The VPC; may be left out where there is one.
        vpc: Option<VpcId>,
        /// The group's name.
        name: String,
    },
    /// Gives an ENI other security groups.
    SetGroups {
        /// The ENI.
        eni: EniId,
        /// All its groups from now on.
        groups: Vec<SecurityGroupId>,
    },
    /// Makes an ENI, attached at once where an instance is named. Its id is returned.
    CreateEni(CreateEni),
    /// Detaches an ENI and leaves it available. Unknown and primary ENIs are left alone.
    DetachEni {
        /// The ENI.
        eni: EniId,
    },
    /// Detaches and deletes an ENI. Unknown and primary ENIs are left alone.
    DeleteEni {
        /// The ENI.
        eni: EniId,
    },
    /// Adds secondary addresses or prefixes to an ENI.
    Assign {
        /// The ENI.
        eni: EniId,
        /// How many secondary addresses.
        addresses: Option<u32>,
        /// How many prefixes.
        prefixes: Option<u32>,
    },
    /// Takes secondary addresses (as `/32`) and prefixes from an ENI.
    Unassign {
        /// The ENI.
        eni: EniId,
        /// What to take.
        cidrs: Vec<Prefix>,
    },
    /// Tags an ENI, a subnet or an instance.
    Tag {
        /// Its id.
        resource: String,
        /// The tags.
        tags: BTreeMap<String, String>,
    },
    /// Takes tags off an ENI, a subnet or an instance.
    Untag {
        /// Its id.
        resource: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// Sets addresses aside, so that no prefix is free and no more than so many addresses are.
    FragmentSubnet {
        /// The subnet.
        subnet: SubnetId,
        /// How many addresses stay free.
        singles: u32,
    },
    /// Gives addresses that were set aside back, until so many prefixes more are free.
    DefragmentSubnet {
        /// The subnet.
        subnet: SubnetId,
        /// How many prefixes.
        prefixes: usize,
    },
}

/// An ENI that somebody else makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateEni {
    /// Its subnet; `None` for that of the instance.
    pub subnet: Option<SubnetId>,
    /// The instance it is attached to; `None` for an ENI that is available.
    pub instance: Option<InstanceId>,
    /// Network card.
    #[serde(default)]
    pub card: u32,
    /// Device index; `None` for the lowest that is free.
    pub device: Option<u32>,
    /// `interface`, `efa`, `efa-only` or `trunk`.
    #[serde(default, deserialize_with = "kind")]
    pub kind: InterfaceType,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Security groups; empty for the default group.
    #[serde(default)]
    pub groups: Vec<SecurityGroupId>,
    /// How many secondary addresses.
    pub addresses: Option<u32>,
    /// How many prefixes.
    pub prefixes: Option<u32>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// How long ago it was made, such as `10m`: sets the tag `node.k8s.amazonaws.com/createdAt`.
    pub created: Option<String>,
}

fn kind<'de, D: serde::Deserializer<'de>>(from: D) -> Result<InterfaceType, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

/// Why a change is not possible.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ChangeError {
    /// EC2 would refuse.
    #[error("{0}")]
    Ec2(Ec2Error),
    /// The parts do not fit together.
    #[error("{0}")]
    World(WorldError),
    /// A key that is needed, or one too many.
    #[error("{0}")]
    Malformed(String),
}

impl From<Ec2Error> for ChangeError {
    fn from(error: Ec2Error) -> Self {
        Self::Ec2(error)
    }
}

impl From<WorldError> for ChangeError {
    fn from(error: WorldError) -> Self {
        match error {
            WorldError::Ec2(error) => Self::Ec2(error),
            error => Self::World(error),
        }
    }
}

impl Emulator {
    /// Does what somebody else would do. Returns the id of what was made, if anything was. Call
    /// [`tick`](Self::tick) afterwards where somebody is told of changes.
    ///
    /// # Errors
    ///
    /// If it is not possible; nothing has changed then.
    pub fn change(&self, change: &Change) -> Result<Option<String>, ChangeError> {
        let now = self.now();
        let mut world = self.shared.world();
        let world = &mut *world;
        world.advance(now);
        match change {
            Change::AddVpcCidr { vpc, cidr } => {
                let vpc = the_vpc(world, vpc.as_ref())?;
                world.add_vpc_cidr(&vpc, *cidr)?;
            }
            Change::AddSecurityGroup { vpc, name } => {
                let vpc = the_vpc(world, vpc.as_ref())?;
                return Ok(Some(world.add_security_group(&vpc, name)?.to_string()));
            }
            Change::SetGroups { eni, groups } => world.set_groups_foreign(eni, groups, now)?,
            Change::CreateEni(spec) => return spec.place(world, now).map(Some),
            Change::DetachEni { eni } => world.detach_foreign(eni, now),
            Change::DeleteEni { eni } => world.evict_eni(eni, now),
            Change::Assign { eni, addresses, prefixes } => {
                let ipv4 = ipv4(*addresses, *prefixes)?;
                let ipv4 = ipv4.ok_or_else(|| malformed("give addresses or prefixes"))?;
                world.assign_foreign(eni, ipv4, now)?;
            }
            Change::Unassign { eni, cidrs } => world.unassign_foreign(eni, cidrs, now)?,
            Change::Tag { resource, tags } => {
                for (key, value) in tags {
                    world.tag_foreign(resource, key, value, now)?;
                }
            }
            Change::Untag { resource, keys } => world.untag_foreign(resource, keys, now)?,
            Change::FragmentSubnet { subnet, singles } => {
                world.fragment_subnet(subnet, *singles)?;
            }
            Change::DefragmentSubnet { subnet, prefixes } => {
                world.defragment_subnet(subnet, *prefixes)?;
            }
        }
        Ok(None)
    }
}

impl CreateEni {
    fn place(&self, world: &mut World, now: Time) -> Result<String, ChangeError> {
        let home = self.instance.as_ref().and_then(|id| world.instance(id)).map(|i| &i.subnet);
        let subnet = self.subnet.as_ref().or(home).cloned();
        let subnet = subnet.ok_or_else(|| malformed("give subnet, or an instance that exists"))?;
        let mut tags = self.tags.clone();
        if let Some(age) = &self.created {
            let age = Span::try_from(age.clone()).map_err(ChangeError::Malformed)?.0.as_millis();
            let age = u64::try_from(age).unwrap_or(u64::MAX);
            let at = Time::from_millis(now.as_millis().saturating_sub(age));
            tags.entry(CREATED_AT_TAG.to_owned()).or_insert_with(|| rfc3339::format(at));
        }
        let request = CreateNetworkInterface {
            description: self.description.clone(),
            groups: self.groups.clone(),
            ipv4: ipv4(self.addresses, self.prefixes)?,
            kind: self.kind,
            tags,
            ..CreateNetworkInterface::new(subnet.clone())
        };
        let place = self.instance.clone().map(|instance| Place {
            instance,
            card: self.card,
            device: self.device,
            delete_on_termination: true,
        });
        let new = NewEni { request, place, ..NewEni::new(subnet) };
        Ok(world.place_eni(&new, now)?.to_string())
    }
}

fn ipv4(addresses: Option<u32>, prefixes: Option<u32>) -> Result<Option<Ipv4Request>, ChangeError> {
    match (addresses, prefixes) {
        (Some(_), Some(_)) => Err(malformed("give addresses or prefixes, not both")),
        (Some(n), None) => Ok(Some(Ipv4Request::Secondary(n))),
        (None, prefixes) => Ok(prefixes.map(Ipv4Request::Prefixes)),
    }
}

fn the_vpc(world: &World, id: Option<&VpcId>) -> Result<VpcId, ChangeError> {
    match (id, world.vpcs()) {
        (Some(id), _) => Ok(id.clone()),
        (None, [only]) => Ok(only.id.clone()),
        (None, all) => Err(malformed(&format!("give vpc; there are {} of them", all.len()))),
    }
}

fn malformed(text: &str) -> ChangeError {
    ChangeError::Malformed(text.to_owned())
}
