//! The EC2 calls on the AWS SDK. SDK types do not leave this module.

mod client;
mod convert;
mod failure;
#[cfg(feature = "emulator")]
mod in_process;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::Future,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use async_trait::async_trait;
use aws_sdk_ec2::{
    Client,
    config::{SharedHttpClient, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    types::{Filter, NetworkInterfaceAttachmentChanges, ResourceType, Tag, TagSpecification},
};
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, CloudErrorKind, InstanceLimits},
    id::{EniId, InstanceId, SubnetId},
};

pub(crate) use self::client::connect;
use crate::{
    api::{Ec2Api, Ec2Eni, NewEni},
    classify::{Failure, classify, malformed},
    counts::{Call, Outcome, Recorder},
};

/// ENIs asked for per page; EC2's largest.
const PAGE_LEN: i32 = 1000;
/// Pages read at the most. An instance has at most 768 ENIs, but EC2 may return short pages; an
/// endpoint that never ends a listing must not hold us for ever.
const PAGES_MAX: usize = 64;

/// What carries requests in place of the SDK's own HTTP client, and the time over there.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) ec2: SharedHttpClient,
    pub(crate) imds: SharedHttpClient,
    pub(crate) now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("ec2", &self.ec2).finish_non_exhaustive()
    }
}

/// EC2 through the SDK.
#[derive(Debug)]
pub(crate) struct Sdk {
    client: Client,
    recorder: Arc<Recorder>,
}

impl Sdk {
    /// Awaits one call; counts, times and classifies it.
    async fn call<T, E>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.attempt(action, answer).await.map_err(|failure| classify(action, &failure))
    }

    async fn attempt<T, E>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.recorder.ec2_request(action);
        let start = Instant::now();
        let result = answer.await.map_err(|error| failure::read(&error));
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(Failure::Refused { code, .. }) => Outcome::Refused(code),
            Err(_) => Outcome::NoAnswer,
        };
        self.recorder.ec2_done(&Call { action, latency: start.elapsed(), outcome });
        result
    }
}

impl Sdk {
    async fn assign_ipv6_prefixes(&self, eni: &EniId, n: u32) -> Result<Vec<Prefix>, CloudError> {
        const ACTION: &str = "AssignIpv6Addresses";
        let request = self
            .client
            .assign_ipv6_addresses()
            .network_interface_id(eni.as_str())
            .ipv6_prefix_count(convert::int(n));
        let answer = self.call(ACTION, request.send()).await?;
        let prefixes = answer.assigned_ipv6_prefixes().iter().map(|text| convert::v6_block(text));
        prefixes.collect::<Result<_, _>>().map_err(|why| malformed(ACTION, &why))
    }
}

const DESCRIBE_ENIS: &str = "DescribeNetworkInterfaces";

#[async_trait]
impl Ec2Api for Sdk {
    async fn enis_of(&self, instance: &InstanceId) -> Result<Vec<Ec2Eni>, CloudError> {
        let filter =
            Filter::builder().name("attachment.instance-id").values(instance.as_str()).build();
        let mut enis = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let request = self
                .client
                .describe_network_interfaces()
                .filters(filter.clone())
                .max_results(PAGE_LEN)
                .set_next_token(token.take());
            let page = self.call(DESCRIBE_ENIS, request.send()).await?;
            for eni in page.network_interfaces() {
                enis.push(convert::eni(eni).map_err(|why| malformed(DESCRIBE_ENIS, &why))?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(enis);
            }
        }
        Err(malformed(DESCRIBE_ENIS, &format!("the listing does not end after {PAGES_MAX} pages")))
    }

    async fn eni(&self, eni: &EniId) -> Result<Option<Ec2Eni>, CloudError> {
        let request = self.client.describe_network_interfaces().network_interface_ids(eni.as_str());
        let answer = match self.call(DESCRIBE_ENIS, request.send()).await {
            Ok(answer) => answer,
            Err(error) if error.kind == CloudErrorKind::Gone => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = answer
            .network_interfaces()
            .iter()
            .find(|found| found.network_interface_id() == Some(eni.as_str()));
        found.map(convert::eni).transpose().map_err(|why| malformed(DESCRIBE_ENIS, &why))
    }

    async fn create(&self, new: &NewEni) -> Result<EniId, CloudError> {
        const ACTION: &str = "CreateNetworkInterface";
        let mut request = self
            .client
            .create_network_interface()
            .subnet_id(new.subnet.as_str())
            .description(&new.description)
            .set_groups(Some(new.groups.iter().map(ToString::to_string).collect()))
            .tag_specifications(tag_specification(&new.tags));
        // EC2 refuses a count of 0.
        request = match new.count {
            // The ENI's own; with a count of prefixes EC2 would give it none.
            AddressCount::Ipv6Prefixes(_) => request.ipv6_address_count(1),
            AddressCount::Prefixes(0) | AddressCount::Secondary(0) => request,
            AddressCount::Prefixes(n) => request.ipv4_prefix_count(convert::int(n)),
            AddressCount::Secondary(n) => {
                request.secondary_private_ip_address_count(convert::int(n))
            }
        };
        let answer = self.call(ACTION, request.send()).await?;
        let id = answer.network_interface().and_then(|eni| eni.network_interface_id());
        EniId::new(id.unwrap_or_default()).map_err(|e| malformed(ACTION, &e.to_string()))
    }

    async fn attach(
        &self,
        eni: &EniId,
        instance: &InstanceId,
        device: u32,
        card: u32,
    ) -> Result<String, CloudError> {
        const ACTION: &str = "AttachNetworkInterface";
        let request = self
            .client
            .attach_network_interface()
            .network_interface_id(eni.as_str())
            .instance_id(instance.as_str())
            .device_index(convert::int(device))
            .network_card_index(convert::int(card));
        let answer = self.call(ACTION, request.send()).await?;
        let id = answer.attachment_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| malformed(ACTION, "it has no attachment id"))
    }

    async fn delete_on_termination(&self, eni: &EniId, attachment: &str) -> Result<(), CloudError> {
        let changes = NetworkInterfaceAttachmentChanges::builder()
            .attachment_id(attachment)
            .delete_on_termination(true)
            .build();
        let request = self
            .client
            .modify_network_interface_attribute()
            .network_interface_id(eni.as_str())
            .attachment(changes);
        self.call("ModifyNetworkInterfaceAttribute", request.send()).await.map(drop)
    }

    async fn detach(&self, attachment: &str) -> Result<(), CloudError> {
        let request = self.client.detach_network_interface().attachment_id(attachment);
        self.call("DetachNetworkInterface", request.send()).await.map(drop)
    }

    async fn delete(&self, eni: &EniId) -> Result<(), CloudError> {
        let request = self.client.delete_network_interface().network_interface_id(eni.as_str());
        self.call("DeleteNetworkInterface", request.send()).await.map(drop)
    }

    async fn assign(&self, eni: &EniId, count: AddressCount) -> Result<Vec<Prefix>, CloudError> {
        const ACTION: &str = "AssignPrivateIpAddresses";
        let request = self.client.assign_private_ip_addresses().network_interface_id(eni.as_str());
        let request = match count {
            AddressCount::Ipv6Prefixes(n) => return self.assign_ipv6_prefixes(eni, n).await,
            AddressCount::Prefixes(n) => request.ipv4_prefix_count(convert::int(n)),
            AddressCount::Secondary(n) => {
                request.secondary_private_ip_address_count(convert::int(n))
            }
        };
        let answer = self.call(ACTION, request.send()).await?;
        convert::assigned(&answer).map_err(|why| malformed(ACTION, &why))
    }

    async fn unassign_addresses(&self, eni: &EniId, ips: &[IpAddr]) -> Result<(), CloudError> {
        let request = self
            .client
            .unassign_private_ip_addresses()
            .network_interface_id(eni.as_str())
            .set_private_ip_addresses(Some(ips.iter().map(ToString::to_string).collect()));
        self.call("UnassignPrivateIpAddresses", request.send()).await.map(drop)
    }

    async fn unassign_prefixes(&self, eni: &EniId, prefixes: &[Prefix]) -> Result<(), CloudError> {
        let request = self
            .client
            .unassign_private_ip_addresses()
            .network_interface_id(eni.as_str())
            .set_ipv4_prefixes(Some(prefixes.iter().map(ToString::to_string).collect()));
        self.call("UnassignPrivateIpAddresses", request.send()).await.map(drop)
    }

    async fn unassign_ipv6_prefixes(
        &self,
        eni: &EniId,
        prefixes: &[Prefix],
    ) -> Result<(), CloudError> {
        let request = self
            .client
            .unassign_ipv6_addresses()
            .network_interface_id(eni.as_str())
            .set_ipv6_prefixes(Some(prefixes.iter().map(ToString::to_string).collect()));
        self.call("UnassignIpv6Addresses", request.send()).await.map(drop)
    }

    async fn subnet_block(&self, subnet: &SubnetId) -> Result<Prefix, CloudError> {
        const ACTION: &str = "DescribeSubnets";
        let request = self.client.describe_subnets().subnet_ids(subnet.as_str());
        let answer = self.call(ACTION, request.send()).await?;
        let found = answer.subnets().iter().find(|s| s.subnet_id() == Some(subnet.as_str()));
        let block = found.and_then(|subnet| subnet.cidr_block()).unwrap_or_default();
        convert::v4_block(block).map_err(|why| malformed(ACTION, &format!("{subnet}: {why}")))
    }

    async fn subnet_ipv6_block(&self, subnet: &SubnetId) -> Result<Option<Prefix>, CloudError> {
        const ACTION: &str = "DescribeSubnets";
        let request = self.client.describe_subnets().subnet_ids(subnet.as_str());
        let answer = self.call(ACTION, request.send()).await?;
        let found = answer.subnets().iter().find(|s| s.subnet_id() == Some(subnet.as_str()));
        let block = found.map(convert::ipv6_subnet_block).transpose();
        block.map(Option::flatten).map_err(|why| malformed(ACTION, &format!("{subnet}: {why}")))
    }

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
        found.map(convert::limits).transpose().map_err(|why| malformed(ACTION, &why))
    }
}

fn tag_specification(tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
    TagSpecification::builder()
        .resource_type(ResourceType::NetworkInterface)
        .set_tags(Some(tags))
        .build()
}
