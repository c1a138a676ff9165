//! The EC2 calls that the backend makes, in its own words. One implementation speaks to EC2 through
//! the SDK; tests put another in its place.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, EniKind, InstanceLimits},
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId},
};

/// How far an attachment has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AttachmentState {
    Attached,
    Attaching,
    Detached,
    Detaching,
}

/// The tie between an ENI and an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    /// Absent where the ENI is attached to something of AWS's own.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) device: u32,
    pub(crate) card: u32,
    pub(crate) state: AttachmentState,
}

/// An ENI as EC2 describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ec2Eni {
    pub(crate) id: EniId,
    pub(crate) mac: MacAddr,
    pub(crate) subnet: SubnetId,
    pub(crate) kind: EniKind,
    /// Absent on an EFA-only interface.
    pub(crate) primary_ip: Option<IpAddr>,
    /// The first of its own IPv6 addresses.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// For pods, of both families.
    pub(crate) cidrs: Vec<Prefix>,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) attachment: Option<Attachment>,
}

impl Ec2Eni {
    /// The attachment to `instance` in state `state`.
    pub(crate) fn attached_to(&self, instance: &InstanceId) -> Option<&Attachment> {
        self.attachment.as_ref().filter(|a| a.instance.as_ref() == Some(instance))
    }
}

/// What a new ENI is to be like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NewEni {
    pub(crate) subnet: SubnetId,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) description: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) count: AddressCount,
}

/// The calls. Each is one EC2 action (pages aside), made once, with the SDK's own short retries.
#[async_trait]
pub(crate) trait Ec2Api: Send + Sync {
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

    /// Returns what was added.
    async fn assign(&self, eni: &EniId, count: AddressCount) -> Result<Vec<Prefix>, CloudError>;

    async fn unassign_addresses(&self, eni: &EniId, ips: &[IpAddr]) -> Result<(), CloudError>;

    async fn unassign_prefixes(&self, eni: &EniId, prefixes: &[Prefix]) -> Result<(), CloudError>;

    async fn unassign_ipv6_prefixes(
        &self,
        eni: &EniId,
        prefixes: &[Prefix],
    ) -> Result<(), CloudError>;

    /// IPv4 block of a subnet.
    async fn subnet_block(&self, subnet: &SubnetId) -> Result<Prefix, CloudError>;

    /// IPv6 block of a subnet; `None` if it has none.
    async fn subnet_ipv6_block(&self, subnet: &SubnetId) -> Result<Option<Prefix>, CloudError>;

    /// `None` if EC2 does not know the type.
    async fn type_limits(&self, instance_type: &str) -> Result<Option<InstanceLimits>, CloudError>;
}
