//! Instance types.

use async_trait::async_trait;
use vpc_ipam_core::cloud::{CloudError, InstanceLimits};

use super::{Sdk, described::described};
use crate::{
    api::TypeCalls,
    classify::{Failure, classify, malformed},
};

#[async_trait]
impl TypeCalls for Sdk {
    async fn type_limits(&self, instance_type: &str) -> Result<Option<InstanceLimits>, CloudError> {
        const ACTION: &str = "DescribeInstanceTypes";
        let request = self.client.describe_instance_types().instance_types(instance_type.into());
        let answer = match self.attempt(ACTION, request.send()).await {
            Ok(answer) => answer,
            Err(Failure::Refused { code, .. }) if code == "InvalidInstanceType" => return Ok(None),
            Err(failure) => return Err(classify(ACTION, &failure)),
        };
        let found = answer
            .instance_types()
            .iter()
            .find(|info| info.instance_type().is_some_and(|t| t.as_str() == instance_type));
        let limits = |info| described(info).facts().map(|facts| facts.limits());
        found.map(limits).transpose().map_err(|why| malformed(ACTION, &why.to_string()))
    }
}
