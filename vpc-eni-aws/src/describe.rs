//! The view of all attached ENIs: from EC2, or where it does not answer, from instance metadata.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::task::JoinSet;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{Authority, CloudEni, CloudError, CloudErrorKind, CloudView, EniKind},
    config::Family,
    id::{EniId, MacAddr, SubnetId},
};

use crate::{
    api::{AttachmentState, Ec2Eni},
    backend::AwsBackend,
    imds::{Imds, ImdsError, optional, paths::Item},
    instance::Identity,
    upkeep::Seen,
};

/// ENIs whose metadata is read at the same time. Each takes half a dozen requests, and metadata
/// refuses callers that send hundreds at once.
const IMDS_PARALLEL: usize = 4;

/// What metadata says of one ENI.
#[derive(Debug)]
struct ImdsEni {
    id: EniId,
    mac: MacAddr,
    device: u32,
    card: u32,
    subnet: SubnetId,
    subnet_cidr: Prefix,
    primary_ip: IpAddr,
    cidrs: Vec<Prefix>,
}

impl AwsBackend {
    pub(crate) async fn view(&self) -> Result<CloudView, CloudError> {
        let error = match self.ec2_view().await {
            Ok(view) => {
                self.memory().learn_view(&view);
                return Ok(view);
            }
            Err(error) => error,
        };
        match self.imds_view().await {
            Ok(view) => {
                tracing::warn!(%error, "EC2 cannot be asked; using instance metadata");
                self.memory().ec2_failure = Some(error);
                Ok(view)
            }
            Err(imds) => Err(CloudError::new(
                error.kind,
                error.action,
                format!("{}; nor can instance metadata be used: {imds}", error.message),
            )),
        }
    }

    async fn ec2_view(&self) -> Result<CloudView, CloudError> {
        let me = self.identity().await?;
        let api = self.api().await?;
        let (listed, hints, ()) = tokio::join!(
            api.enis_of(&me.instance),
            self.hints(),
            // At the same time, so that no view waits longer for what is looked at now and then.
            self.refresh_subnet_tags(),
        );
        let mut found = listed?;
        // A listing may lag behind; a single lookup does less.
        let listed: BTreeSet<EniId> = found.iter().map(|eni| eni.id.clone()).collect();
        for id in hints.into_iter().filter(|id| !listed.contains(id)) {
            if let Some(eni) = api.eni(&id).await?
                && eni.attached_to(&me.instance).is_some()
            {
                found.push(eni);
            }
        }
        if let Some(primary) = found.iter().find(|eni| eni.id == me.primary_eni) {
            self.memory().tracking = primary.tracking;
        }
        let (mut enis, mut seen) = (Vec::with_capacity(found.len()), Vec::new());
        for eni in found {
            let groups = eni.groups.clone();
            if let Some(eni) = self.attached_eni(me, eni).await? {
                seen.push(Seen { eni: eni.clone(), groups });
                enis.push(eni);
            }
        }
        // An endpoint of another account or region answers too: with an empty list, and all our
        // ENIs would count as gone.
        if !enis.iter().any(|eni| eni.id == me.primary_eni) {
            return Err(CloudError::new(
                CloudErrorKind::Malformed,
                "DescribeNetworkInterfaces",
                format!(
                    "EC2 does not list the primary ENI {} of {}; check that region {}, endpoint and \
                     credentials belong to this instance",
                    me.primary_eni, me.instance, me.region
                ),
            ));
        }
        self.memory().learn_seen(seen);
        Ok(CloudView { enis, authority: Authority::Ec2 })
    }

    /// ENIs that ought to be attached, whatever a listing says.
    async fn hints(&self) -> BTreeSet<EniId> {
        let mut hints = self.memory().recent();
        match self.imds_eni_ids().await {
            Ok(ids) => hints.extend(ids),
            // EC2 alone will do.
            Err(error) => tracing::debug!(%error, "no hint from instance metadata"),
        }
        hints
    }

    async fn imds_eni_ids(&self) -> Result<Vec<EniId>, ImdsError> {
        let macs: Vec<MacAddr> = self.imds.list(Item::Macs, "a MAC address").await?;
        per_mac(&self.imds, &macs, |imds, mac| async move {
            optional(imds.value(Item::InterfaceId(mac), "an ENI id").await)
        })
        .await
    }

    /// The ENI as the core wants it; `None` if it is on its way in or out.
    pub(crate) async fn attached_eni(
        &self,
        me: &Identity,
        eni: Ec2Eni,
    ) -> Result<Option<CloudEni>, CloudError> {
        let Some(attachment) = eni.attached_to(&me.instance) else { return Ok(None) };
        // Not yet usable: the kernel has no link. Or about to lose it.
        if attachment.state != AttachmentState::Attached {
            return Ok(None);
        }
        let (device, card) = (attachment.device, attachment.card);
        let (primary_ip, subnet_cidr) = self.own(&eni).await?;
        Ok(Some(CloudEni {
            primary: eni.id == me.primary_eni,
            excluded: self.is_excluded(&eni.subnet),
            id: eni.id,
            mac: eni.mac,
            device,
            card,
            kind: eni.kind,
            subnet: eni.subnet,
            subnet_cidr,
            primary_ip,
            cidrs: eni.cidrs,
            tags: eni.tags,
        }))
    }

    /// What the ENI has for itself: an address and its subnet's block, in the node's family if it has
    /// that.
    async fn own(&self, eni: &Ec2Eni) -> Result<(IpAddr, Prefix), CloudError> {
        if self.config.family == Family::V6
            && let Some(ip) = eni.ipv6
            && let Some(block) = self.subnet_ipv6_block(&eni.subnet, eni.mac).await?
        {
            return Ok((ip.into(), block));
        }
        // EFA-only interfaces have no address; nothing will ever be routed there.
        let ip = eni.primary_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let ipv4 = eni.primary_ip.is_some_and(|ip| ip.is_ipv4());
        let block =
            if ipv4 { self.subnet_block(&eni.subnet, eni.mac).await? } else { Prefix::host(ip) };
        Ok((ip, block))
    }

    /// Block of a subnet: from memory, from metadata, from EC2, in this order of cost.
    async fn subnet_block(&self, subnet: &SubnetId, mac: MacAddr) -> Result<Prefix, CloudError> {
        let known = self.memory().block(subnet);
        if let Some(block) = known {
            return Ok(block);
        }
        let block = match self.imds.block(Item::SubnetCidr(mac)).await {
            Ok(block) => block,
            Err(_) => self.api().await?.subnet_block(subnet).await?,
        };
        self.memory().learn_block(subnet.clone(), block);
        Ok(block)
    }

    /// The same for IPv6; `None` for a subnet without.
    async fn subnet_ipv6_block(
        &self,
        subnet: &SubnetId,
        mac: MacAddr,
    ) -> Result<Option<Prefix>, CloudError> {
        let known = self.memory().ipv6_block(subnet);
        if known.is_some() {
            return Ok(known);
        }
        let block = match ipv6_block(&self.imds, mac).await {
            Ok(Some(block)) => Some(block),
            _ => self.api().await?.subnet_ipv6_block(subnet).await?,
        };
        // A block may be given to the subnet at any time, but is not taken away while it is in use.
        if let Some(block) = block {
            self.memory().learn_ipv6_block(subnet.clone(), block);
        }
        Ok(block)
    }

    async fn imds_view(&self) -> Result<CloudView, CloudError> {
        let me = self.identity().await?;
        let macs: Vec<MacAddr> = self.imds.list(Item::Macs, "a MAC address").await?;
        let family = self.config.family;
        let read = move |imds, mac| async move {
            match family {
                Family::V4 => read_eni(imds, mac).await,
                Family::V6 => read_ipv6_eni(imds, mac).await,
            }
        };
        let found = per_mac(&self.imds, &macs, read).await?;
        let excluded: Vec<bool> = found.iter().map(|eni| self.is_excluded(&eni.subnet)).collect();
        let memory = self.memory();
        let enis = found.into_iter().zip(excluded).map(|(eni, excluded)| {
            let primary = eni.mac == me.primary_mac;
            let (kind, tags) = memory.known(&eni.id).unwrap_or((EniKind::Interface, [].into()));
            CloudEni {
                id: eni.id,
                mac: eni.mac,
                // Metadata has been seen to number the primary ENI otherwise.
                device: if primary { 0 } else { eni.device },
                card: eni.card,
                kind,
                primary,
                excluded,
                subnet: eni.subnet,
                subnet_cidr: eni.subnet_cidr,
                primary_ip: eni.primary_ip,
                cidrs: eni.cidrs,
                tags,
            }
        });
        Ok(CloudView { enis: enis.collect(), authority: Authority::Imds })
    }
}

/// Reads one ENI. `None` where it is coming, going, or has no IPv4 address: metadata lists a MAC
/// before its attributes exist and cannot say which of these it is. The view only ever adds, so
/// what is left out is found by the next one.
async fn read_eni(imds: Imds, mac: MacAddr) -> Result<Option<ImdsEni>, ImdsError> {
    let (id, device, card, subnet, block, ips, prefixes) = tokio::join!(
        imds.value(Item::InterfaceId(mac), "an ENI id"),
        imds.value(Item::DeviceNumber(mac), "a device number"),
        imds.value(Item::NetworkCard(mac), "a network card index"),
        imds.value(Item::SubnetId(mac), "a subnet id"),
        imds.block(Item::SubnetCidr(mac)),
        imds.addresses(Item::LocalIpv4s(mac)),
        imds.blocks(Item::Ipv4Prefixes(mac)),
    );
    let (id, device, subnet) = (optional(id)?, optional(device)?, optional(subnet)?);
    let (block, ips) = (optional(block)?, optional(ips)?.unwrap_or_default());
    let card = optional(card)?.unwrap_or(0);
    let prefixes = optional(prefixes)?.unwrap_or_default();
    let (Some(id), Some(device), Some(subnet), Some(subnet_cidr)) = (id, device, subnet, block)
    else {
        return Ok(None);
    };
    let Some((primary_ip, secondary)) = ips.split_first() else { return Ok(None) };
    let hosts = secondary.iter().map(|ip| Prefix::host(IpAddr::V4(*ip)));
    let cidrs = hosts.chain(prefixes).collect();
    let primary_ip = (*primary_ip).into();
    Ok(Some(ImdsEni { id, mac, device, card, subnet, subnet_cidr, primary_ip, cidrs }))
}

/// Reads one ENI of an IPv6 node. One without IPv6 shows what it has in IPv4, and nothing for pods.
async fn read_ipv6_eni(imds: Imds, mac: MacAddr) -> Result<Option<ImdsEni>, ImdsError> {
    let (ipv4, block, ips, prefixes) = tokio::join!(
        read_eni(imds.clone(), mac),
        ipv6_block(&imds, mac),
        imds.list::<Ipv6Addr>(Item::Ipv6s(mac), "an IPv6 address"),
        imds.list::<Prefix>(Item::Ipv6Prefixes(mac), "an IPv6 CIDR block"),
    );
    let (Some(mut eni), block) = (ipv4?, block?) else { return Ok(None) };
    let (ips, prefixes) = (optional(ips)?.unwrap_or_default(), optional(prefixes)?);
    eni.cidrs = prefixes.unwrap_or_default().into_iter().filter(|p| !p.is_v4()).collect();
    if let (Some(ip), Some(block)) = (ips.first(), block) {
        eni.primary_ip = (*ip).into();
        eni.subnet_cidr = block;
    }
    Ok(Some(eni))
}

/// IPv6 block of the ENI's subnet. A subnet has one at the most.
async fn ipv6_block(imds: &Imds, mac: MacAddr) -> Result<Option<Prefix>, ImdsError> {
    let blocks = imds.list::<Prefix>(Item::SubnetIpv6Cidrs(mac), "an IPv6 CIDR block").await;
    let blocks = optional(blocks)?.unwrap_or_default();
    Ok(blocks.into_iter().find(|block| !block.is_v4()))
}

/// Runs `read` for each MAC, some at the same time; keeps what it finds. Order carries no meaning.
async fn per_mac<T, F, Fut>(imds: &Imds, macs: &[MacAddr], read: F) -> Result<Vec<T>, ImdsError>
where
    T: Send + 'static,
    F: Fn(Imds, MacAddr) -> Fut,
    Fut: Future<Output = Result<Option<T>, ImdsError>> + Send + 'static,
{
    let mut found = Vec::with_capacity(macs.len());
    for some in macs.chunks(IMDS_PARALLEL) {
        let mut reads = JoinSet::new();
        for mac in some {
            reads.spawn(read(imds.clone(), *mac));
        }
        while let Some(result) = reads.join_next().await {
            let result = result.unwrap_or_else(|error| {
                let path = Item::Macs.path();
                Err(ImdsError::Unreachable { path, why: error.to_string() })
            });
            found.extend(result?);
        }
    }
    Ok(found)
}
