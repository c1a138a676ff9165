//! What upkeep asks for.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, NetworkInterface, NetworkInterfaceStatus, Tag};
use vpc_ipam_core::{
    class::INSTANCE_TAG,
    cloud::CloudError,
    id::{EniId, SecurityGroupId},
};

use super::{Sdk, enis::PAGE_LEN};
use crate::{
    api::{TagCalls, UnattachedPage, UpkeepCalls},
    classify::{Failure, classify},
    tags::CLUSTER_NAME,
    upkeep::{Scope, TAGS_READ, Unattached},
};

#[async_trait]
impl UpkeepCalls for Sdk {
    async fn unattached(
        &self,
        scope: &Scope,
        token: Option<String>,
    ) -> Result<UnattachedPage, CloudError> {
        let request = self
            .client
            .describe_network_interfaces()
            .set_filters(Some(filters(scope)))
            .max_results(PAGE_LEN)
            .set_next_token(token);
        let page = self.call("DescribeNetworkInterfaces", request.send()).await?;
        Ok(UnattachedPage {
            enis: page.network_interfaces().iter().filter_map(unattached).collect(),
            next: page.next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn set_groups(
        &self,
        eni: &EniId,
        groups: &[SecurityGroupId],
    ) -> Result<bool, CloudError> {
        const ACTION: &str = "ModifyNetworkInterfaceAttribute";
        let request = self
            .client
            .modify_network_interface_attribute()
            .network_interface_id(eni.as_str())
            .set_groups(Some(groups.iter().map(ToString::to_string).collect()));
        match self.attempt(ACTION, request.send()).await {
            Ok(_) => Ok(true),
            // A group that does not exist is of the same kind, but another matter.
            Err(Failure::Refused { code, .. }) if code == "InvalidNetworkInterfaceID.NotFound" => {
                Ok(false)
            }
            Err(failure) => Err(classify(ACTION, &failure)),
        }
    }
}

#[async_trait]
impl TagCalls for Sdk {
    async fn create_tags(
        &self,
        eni: &EniId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        let tags = tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        let request = self.client.create_tags().resources(eni.as_str()).set_tags(Some(tags));
        self.call("CreateTags", request.send()).await.map(drop)
    }
}

fn filters(scope: &Scope) -> Vec<Filter> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let mut filters = vec![
        filter("tag-key", INSTANCE_TAG),
        filter("status", NetworkInterfaceStatus::Available.as_str()),
        filter("vpc-id", scope.vpc.as_str()),
    ];
    if let Some(cluster) = &scope.cluster {
        filters.push(filter(&format!("tag:{CLUSTER_NAME}"), &literal(cluster)));
    }
    filters
}

/// A filter value that means itself: EC2 reads `*` and `?` as wildcards.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut literal, c| {
        if matches!(c, '*' | '?' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
        literal
    })
}

/// What the sweep looks at; `None` for what it could do nothing about, having no usable id.
fn unattached(from: &NetworkInterface) -> Option<Unattached> {
    let read = |key: &str| TAGS_READ.contains(&key);
    Some(Unattached {
        id: EniId::new(from.network_interface_id()?).ok()?,
        description: from.description().unwrap_or_default().to_owned(),
        available: from.status() == Some(&NetworkInterfaceStatus::Available),
        vpc: from.vpc_id().unwrap_or_default().to_owned(),
        tags: from
            .tag_set()
            .iter()
            .filter_map(|tag| Some((tag.key().filter(|key| read(key))?, tag.value()?)))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_name_is_no_pattern() {
        assert_eq!(literal("blue-1"), "blue-1");
        assert_eq!(literal(r"a*b?c\d"), r"a\*b\?c\\d");
    }
}
