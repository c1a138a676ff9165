//! Adding addresses to an ENI and taking them away.

use std::{collections::BTreeSet, net::IpAddr};

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, CloudErrorKind},
    id::EniId,
};

use crate::{api::Ec2Api, backend::AwsBackend, classify::malformed};

impl AwsBackend {
    pub(crate) async fn assign(
        &self,
        eni: &EniId,
        count: AddressCount,
    ) -> Result<Vec<Prefix>, CloudError> {
        let count = self.capped(count);
        if count.slots() == 0 {
            return Ok(Vec::new());
        }
        let api = self.api().await?;
        let added = match api.assign(eni, count).await {
            // EC2 gives all or nothing; a subnet that is nearly used up may have one left.
            Err(error) if error.is_subnet_exhausted() && count.slots() > 1 => {
                tracing::debug!(%eni, %error, "asking for one instead");
                let one = match count {
                    AddressCount::Ipv6Prefixes(_) => AddressCount::Ipv6Prefixes(1),
                    AddressCount::Prefixes(_) => AddressCount::Prefixes(1),
                    AddressCount::Secondary(_) => AddressCount::Secondary(1),
                };
                api.assign(eni, one).await?
            }
            result => result?,
        };
        if added.is_empty() {
            let why = format!("it names nothing of the {count} asked for {eni}");
            let action = match count {
                AddressCount::Ipv6Prefixes(_) => "AssignIpv6Addresses",
                _ => "AssignPrivateIpAddresses",
            };
            return Err(malformed(action, &why));
        }
        Ok(added)
    }

    pub(crate) async fn unassign(&self, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
        let (ipv4, ipv6): (Vec<Prefix>, Vec<Prefix>) =
            cidrs.iter().copied().partition(Prefix::is_v4);
        // The pool never asks for that: IPv6 addresses are the ENI's own.
        if let Some(own) = ipv6.iter().find(|cidr| cidr.is_host()) {
            return Err(CloudError::new(
                CloudErrorKind::Other,
                "UnassignIpv6Addresses",
                format!("{own} is not taken from {eni}: it belongs to the node, not to pods"),
            ));
        }
        let (hosts, prefixes): (Vec<Prefix>, Vec<Prefix>) =
            ipv4.into_iter().partition(Prefix::is_host);
        let api = self.api().await?;
        if !prefixes.is_empty() {
            take(api, eni, &prefixes).await?;
        }
        if !hosts.is_empty() {
            take(api, eni, &hosts).await?;
        }
        if !ipv6.is_empty() {
            take(api, eni, &ipv6).await?;
        }
        Ok(())
    }
}

/// Takes CIDRs of one sort. EC2 refuses the whole call if one of them is not on the ENI, which is
/// so when an earlier answer was lost; then what is left is looked up and taken.
async fn take(api: &dyn Ec2Api, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
    let error = match call(api, eni, cidrs).await {
        Ok(()) => return Ok(()),
        Err(error) if error.kind == CloudErrorKind::Gone => return Ok(()),
        Err(error) if error.kind != CloudErrorKind::Other => return Err(error),
        Err(error) => error,
    };
    let Some(found) = api.eni(eni).await? else { return Ok(()) };
    let held: BTreeSet<Prefix> = found.cidrs.into_iter().collect();
    let left: Vec<Prefix> = cidrs.iter().copied().filter(|cidr| held.contains(cidr)).collect();
    if left.is_empty() {
        return Ok(());
    }
    if left.len() == cidrs.len() {
        return Err(error);
    }
    call(api, eni, &left).await
}

async fn call(api: &dyn Ec2Api, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
    if cidrs.iter().all(Prefix::is_host) {
        let ips: Vec<IpAddr> = cidrs.iter().map(Prefix::base).collect();
        api.unassign_addresses(eni, &ips).await
    } else if cidrs.iter().all(|cidr| !cidr.is_v4()) {
        api.unassign_ipv6_prefixes(eni, cidrs).await
    } else {
        api.unassign_prefixes(eni, cidrs).await
    }
}
