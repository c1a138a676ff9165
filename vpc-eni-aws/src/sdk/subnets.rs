//! Subnets.

use async_trait::async_trait;
use vpc_ipam_core::{addr::Prefix, cloud::CloudError, id::SubnetId};

use super::{Sdk, convert};
use crate::{api::SubnetCalls, classify::malformed};

const ACTION: &str = "DescribeSubnets";

#[async_trait]
impl SubnetCalls for Sdk {
    async fn subnet_block(&self, subnet: &SubnetId) -> Result<Prefix, CloudError> {
        let request = self.client.describe_subnets().subnet_ids(subnet.as_str());
        let answer = self.call(ACTION, request.send()).await?;
        let found = answer.subnets().iter().find(|s| s.subnet_id() == Some(subnet.as_str()));
        let block = found.and_then(|subnet| subnet.cidr_block()).unwrap_or_default();
        convert::v4_block(block).map_err(|why| malformed(ACTION, &format!("{subnet}: {why}")))
    }

    async fn subnet_ipv6_block(&self, subnet: &SubnetId) -> Result<Option<Prefix>, CloudError> {
        let request = self.client.describe_subnets().subnet_ids(subnet.as_str());
        let answer = self.call(ACTION, request.send()).await?;
        let found = answer.subnets().iter().find(|s| s.subnet_id() == Some(subnet.as_str()));
        let block = found.map(convert::ipv6_subnet_block).transpose();
        block.map(Option::flatten).map_err(|why| malformed(ACTION, &format!("{subnet}: {why}")))
    }
}
