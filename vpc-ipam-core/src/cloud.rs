//! Port to the cloud: what the core wants to know of and do to a node's ENIs.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use async_trait::async_trait;
use thiserror::Error;

use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId, VpcId},
};

/// What EC2 says an ENI is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EniKind {
    /// Elastic fabric adapter that also carries IP.
    Efa,
    /// Elastic fabric adapter without any IP address; never used for pods.
    EfaOnly,
    /// Ordinary interface.
    Interface,
    /// Trunk that carries branch ENIs.
    Trunk,
}

/// One attached ENI as the cloud describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloudEni {
    /// EC2 id.
    pub id: EniId,
    /// Link-layer address; how the kernel knows the ENI.
    pub mac: MacAddr,
    /// Device index on its network card; 0 on card 0 is the primary ENI.
    pub device: u32,
    /// Network card index.
    pub card: u32,
    /// Purpose.
    pub kind: EniKind,
    /// True for the ENI the instance was born with. It is never freed.
    pub primary: bool,
    /// True if its subnet is [excluded](crate::subnet::is_excluded) for pods: those that it has keep
    /// their addresses, nobody gets another one. False where nobody has asked; instance metadata
    /// does not know.
    pub excluded: bool,
    /// Subnet the ENI lives in.
    pub subnet: SubnetId,
    /// Block of that subnet: on an IPv6 node the IPv6 one. An IPv4 block there says that the ENI cannot
    /// have IPv6 addresses.
    pub subnet_cidr: Prefix,
    /// Primary address, of the family of `subnet_cidr`. It belongs to the node, never to a pod.
    pub primary_ip: IpAddr,
    /// What the ENI holds for pods: secondary addresses (`/32`) and delegated prefixes. What it holds of
    /// another family than the pool's is not looked at.
    pub cidrs: Vec<Prefix>,
    /// EC2 tags. Empty when the view comes from IMDS alone.
    pub tags: BTreeMap<String, String>,
}

#[cfg(test)]
impl CloudEni {
    /// The second ENI of a node, without addresses for pods.
    pub(crate) fn example() -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let parsed = ("eni-1".parse(), "subnet-1".parse(), "10.0.0.0/24".parse());
        let (Ok(id), Ok(subnet), Ok(subnet_cidr)) = parsed else { unreachable!() };
        Self {
            id,
            mac,
            device: 1,
            card: 0,
            kind: EniKind::Interface,
            primary: false,
            excluded: false,
            subnet,
            subnet_cidr,
            primary_ip: [10, 0, 0, 4].into(),
            cidrs: Vec::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// Who vouches for a [`CloudView`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authority {
    /// EC2 answered: what is missing here is gone.
    Ec2,
    /// Instance metadata only: may lag behind EC2 in both directions, so nothing may be removed on
    /// its word.
    Imds,
}

/// All ENIs attached to the node at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloudView {
    /// Attached ENIs; order carries no meaning.
    pub enis: Vec<CloudEni>,
    /// Who says so.
    pub authority: Authority,
}

/// Hardware limits of an instance type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstanceLimits {
    /// ENIs on the default network card.
    pub enis: u32,
    /// IPv4 addresses per ENI, the primary one included.
    pub ipv4_per_eni: u32,
    /// ENIs per network card, by card index; at least one entry.
    pub card_enis: Vec<u32>,
    /// True where EC2 can delegate prefixes: Nitro or bare metal.
    pub prefixes: bool,
}

impl InstanceLimits {
    /// Secondary addresses or prefixes that one ENI can hold.
    pub fn slots(&self) -> u32 {
        self.ipv4_per_eni.saturating_sub(1)
    }
}

/// What never changes while an instance runs, except `vpc_cidrs`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstanceFacts {
    /// EC2 id of this node.
    pub instance: InstanceId,
    /// For example `m5.large`.
    pub instance_type: String,
    /// For example `us-west-2`.
    pub region: String,
    /// For example `us-west-2b`.
    pub availability_zone: String,
    /// VPC of the primary ENI.
    pub vpc: VpcId,
    /// Primary ENI.
    pub primary_eni: EniId,
    /// MAC of the primary ENI.
    pub primary_mac: MacAddr,
    /// Primary IPv4 address of the node.
    pub primary_ip: Ipv4Addr,
    /// Subnet of the primary ENI.
    pub subnet: SubnetId,
    /// IPv4 blocks of the VPC, on an IPv6 node its IPv6 blocks too. Traffic to them keeps the pod's address.
    pub vpc_cidrs: Vec<Prefix>,
    /// Hardware limits.
    pub limits: InstanceLimits,
}

/// How much address space to ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddressCount {
    /// Delegated IPv6 prefixes.
    Ipv6Prefixes(u32),
    /// Delegated prefixes.
    Prefixes(u32),
    /// Secondary addresses.
    Secondary(u32),
}

impl AddressCount {
    /// Slots that this takes on an ENI.
    pub fn slots(self) -> u32 {
        match self {
            Self::Ipv6Prefixes(n) | Self::Prefixes(n) | Self::Secondary(n) => n,
        }
    }
}

impl fmt::Display for AddressCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv6Prefixes(n) => write!(f, "{n} IPv6 prefix(es)"),
            Self::Prefixes(n) => write!(f, "{n} prefix(es)"),
            Self::Secondary(n) => write!(f, "{n} secondary address(es)"),
        }
    }
}

/// Request for one more ENI.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CreateEni {
    /// Network card to attach to.
    pub card: u32,
    /// What the ENI should be born with. For IPv6 that is one address of its own; prefixes are asked for
    /// once it is attached.
    pub count: AddressCount,
    /// Subnet; `None` leaves the choice to the backend.
    pub subnet: Option<SubnetId>,
    /// Security groups; none stands for those of the primary ENI.
    pub groups: Vec<SecurityGroupId>,
}

impl CreateEni {
    /// A request for an ENI on `card` that is born with `count`, in a subnet of the backend's choice,
    /// with the security groups of the primary ENI.
    pub fn new(card: u32, count: AddressCount) -> Self {
        Self { card, count, subnet: None, groups: Vec::new() }
    }
}

/// What kind of failure a cloud call met. Callers branch on this, never on text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudErrorKind {
    /// The ENI holds as many addresses or prefixes as it can.
    AddressLimit,
    /// The instance has as many ENIs as it can, or the device index is taken.
    AttachmentLimit,
    /// A setting forbids the call; it was not made.
    Disabled,
    /// The object does not exist (any more).
    Gone,
    /// The object is still in use; try again later.
    InUse,
    /// The subnet has no free address.
    InsufficientAddresses,
    /// The subnet has no free aligned block for a prefix, however many single addresses it has.
    InsufficientPrefixes,
    /// The answer could not be understood.
    Malformed,
    /// Anything else.
    Other,
    /// The credentials do not allow the call.
    PermissionDenied,
    /// Nothing answered in time.
    Unreachable,
    /// The account's request rate is exceeded.
    Throttled,
}

/// A failed cloud call: what was tried, how it failed, and what to do about it.
#[derive(Clone, Debug, Error)]
#[error("{action}: {message}")]
#[non_exhaustive]
pub struct CloudError {
    /// Kind of failure.
    pub kind: CloudErrorKind,
    /// EC2 action or IMDS path.
    pub action: String,
    /// The service's error code, if it gave one: for display and counts.
    pub code: Option<String>,
    /// The cloud's own words, its error code included, and the remedy where there is one.
    pub message: String,
}

impl CloudError {
    /// An error of `kind` met by `action`.
    pub fn new(
        kind: CloudErrorKind,
        action: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, action: action.into(), code: None, message: message.into() }
    }

    /// The same, with the service's error code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into()).filter(|code| !code.is_empty());
        self
    }

    /// True where the subnet, not the node, has run out.
    pub fn is_subnet_exhausted(&self) -> bool {
        matches!(
            self.kind,
            CloudErrorKind::InsufficientAddresses | CloudErrorKind::InsufficientPrefixes
        )
    }
}

/// The cloud as the driver sees it. Real adapter: `vpc-eni-aws`; stateful fake: `testkit`.
///
/// Calls may take seconds and may be cancelled by dropping the future; a cancelled mutation is
/// found again by the next [`describe`](Self::describe).
#[async_trait]
pub trait CloudBackend: Send + Sync {
    /// Facts about this instance.
    ///
    /// # Errors
    ///
    /// If neither metadata nor EC2 can say who this instance is, or its type is unknown.
    async fn instance(&self) -> Result<InstanceFacts, CloudError>;

    /// All attached ENIs.
    ///
    /// # Errors
    ///
    /// If no complete view can be had; a partial view is never returned.
    async fn describe(&self) -> Result<CloudView, CloudError>;

    /// Creates an ENI, attaches it and waits until it is visible. Cleans up after itself on error.
    ///
    /// # Errors
    ///
    /// If the ENI cannot be had.
    async fn create_eni(&self, request: &CreateEni) -> Result<CloudEni, CloudError>;

    /// Detaches and deletes an ENI. An ENI that is already gone is a success.
    ///
    /// # Errors
    ///
    /// If the ENI may still be attached.
    async fn delete_eni(&self, eni: &EniId) -> Result<(), CloudError>;

    /// Adds secondary addresses or prefixes to an ENI and returns the new ones.
    ///
    /// # Errors
    ///
    /// If nothing was added. EC2 may add fewer than asked; that is a success.
    async fn assign_addresses(
        &self,
        eni: &EniId,
        count: AddressCount,
    ) -> Result<Vec<Prefix>, CloudError>;

    /// Takes secondary addresses or prefixes from an ENI.
    ///
    /// # Errors
    ///
    /// If any of them may still be on the ENI.
    async fn unassign_addresses(&self, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError>;
}
