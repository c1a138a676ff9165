//! Attaching a new ENI, and waiting until it can be used.
//!
//! What is waited for is EC2's word, not instance metadata's, as in the reference: EC2 is the authority on
//! what the ENI holds, and shows it within seconds; metadata lags behind by up to minutes, which pods would
//! wait for. What the node itself needs is the kernel's link, which is the datapath's to wait for.

use std::collections::BTreeSet;

use tokio::time::sleep;
use vpc_ipam_core::{
    cloud::{AddressCount, CloudEni, CloudError, CloudErrorKind},
    config::Family,
    id::EniId,
};

use crate::{
    api::Ec2Api,
    backend::AwsBackend,
    instance::Identity,
    wait::{ATTACH_TIME, ATTACHED, may_pass},
};

/// Device indexes on one card. The reference's table; no instance comes near.
const DEVICES_MAX: u32 = 100;

impl AwsBackend {
    pub(crate) async fn attach(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        card: u32,
    ) -> Result<String, CloudError> {
        let _one_at_a_time = self.attaching.lock().await;
        let known = self.memory().attachments.devices(card);
        if let Some(used) = &known
            && let Some(device) = free_device(used)
        {
            match self.attach_at(me, api, eni, (card, device)).await {
                // The instance is full, or somebody else has taken the index.
                Err(error) if error.kind == CloudErrorKind::AttachmentLimit => {
                    let used = self.devices(me, api, card).await?;
                    let free = free_device(&used).filter(|free| *free != device).ok_or(error)?;
                    return self.attach_at(me, api, eni, (card, free)).await;
                }
                result => return result,
            }
        }
        let used = self.devices(me, api, card).await?;
        let device = free_device(&used).ok_or_else(|| {
            CloudError::new(
                CloudErrorKind::AttachmentLimit,
                "AttachNetworkInterface",
                format!("network card {card} of {} has no free device index", me.instance),
            )
        })?;
        self.attach_at(me, api, eni, (card, device)).await
    }

    async fn attach_at(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        (card, device): (u32, u32),
    ) -> Result<String, CloudError> {
        let attachment = api.attach(eni, &me.instance, device, card).await?;
        self.memory().attached(eni.clone(), attachment.clone(), card, device);
        Ok(attachment)
    }

    /// Device indexes in use on a card, as EC2 lists them now and as we have taken them lately.
    async fn devices(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        card: u32,
    ) -> Result<BTreeSet<u32>, CloudError> {
        let listed = api.enis_of(&me.instance).await?;
        let mut memory = self.memory();
        memory.learn_attachments(&me.instance, &listed);
        let mut used = memory.recent_devices(card);
        used.extend(memory.attachments.devices(card).unwrap_or_default());
        Ok(used)
    }

    /// Waits until EC2 shows the ENI attached with all that was asked for. Metadata may show it
    /// minutes later; the kernel's link is the datapath's to wait for.
    pub(crate) async fn wait_attached(
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
        sleep(ATTACH_TIME).await;
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
