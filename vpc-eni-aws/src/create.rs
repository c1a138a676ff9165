//! Creating an ENI: create, attach, set delete-on-termination, wait; or undo all of it.

use std::collections::BTreeSet;

use vpc_ipam_core::{
    cloud::{AddressCount, CloudEni, CloudError, CloudErrorKind, CreateEni},
    config::Family,
    id::{EniId, SecurityGroupId, SubnetId},
};

use crate::{
    api::{Ec2Api, NewEni},
    backend::AwsBackend,
    imds::paths::Item,
    instance::Identity,
    tags,
    wait::{ATTACHED, may_pass},
};

/// What our ENIs' descriptions begin with; how the collector of leaked ENIs knows them.
pub(crate) const DESCRIPTION_PREFIX: &str = "aws-K8S-";

/// Device indexes on one card. The reference's table; no instance comes near.
const DEVICES_MAX: u32 = 100;

impl AwsBackend {
    pub(crate) async fn create(&self, request: &CreateEni) -> Result<CloudEni, CloudError> {
        let me = self.identity().await?;
        let api = self.api().await?;
        let new = NewEni {
            subnet: subnet_for_new_eni(me, request),
            groups: self.groups(me, api, request).await?,
            description: format!("{DESCRIPTION_PREFIX}{}", me.instance),
            tags: tags::for_new_eni(&self.config, &me.instance, self.config.now()),
            count: self.capped(request.count),
        };
        let eni = api.create(&new).await?;
        tracing::info!(%eni, count = %new.count, "created ENI");
        let mut attachment = None;
        match self.bring_up(me, api, &eni, request.card, new.count, &mut attachment).await {
            Ok(up) => Ok(up),
            Err(error) => Err(self.undo(api, &eni, attachment, error).await),
        }
    }

    /// Security groups that are asked for, or those of the primary ENI as they are now, sorted.
    async fn groups(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        request: &CreateEni,
    ) -> Result<Vec<SecurityGroupId>, CloudError> {
        if !request.groups.is_empty() {
            let mut groups = request.groups.clone();
            groups.sort();
            return Ok(groups);
        }
        let item = Item::SecurityGroups(me.primary_mac);
        let mut groups = match self.imds.list(item, "a security group id").await {
            Ok(groups) => groups,
            Err(error) => {
                tracing::debug!(%error, "asking EC2 for the security groups");
                api.eni(&me.primary_eni).await?.map(|eni| eni.groups).unwrap_or_default()
            }
        };
        // Without any, EC2 would silently take the VPC's default group.
        if groups.is_empty() {
            return Err(CloudError::new(
                CloudErrorKind::Malformed,
                "CreateNetworkInterface",
                format!(
                    "the security groups of the primary ENI {} cannot be found out, and without \
                     them the new ENI would join the VPC's default group",
                    me.primary_eni
                ),
            ));
        }
        groups.sort();
        Ok(groups)
    }

    /// No more than an ENI can hold, where that is known.
    pub(crate) fn capped(&self, count: AddressCount) -> AddressCount {
        let slots = self.limits.get().map_or(u32::MAX, |limits| limits.slots());
        match count {
            AddressCount::Ipv6Prefixes(n) => AddressCount::Ipv6Prefixes(n.min(slots)),
            AddressCount::Prefixes(n) => AddressCount::Prefixes(n.min(slots)),
            AddressCount::Secondary(n) => AddressCount::Secondary(n.min(slots)),
        }
    }

    async fn bring_up(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        card: u32,
        count: AddressCount,
        attachment: &mut Option<String>,
    ) -> Result<CloudEni, CloudError> {
        let id = self.attach(me, api, eni, card).await?;
        let id = attachment.insert(id);
        api.delete_on_termination(eni, id).await?;
        self.wait_attached(me, api, eni, count).await
    }

    async fn attach(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        card: u32,
    ) -> Result<String, CloudError> {
        let _one_at_a_time = self.attaching.lock().await;
        let enis = api.enis_of(&me.instance).await?;
        let mut used = self.memory().recent_devices(card);
        used.extend(
            enis.iter()
                .filter_map(|eni| eni.attachment.as_ref())
                .filter(|attachment| attachment.card == card)
                .map(|attachment| attachment.device),
        );
        let device = free_device(&used).ok_or_else(|| {
            CloudError::new(
                CloudErrorKind::AttachmentLimit,
                "AttachNetworkInterface",
                format!("network card {card} of {} has no free device index", me.instance),
            )
        })?;
        let attachment = api.attach(eni, &me.instance, device, card).await?;
        self.memory().attached(eni.clone(), card, device);
        Ok(attachment)
    }

    /// Waits until EC2 shows the ENI attached with all that was asked for. Metadata may show it
    /// minutes later; the kernel's link is the datapath's to wait for.
    async fn wait_attached(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        count: AddressCount,
    ) -> Result<CloudEni, CloudError> {
        let wanted = match count {
            // It is born with an address of its own, and gets its prefix afterwards.
            AddressCount::Ipv6Prefixes(_) => 0,
            _ => usize::try_from(count.slots()).unwrap_or(usize::MAX),
        };
        let family = self.config.family;
        let mut partial = None;
        let mut why = "EC2 does not show it".to_owned();
        let mut tries = ATTACHED.start(eni.as_str());
        loop {
            match api.eni(eni).await {
                Ok(Some(found)) => {
                    why = format!("attachment: {:?}", found.attachment.as_ref().map(|a| a.state));
                    match self.attached_eni(me, found).await {
                        Ok(Some(up)) if family == Family::V6 && up.primary_ip.is_ipv4() => {
                            why = "it has no IPv6 address".to_owned();
                        }
                        Ok(Some(up)) if up.cidrs.len() >= wanted => return Ok(up),
                        Ok(Some(up)) => {
                            why = format!("it has {} of {wanted} CIDRs", up.cidrs.len());
                            partial = Some(up).filter(|up| !up.cidrs.is_empty());
                        }
                        Ok(None) => {}
                        Err(error) => why = error.to_string(),
                    }
                }
                // Lookups right after creation may miss.
                Ok(None) => {}
                Err(error) if !may_pass(&error) => return Err(error),
                Err(error) => why = error.to_string(),
            }
            if !tries.again().await {
                break;
            }
        }
        partial.ok_or_else(|| {
            CloudError::new(
                CloudErrorKind::Other,
                "AttachNetworkInterface",
                format!("{eni} did not become usable in time ({why}); it is given back"),
            )
        })
    }

    /// Deletes an ENI that could not be brought up; returns the error that made this necessary.
    async fn undo(
        &self,
        api: &dyn Ec2Api,
        eni: &EniId,
        attachment: Option<String>,
        mut error: CloudError,
    ) -> CloudError {
        tracing::warn!(%eni, %error, "deleting the ENI again");
        if let Err(left) = self.release_new(api, eni, attachment).await {
            tracing::error!(%eni, error = %left, "ENI is left behind");
            error
                .message
                .push_str(&format!("; {eni} could not be deleted and is left behind: {left}"));
        }
        error
    }
}

/// The one place that chooses a subnet: the one that is asked for, or that of the primary ENI.
fn subnet_for_new_eni(me: &Identity, request: &CreateEni) -> SubnetId {
    request.subnet.clone().unwrap_or_else(|| me.subnet.clone())
}

/// The lowest device index that is not in use.
fn free_device(used: &BTreeSet<u32>) -> Option<u32> {
    (0..DEVICES_MAX).find(|device| !used.contains(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_gap_is_taken_and_the_table_ends() {
        assert_eq!(free_device(&[].into()), Some(0));
        assert_eq!(free_device(&[0, 1, 3].into()), Some(2));
        assert_eq!(free_device(&(0..DEVICES_MAX - 1).collect()), Some(DEVICES_MAX - 1));
        assert_eq!(free_device(&(0..DEVICES_MAX).collect()), None);
    }
}
