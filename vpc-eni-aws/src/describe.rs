//! The view of all attached ENIs: from EC2, or where it does not answer, from instance metadata.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{Authority, CloudEni, CloudError, CloudErrorKind, CloudView, EniKind},
    config::Family,
    id::{EniId, MacAddr, SubnetId},
};

use crate::{
    api::{AttachmentState, Ec2Eni},
    backend::AwsBackend,
    imds::{Wanted, paths::Item},
    instance::Identity,
    upkeep::Seen,
};

impl AwsBackend {
    pub(crate) async fn view(&self) -> Result<CloudView, CloudError> {
        if self.config.imds_only {
            return self.imds_view().await;
        }
        let error = match self.ec2_view().await {
            Ok(view) => {
                self.memory().learn_view(&view);
                self.viewed.notify_one();
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
        self.memory().learn_attachments(&me.instance, &found);
        if let Some(primary) = found.iter().find(|eni| eni.id == me.primary_eni) {
            self.memory().tracking = primary.tracking;
        }
        self.warn_of_enis_that_stay(&found);
        let (mut enis, mut seen) = (Vec::with_capacity(found.len()), Vec::new());
        for eni in found {
            let groups = eni.groups.clone();
            let stays = eni.attachment.as_ref().filter(|a| a.delete_on_termination == Some(false));
            let stays = stays.map(|attachment| attachment.id.clone());
            if let Some(eni) = self.attached_eni(me, eni).await? {
                seen.push(Seen { eni: eni.clone(), groups, stays });
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

    /// ENIs that outlive their instance cost money. What this system makes does not; of others it is said
    /// once.
    fn warn_of_enis_that_stay(&self, found: &[Ec2Eni]) {
        let stays = |eni: &&Ec2Eni| {
            eni.attachment.as_ref().is_some_and(|a| a.delete_on_termination == Some(false))
        };
        for eni in found.iter().filter(stays) {
            if self.memory().is_news(&eni.id) {
                tracing::warn!(
                    eni = %eni.id,
                    "the ENI will outlive its instance: DeleteOnTermination is false"
                );
            }
        }
    }

    /// ENIs that ought to be attached, whatever a listing says.
    async fn hints(&self) -> BTreeSet<EniId> {
        let mut hints = self.memory().recent();
        match self.imds.eni_ids().await {
            Ok(ids) => hints.extend(ids),
            // EC2 alone will do.
            Err(error) => tracing::debug!(%error, "no hint from instance metadata"),
        }
        hints
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
        // Every other kind is born with an address: what EC2 shows is not what is. To take its word would
        // make an ENI with pods unusable; the next view is another matter.
        if eni.primary_ip.is_none() && eni.kind != EniKind::EfaOnly {
            return Err(CloudError::new(
                CloudErrorKind::Malformed,
                "DescribeNetworkInterfaces",
                format!(
                    "{} has no address, though its kind is {:?}; it is asked again",
                    eni.id, eni.kind
                ),
            ));
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
        let block = match self.imds.subnet_ipv6_block(mac).await {
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
        let card = self.limits.get().is_none_or(|limits| limits.card_enis.len() > 1);
        let found = self.imds.enis(Wanted { family: self.config.family, card }).await?;
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
