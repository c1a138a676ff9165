//! ENIs and their attachments.

use std::net::IpAddr;

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, CloudErrorKind},
    id::{EniId, InstanceId},
};

use super::{Fake, attachment, eni, error, find};
use crate::api::{AttachmentState, Ec2Eni, EniCalls, NewEni};

#[async_trait]
impl EniCalls for Fake {
    async fn enis_of(&self, instance: &InstanceId) -> Result<Vec<Ec2Eni>, CloudError> {
        self.call("enis_of", |state| {
            let listed = |eni: &&Ec2Eni| {
                eni.attached_to(instance).is_some() && !state.unlisted.contains(&eni.id)
            };
            Ok(state.enis.values().filter(listed).cloned().collect())
        })
    }

    async fn eni(&self, eni: &EniId) -> Result<Option<Ec2Eni>, CloudError> {
        self.call("eni", |state| {
            let mut found = state.enis.get(eni).cloned();
            if let Some(attachment) = found.as_mut().and_then(|eni| eni.attachment.as_mut())
                && attachment.device != 0
                && state.attaching_polls > 0
            {
                state.attaching_polls -= 1;
                attachment.state = AttachmentState::Attaching;
            }
            if let Some(eni) = found.as_mut()
                && !eni.cidrs.is_empty()
                && state.partial_polls > 0
            {
                state.partial_polls -= 1;
                eni.cidrs.truncate(1);
            }
            Ok(found)
        })
    }

    async fn create(&self, new: &NewEni) -> Result<EniId, CloudError> {
        self.state().asked.push(new.clone());
        self.call("create", |state| {
            if let Some(kind) = state.refusing.get(&new.subnet) {
                return Err(error(*kind));
            }
            state.created += 1;
            let n = state.created;
            // As in EC2: IPv6 prefixes come later.
            let born_with = match new.count {
                AddressCount::Ipv6Prefixes(_) => 0,
                count => count.slots(),
            };
            let cidrs = (0..born_with)
                .map(|k| Prefix::host(IpAddr::from([10, 0, n, u8::try_from(k).unwrap()])))
                .collect();
            let eni = Ec2Eni {
                subnet: new.subnet.clone(),
                groups: new.groups.clone(),
                tags: new.tags.clone(),
                tracking: new.tracking,
                ..eni(&format!("eni-{n}"), n + 1, cidrs)
            };
            let id = eni.id.clone();
            state.enis.insert(id.clone(), eni);
            Ok(id)
        })
    }

    async fn attach(
        &self,
        eni: &EniId,
        _instance: &InstanceId,
        device: u32,
        _card: u32,
    ) -> Result<String, CloudError> {
        self.call("attach", |state| {
            let taken = |eni: &Ec2Eni| eni.attachment.as_ref().is_some_and(|a| a.device == device);
            if state.enis.values().any(taken) {
                return Err(error(CloudErrorKind::AttachmentLimit));
            }
            let new = attachment(device, AttachmentState::Attached);
            let attachment_id = new.id.clone();
            find(state, eni)?.attachment = Some(new);
            Ok(attachment_id)
        })
    }

    async fn delete_on_termination(&self, eni: &EniId, _: &str) -> Result<(), CloudError> {
        self.call("delete_on_termination", |state| {
            if let Some(attachment) = &mut find(state, eni)?.attachment {
                attachment.delete_on_termination = Some(true);
            }
            Ok(())
        })
    }

    async fn detach(&self, attachment: &str) -> Result<(), CloudError> {
        self.call("detach", |state| {
            let holds =
                |eni: &&mut Ec2Eni| eni.attachment.as_ref().is_some_and(|a| a.id == attachment);
            let eni = state.enis.values_mut().find(holds);
            eni.ok_or_else(|| error(CloudErrorKind::Gone))?.attachment = None;
            Ok(())
        })
    }

    async fn delete(&self, eni: &EniId) -> Result<(), CloudError> {
        self.call("delete", |state| {
            if state.leaked.remove(eni).is_some() {
                return Ok(());
            }
            if find(state, eni)?.attachment.is_some() {
                return Err(error(CloudErrorKind::InUse));
            }
            state.enis.remove(eni);
            Ok(())
        })
    }
}
