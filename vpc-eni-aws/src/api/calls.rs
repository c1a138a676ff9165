//! The calls by subject. Each is one EC2 action (pages aside), made once, with the SDK's own short
//! retries.

use std::{collections::BTreeMap, net::IpAddr};

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, InstanceLimits},
    id::{EniId, InstanceId, SecurityGroupId, SubnetId, VpcId},
};

use super::{Ec2Eni, Ec2Subnet, NewEni, UnattachedPage};
use crate::upkeep::Scope;

/// All of EC2 that the backend uses.
pub(crate) trait Ec2Api:
    AddressCalls + EniCalls + SubnetCalls + TagCalls + TypeCalls + UpkeepCalls
{
}

impl<T: AddressCalls + EniCalls + SubnetCalls + TagCalls + TypeCalls + UpkeepCalls> Ec2Api for T {}

/// ENIs and their attachments.
#[async_trait]
pub(crate) trait EniCalls: Send + Sync {
    /// All ENIs whose attachment names this instance, in whatever state.
    async fn enis_of(&self, instance: &InstanceId) -> Result<Vec<Ec2Eni>, CloudError>;

    /// One ENI; `None` if EC2 does not know it.
    async fn eni(&self, eni: &EniId) -> Result<Option<Ec2Eni>, CloudError>;

    async fn create(&self, new: &NewEni) -> Result<EniId, CloudError>;

    /// Returns the attachment id.
    async fn attach(
        &self,
        eni: &EniId,
        instance: &InstanceId,
        device: u32,
        card: u32,
    ) -> Result<String, CloudError>;

    /// The ENI shall vanish with its instance.
    async fn delete_on_termination(&self, eni: &EniId, attachment: &str) -> Result<(), CloudError>;

    async fn detach(&self, attachment: &str) -> Result<(), CloudError>;

    async fn delete(&self, eni: &EniId) -> Result<(), CloudError>;
}

/// What ENIs hold for pods.
#[async_trait]
pub(crate) trait AddressCalls: Send + Sync {
    /// Returns what was added.
    async fn assign(&self, eni: &EniId, count: AddressCount) -> Result<Vec<Prefix>, CloudError>;

    async fn unassign_addresses(&self, eni: &EniId, ips: &[IpAddr]) -> Result<(), CloudError>;

    async fn unassign_prefixes(&self, eni: &EniId, prefixes: &[Prefix]) -> Result<(), CloudError>;

    async fn unassign_ipv6_prefixes(
        &self,
        eni: &EniId,
        prefixes: &[Prefix],
    ) -> Result<(), CloudError>;
}

/// Subnets.
#[async_trait]
pub(crate) trait SubnetCalls: Send + Sync {
    /// All subnets of a VPC in one availability zone, in no order.
    async fn subnets(&self, vpc: &VpcId, zone: &str) -> Result<Vec<Ec2Subnet>, CloudError>;

    /// IPv4 block of a subnet.
    async fn subnet_block(&self, subnet: &SubnetId) -> Result<Prefix, CloudError>;

    /// IPv6 block of a subnet; `None` if it has none.
    async fn subnet_ipv6_block(&self, subnet: &SubnetId) -> Result<Option<Prefix>, CloudError>;
}

/// Tags.
#[async_trait]
pub(crate) trait TagCalls: Send + Sync {
    /// Adds tags to an ENI; one that it has already gets the new value.
    async fn create_tags(
        &self,
        eni: &EniId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError>;
}

/// Instance types.
#[async_trait]
pub(crate) trait TypeCalls: Send + Sync {
    /// `None` if EC2 does not know the type.
    async fn type_limits(&self, instance_type: &str) -> Result<Option<InstanceLimits>, CloudError>;
}

/// What is done beside the pool.
#[async_trait]
pub(crate) trait UpkeepCalls: Send + Sync {
    /// One page of the ENIs that nodes have made and that are attached to nothing. `token` is the page
    /// before's `next`.
    async fn unattached(
        &self,
        scope: &Scope,
        token: Option<String>,
    ) -> Result<UnattachedPage, CloudError>;

    /// Replaces the security groups of an ENI. False if EC2 does not know it.
    async fn set_groups(&self, eni: &EniId, groups: &[SecurityGroupId])
    -> Result<bool, CloudError>;
}
