//! Subnets and instance types.

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudError, InstanceLimits},
    id::{SubnetId, VpcId},
};

use super::Fake;
use crate::api::{Ec2Subnet, SubnetCalls, TypeCalls};

#[async_trait]
impl SubnetCalls for Fake {
    async fn subnets(&self, _: &VpcId, _: &str) -> Result<Vec<Ec2Subnet>, CloudError> {
        self.call("subnets", |state| Ok(state.subnets.clone()))
    }

    async fn subnet_ipv6_block(&self, _: &SubnetId) -> Result<Option<Prefix>, CloudError> {
        self.call("subnet_ipv6_block", |_| Ok(Some("2001:db8::/64".parse().unwrap())))
    }

    async fn subnet_block(&self, _: &SubnetId) -> Result<Prefix, CloudError> {
        self.call("subnet_block", |_| Ok("10.0.0.0/16".parse().unwrap()))
    }
}

#[async_trait]
impl TypeCalls for Fake {
    async fn type_limits(&self, _: &str) -> Result<Option<InstanceLimits>, CloudError> {
        self.call("type_limits", |_| Ok(None))
    }
}
