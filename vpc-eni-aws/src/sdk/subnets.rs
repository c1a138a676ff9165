//! Subnets.

use async_trait::async_trait;
use aws_sdk_ec2::types::Filter;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::CloudError,
    id::{SubnetId, VpcId},
};

use super::{PAGES_MAX, Sdk, convert};
use crate::{
    api::{Ec2Subnet, SubnetCalls},
    classify::malformed,
};

const ACTION: &str = "DescribeSubnets";
/// Subnets asked for per page; EC2's largest.
const PAGE_LEN: i32 = 1000;

#[async_trait]
impl SubnetCalls for Sdk {
    async fn subnets(&self, vpc: &VpcId, zone: &str) -> Result<Vec<Ec2Subnet>, CloudError> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let mut subnets = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let request = self
                .client
                .describe_subnets()
                .filters(filter("vpc-id", vpc.as_str()))
                .filters(filter("availability-zone", zone))
                .max_results(PAGE_LEN)
                .set_next_token(token.take());
            let page = self.call(ACTION, request.send()).await?;
            for subnet in page.subnets() {
                subnets.push(convert::subnet(subnet).map_err(|why| malformed(ACTION, &why))?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(subnets);
            }
        }
        Err(malformed(ACTION, &format!("the listing does not end after {PAGES_MAX} pages")))
    }

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
