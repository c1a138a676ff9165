//! What ENIs hold for pods.

use std::net::{IpAddr, Ipv6Addr};

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, CloudErrorKind},
    id::EniId,
};

use super::{Fake, error, find};
use crate::api::AddressCalls;

#[async_trait]
impl AddressCalls for Fake {
    async fn assign(&self, eni: &EniId, count: AddressCount) -> Result<Vec<Prefix>, CloudError> {
        self.call("assign", |state| {
            let eni = find(state, eni)?;
            let at = u8::try_from(100 + eni.cidrs.len()).unwrap();
            let address = |k| match count {
                AddressCount::Ipv6Prefixes(_) => Prefix::new(
                    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, u16::from(at + k), 0, 0, 0).into(),
                    80,
                )
                .unwrap(),
                _ => Prefix::host(IpAddr::from([10, 9, 9, at + k])),
            };
            let new: Vec<_> = (0..u8::try_from(count.slots()).unwrap()).map(address).collect();
            eni.cidrs.extend(&new);
            Ok(new)
        })
    }

    async fn unassign_addresses(&self, eni: &EniId, ips: &[IpAddr]) -> Result<(), CloudError> {
        let cidrs: Vec<_> = ips.iter().map(|ip| Prefix::host(*ip)).collect();
        self.unassign_prefixes(eni, &cidrs).await
    }

    async fn unassign_prefixes(&self, eni: &EniId, prefixes: &[Prefix]) -> Result<(), CloudError> {
        self.call("unassign", |state| {
            let eni = find(state, eni)?;
            if prefixes.iter().any(|prefix| !eni.cidrs.contains(prefix)) {
                return Err(error(CloudErrorKind::Other));
            }
            eni.cidrs.retain(|cidr| !prefixes.contains(cidr));
            Ok(())
        })
    }

    async fn unassign_ipv6_prefixes(
        &self,
        eni: &EniId,
        prefixes: &[Prefix],
    ) -> Result<(), CloudError> {
        self.unassign_prefixes(eni, prefixes).await
    }
}
