//! ENIs and their attachments.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    ConnectionTrackingSpecificationRequest, Filter, NetworkInterfaceAttachmentChanges,
    ResourceType, Tag, TagSpecification,
};
use vpc_ipam_core::{
    cloud::{AddressCount, CloudError, CloudErrorKind},
    id::{EniId, InstanceId},
};

use super::{PAGES_MAX, Sdk, convert};
use crate::{
    api::{Ec2Eni, EniCalls, NewEni, Tracking},
    classify::malformed,
};

const DESCRIBE: &str = "DescribeNetworkInterfaces";
/// ENIs asked for per page; EC2's largest.
pub(super) const PAGE_LEN: i32 = 1000;

#[async_trait]
impl EniCalls for Sdk {
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
            let page = self.call(DESCRIBE, request.send()).await?;
            for eni in page.network_interfaces() {
                enis.push(convert::eni(eni).map_err(|why| malformed(DESCRIBE, &why))?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(enis);
            }
        }
        Err(malformed(DESCRIBE, &format!("the listing does not end after {PAGES_MAX} pages")))
    }

    async fn eni(&self, eni: &EniId) -> Result<Option<Ec2Eni>, CloudError> {
        let request = self.client.describe_network_interfaces().network_interface_ids(eni.as_str());
        let answer = match self.call(DESCRIBE, request.send()).await {
            Ok(answer) => answer,
            Err(error) if error.kind == CloudErrorKind::Gone => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = answer
            .network_interfaces()
            .iter()
            .find(|found| found.network_interface_id() == Some(eni.as_str()));
        found.map(convert::eni).transpose().map_err(|why| malformed(DESCRIBE, &why))
    }

    async fn create(&self, new: &NewEni) -> Result<EniId, CloudError> {
        const ACTION: &str = "CreateNetworkInterface";
        let mut request = self
            .client
            .create_network_interface()
            .subnet_id(new.subnet.as_str())
            .description(&new.description)
            .set_groups(Some(new.groups.iter().map(ToString::to_string).collect()))
            .tag_specifications(tag_specification(&new.tags))
            .set_connection_tracking_specification(tracking(new.tracking));
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
}

fn tag_specification(tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
    TagSpecification::builder()
        .resource_type(ResourceType::NetworkInterface)
        .set_tags(Some(tags))
        .build()
}

/// `None` where all is EC2's default.
fn tracking(timeouts: Tracking) -> Option<ConnectionTrackingSpecificationRequest> {
    let Tracking { tcp_established_s, udp_stream_s, udp_s } = timeouts;
    (timeouts != Tracking::default()).then(|| {
        ConnectionTrackingSpecificationRequest::builder()
            .set_tcp_established_timeout(tcp_established_s.map(convert::int))
            .set_udp_stream_timeout(udp_stream_s.map(convert::int))
            .set_udp_timeout(udp_s.map(convert::int))
            .build()
    })
}
