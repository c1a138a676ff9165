//! What ENIs hold for pods.

use std::net::IpAddr;

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError},
    id::EniId,
};

use super::{Sdk, convert};
use crate::{api::AddressCalls, classify::malformed};

#[async_trait]
impl AddressCalls for Sdk {
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
        convert::assigned(&answer, count).map_err(|why| malformed(ACTION, &why))
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
