//! Who this instance is, and what it can hold.

use std::net::Ipv4Addr;

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudError, CloudErrorKind, InstanceFacts, InstanceLimits},
    config::Family,
    id::{EniId, InstanceId, MacAddr, SubnetId, VpcId},
};

use crate::{
    backend::AwsBackend,
    imds::{optional, paths::Item},
    limits,
};

/// What never changes while the instance runs; read once.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) instance: InstanceId,
    pub(crate) instance_type: String,
    pub(crate) region: String,
    pub(crate) availability_zone: String,
    pub(crate) vpc: VpcId,
    pub(crate) primary_eni: EniId,
    pub(crate) primary_mac: MacAddr,
    pub(crate) primary_ip: Ipv4Addr,
    pub(crate) subnet: SubnetId,
}

impl AwsBackend {
    /// The facts, with the VPC's blocks read anew: blocks can be added to a VPC at any time.
    pub(crate) async fn facts(&self) -> Result<InstanceFacts, CloudError> {
        let me = self.identity().await?.clone();
        let vpc_cidrs = self.vpc_cidrs(me.primary_mac).await?;
        let limits = self.limits.get_or_try_init(|| self.read_limits(&me.instance_type)).await?;
        Ok(InstanceFacts {
            instance: me.instance,
            instance_type: me.instance_type,
            region: me.region,
            availability_zone: me.availability_zone,
            vpc: me.vpc,
            primary_eni: me.primary_eni,
            primary_mac: me.primary_mac,
            primary_ip: me.primary_ip,
            subnet: me.subnet,
            vpc_cidrs,
            limits: limits.clone(),
        })
    }

    /// IPv4 blocks of the VPC, and on an IPv6 node its IPv6 blocks. A part of them would be taken for all.
    async fn vpc_cidrs(&self, primary: MacAddr) -> Result<Vec<Prefix>, CloudError> {
        let mut blocks = self.imds.blocks(Item::VpcCidrs(primary)).await?;
        if self.config.family == Family::V6 {
            let ipv6 =
                self.imds.list::<Prefix>(Item::VpcIpv6Cidrs(primary), "an IPv6 CIDR block").await;
            blocks.extend(optional(ipv6)?.unwrap_or_default());
        }
        Ok(blocks)
    }

    pub(crate) async fn identity(&self) -> Result<&Identity, CloudError> {
        self.identity.get_or_try_init(|| self.read_identity()).await
    }

    async fn read_identity(&self) -> Result<Identity, CloudError> {
        let imds = &self.imds;
        // First alone: where metadata is out of reach, one refused connection is enough.
        let primary_mac: MacAddr = imds.value(Item::Mac, "a MAC address").await?;
        let (availability_zone, primary_ip, instance, instance_type) = tokio::try_join!(
            imds.word(Item::AvailabilityZone),
            imds.value(Item::LocalIpv4, "an IPv4 address"),
            imds.value(Item::InstanceId, "an instance id"),
            imds.word(Item::InstanceType),
        )?;
        let (primary_eni, subnet, vpc) = tokio::try_join!(
            imds.value(Item::InterfaceId(primary_mac), "an ENI id"),
            imds.value(Item::SubnetId(primary_mac), "a subnet id"),
            imds.value(Item::VpcId(primary_mac), "a VPC id"),
        )?;
        let region = self.region().await?;
        Ok(Identity {
            instance,
            instance_type,
            region,
            availability_zone,
            vpc,
            primary_eni,
            primary_mac,
            primary_ip,
            subnet,
        })
    }

    pub(crate) async fn read_limits(
        &self,
        instance_type: &str,
    ) -> Result<InstanceLimits, CloudError> {
        if let Some(limits) = limits::known(instance_type) {
            return Ok(limits);
        }
        const ACTION: &str = "DescribeInstanceTypes";
        let asked = match self.api().await {
            Ok(api) => api.type_limits(instance_type).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(Some(limits)) => Ok(limits),
            Ok(None) => Err(CloudError::new(
                CloudErrorKind::Other,
                ACTION,
                format!(
                    "instance type {instance_type} is neither in the built-in table nor known to \
                     EC2, so how many ENIs and addresses it can have is unknown; use a type that \
                     EC2 offers in this region or a release that knows it"
                ),
            )),
            Err(error) => Err(CloudError::new(
                error.kind,
                ACTION,
                format!(
                    "instance type {instance_type} is not in the built-in table and EC2 cannot be \
                     asked for its limits: {}",
                    error.message
                ),
            )),
        }
    }
}
