//! Creating an ENI: create, attach, set delete-on-termination, wait; or undo all of it.

use vpc_ipam_core::{
    cloud::{AddressCount, CloudEni, CloudError, CloudErrorKind, CreateEni},
    id::{EniId, SecurityGroupId},
};

use crate::{
    api::{Ec2Api, NewEni},
    backend::AwsBackend,
    imds::paths::Item,
    instance::Identity,
    pace::once,
    tags,
};

/// What our ENIs' descriptions begin with; how the collector of leaked ENIs knows them.
pub(crate) const DESCRIPTION_PREFIX: &str = "aws-K8S-";

impl AwsBackend {
    pub(crate) async fn create(&self, request: &CreateEni) -> Result<CloudEni, CloudError> {
        let me = self.identity().await?;
        let api = self.api().await?;
        let places = self.places(me, request).await?;
        let mut new = NewEni {
            subnet: me.subnet.clone(),
            groups: self.groups(me, api, request).await?,
            description: format!("{DESCRIPTION_PREFIX}{}", me.instance),
            tags: tags::for_new_eni(&self.config, &me.instance, self.config.now()),
            tracking: self.memory().tracking,
            count: self.capped(request.count),
        };
        let eni = self.create_in_one_of(api, &mut new, places).await?;
        tracing::info!(%eni, subnet = %new.subnet, count = %new.count, "created ENI");
        let mut attachment = None;
        match self.bring_up(me, api, &eni, request.card, new.count, &mut attachment).await {
            Ok(up) => {
                self.memory().learn_new(&up, &new.groups);
                Ok(up)
            }
            Err(error) => Err(self.undo(me, api, &eni, attachment, error).await),
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
            groups.dedup();
            return Ok(groups);
        }
        if let Some(subnet) = &request.subnet {
            tracing::warn!(
                %subnet,
                "the ENIConfig names no security groups; pods get those of the primary ENI"
            );
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
        once(self.wait_attached(me, api, eni, count)).await
    }

    /// Deletes an ENI that could not be brought up; returns the error that made this necessary.
    async fn undo(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        attachment: Option<String>,
        mut error: CloudError,
    ) -> CloudError {
        tracing::warn!(%eni, %error, "deleting the ENI again");
        if let Err(left) = self.release_new(me, api, eni, attachment).await {
            tracing::error!(%eni, error = %left, "ENI is left behind");
            error
                .message
                .push_str(&format!("; {eni} could not be deleted and is left behind: {left}"));
        }
        error
    }
}
