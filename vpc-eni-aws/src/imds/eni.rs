//! One ENI, and all of them, as metadata shows them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use tokio::task::JoinSet;
use vpc_ipam_core::{
    addr::Prefix,
    config::Family,
    id::{EniId, MacAddr, SubnetId},
};

use super::{Imds, ImdsError, optional, paths::Item};

/// What metadata says of one ENI.
#[derive(Debug)]
pub(crate) struct ImdsEni {
    pub(crate) id: EniId,
    pub(crate) mac: MacAddr,
    pub(crate) device: u32,
    pub(crate) card: u32,
    pub(crate) subnet: SubnetId,
    pub(crate) subnet_cidr: Prefix,
    pub(crate) primary_ip: IpAddr,
    pub(crate) cidrs: Vec<Prefix>,
}

/// What is wanted of an ENI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) family: Family,
    /// False on types that are known to have one network card: nobody need be asked then.
    pub(crate) card: bool,
}

impl Imds {
    /// All ENIs that have an address. An ENI that cannot be read fails the whole: it must not be taken for gone.
    pub(crate) async fn enis(&self, wanted: Wanted) -> Result<Vec<ImdsEni>, ImdsError> {
        let macs = self.macs().await?;
        self.each(&macs, move |imds, mac| async move { imds.eni(mac, wanted).await }).await
    }

    /// Ids of all ENIs that have one.
    pub(crate) async fn eni_ids(&self) -> Result<Vec<EniId>, ImdsError> {
        let macs = self.macs().await?;
        let read = |imds: Self, mac| async move {
            optional(imds.value(Item::InterfaceId(mac), "an ENI id").await)
        };
        self.each(&macs, read).await
    }

    /// Reads one ENI. `None` where it is coming, going, or has no address: metadata lists a MAC before its
    /// attributes exist and cannot say which of these it is. Views of metadata only ever add, so what is left out is
    /// found by the next one.
    async fn eni(&self, mac: MacAddr, wanted: Wanted) -> Result<Option<ImdsEni>, ImdsError> {
        let (id, device, card, subnet, block, ips, prefixes) = tokio::join!(
            self.value(Item::InterfaceId(mac), "an ENI id"),
            self.value(Item::DeviceNumber(mac), "a device number"),
            self.card(mac, wanted),
            self.value(Item::SubnetId(mac), "a subnet id"),
            self.block(Item::SubnetCidr(mac)),
            self.addresses(Item::LocalIpv4s(mac)),
            self.prefixes(mac, wanted),
        );
        let (id, device, subnet) = (optional(id)?, optional(device)?, optional(subnet)?);
        let (block, ips) = (optional(block)?, optional(ips)?.unwrap_or_default());
        let (card, prefixes) = (card?, prefixes?);
        let (Some(id), Some(device), Some(subnet), Some(subnet_cidr)) = (id, device, subnet, block)
        else {
            return Ok(None);
        };
        let Some((primary_ip, secondary)) = ips.split_first() else { return Ok(None) };
        let primary_ip = (*primary_ip).into();
        let mut eni =
            ImdsEni { id, mac, device, card, subnet, subnet_cidr, primary_ip, cidrs: prefixes };
        match wanted.family {
            Family::V4 => {
                let hosts = secondary.iter().map(|ip| Prefix::host(IpAddr::V4(*ip)));
                eni.cidrs = hosts.chain(eni.cidrs).collect();
            }
            Family::V6 => self.own_ipv6(&mut eni).await?,
        }
        Ok(Some(eni))
    }

    async fn card(&self, mac: MacAddr, wanted: Wanted) -> Result<u32, ImdsError> {
        if !wanted.card {
            return Ok(0);
        }
        let card = self.value(Item::NetworkCard(mac), "a network card index").await;
        Ok(optional(card)?.unwrap_or(0))
    }

    async fn prefixes(&self, mac: MacAddr, wanted: Wanted) -> Result<Vec<Prefix>, ImdsError> {
        let prefixes = match wanted.family {
            Family::V4 => self.blocks(Item::Ipv4Prefixes(mac)).await,
            Family::V6 => self.list(Item::Ipv6Prefixes(mac), "an IPv6 CIDR block").await,
        };
        let mut prefixes = optional(prefixes)?.unwrap_or_default();
        prefixes.retain(|prefix| prefix.is_v4() == (wanted.family == Family::V4));
        Ok(prefixes)
    }

    /// An ENI without IPv6 keeps what it has in IPv4.
    async fn own_ipv6(&self, eni: &mut ImdsEni) -> Result<(), ImdsError> {
        let (block, ips) = tokio::join!(
            self.subnet_ipv6_block(eni.mac),
            self.list::<Ipv6Addr>(Item::Ipv6s(eni.mac), "an IPv6 address"),
        );
        if let (Some(block), Some(ip)) = (block?, optional(ips)?.unwrap_or_default().first()) {
            eni.primary_ip = (*ip).into();
            eni.subnet_cidr = block;
        }
        Ok(())
    }

    /// IPv6 block of the ENI's subnet. A subnet has one at the most.
    pub(crate) async fn subnet_ipv6_block(
        &self,
        mac: MacAddr,
    ) -> Result<Option<Prefix>, ImdsError> {
        let blocks = self.list::<Prefix>(Item::SubnetIpv6Cidrs(mac), "an IPv6 CIDR block").await;
        let blocks = optional(blocks)?.unwrap_or_default();
        Ok(blocks.into_iter().find(|block| !block.is_v4()))
    }

    /// Runs `read` for each MAC, all at the same time; the requests have a bound of their own. Keeps what it finds.
    async fn each<T, F, Fut>(&self, macs: &BTreeSet<MacAddr>, read: F) -> Result<Vec<T>, ImdsError>
    where
        T: Send + 'static,
        F: Fn(Self, MacAddr) -> Fut,
        Fut: Future<Output = Result<Option<T>, ImdsError>> + Send + 'static,
    {
        let mut reads = JoinSet::new();
        for mac in macs {
            reads.spawn(read(self.clone(), *mac));
        }
        let mut found = Vec::with_capacity(macs.len());
        while let Some(result) = reads.join_next().await {
            let result = result.unwrap_or_else(|error| {
                let path = Item::Macs.path();
                Err(ImdsError::Unreachable { path, why: error.to_string() })
            });
            found.extend(result?);
        }
        Ok(found)
    }
}
