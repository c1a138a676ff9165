//! Detaching and deleting an ENI.

use vpc_ipam_core::{
    cloud::{CloudError, CloudErrorKind},
    id::EniId,
};

use crate::{
    api::{AttachmentState, Ec2Api, Ec2Eni},
    backend::AwsBackend,
    counts::step,
    wait::{DELETE, DETACH, DETACHED, may_pass},
};

impl AwsBackend {
    pub(crate) async fn delete(&self, eni: &EniId) -> Result<(), CloudError> {
        let me = self.identity().await?;
        let api = self.api().await?;
        if *eni == me.primary_eni {
            return Err(refuse(eni, "it is the primary ENI of this instance"));
        }
        let found = api.eni(eni).await;
        if let Err(error) = &found {
            self.recorder.unfinished(step::NO_ATTACHMENT, error);
        }
        let Some(found) = found? else {
            self.memory().deleted(eni);
            return Ok(());
        };
        // Moved by someone else in the meantime: theirs now.
        if found.attachment.is_some() && found.attached_to(&me.instance).is_none() {
            return Err(refuse(eni, "it is attached to something else than this instance"));
        }
        let released = self.release(api, eni, to_detach(&found), true).await;
        if let Err(error) = &released {
            self.recorder.unfinished(step::FREE, error);
        }
        released
    }

    /// Undoes a creation. `attachment` is given where attaching is known to have succeeded.
    pub(crate) async fn release_new(
        &self,
        api: &dyn Ec2Api,
        eni: &EniId,
        attachment: Option<String>,
    ) -> Result<(), CloudError> {
        let step = if attachment.is_some() { step::NEW_FREE } else { step::NEW_DELETE };
        let released = self.release(api, eni, attachment, false).await;
        if let Err(error) = &released {
            self.recorder.unfinished(step, error);
        }
        released
    }

    /// `known`: EC2 has shown the ENI to us, so that not finding it means that it is gone. A new
    /// one may not be found for a moment.
    async fn release(
        &self,
        api: &dyn Ec2Api,
        eni: &EniId,
        mut attachment: Option<String>,
        mut known: bool,
    ) -> Result<(), CloudError> {
        let mut tries = DELETE.start(eni.as_str());
        loop {
            if let Some(attachment) = attachment.take() {
                detach(api, eni, &attachment).await?;
                wait_detached(api, eni).await;
            }
            let error = match api.delete(eni).await {
                Ok(()) => break,
                Err(error) if error.kind == CloudErrorKind::Gone && known => break,
                Err(error) => error,
            };
            match error.kind {
                CloudErrorKind::Gone => known = true,
                // An attach call whose answer was lost may have succeeded.
                CloudErrorKind::InUse => {
                    attachment = api.eni(eni).await.ok().flatten().as_ref().and_then(to_detach);
                }
                _ if !may_pass(&error) => return Err(error),
                _ => {}
            }
            if !tries.again().await {
                return Err(error);
            }
        }
        tracing::info!(%eni, "deleted ENI");
        self.memory().deleted(eni);
        Ok(())
    }
}

/// Id of the attachment that must go before the ENI can.
fn to_detach(eni: &Ec2Eni) -> Option<String> {
    let attachment = eni.attachment.as_ref()?;
    let held = matches!(attachment.state, AttachmentState::Attached | AttachmentState::Attaching);
    held.then(|| attachment.id.clone())
}

async fn detach(api: &dyn Ec2Api, eni: &EniId, attachment: &str) -> Result<(), CloudError> {
    let mut tries = DETACH.start(eni.as_str());
    loop {
        let error = match api.detach(attachment).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind == CloudErrorKind::Gone => return Ok(()),
            Err(error) => error,
        };
        // In use here means that the attachment is changing its state already.
        if !may_pass(&error) || !tries.again().await {
            return Err(error);
        }
    }
}

/// Detaching goes on after the call. Gives up quietly: deleting will say what is wrong.
async fn wait_detached(api: &dyn Ec2Api, eni: &EniId) {
    let mut tries = DETACHED.start(eni.as_str());
    loop {
        match api.eni(eni).await {
            Ok(None) => return,
            Ok(Some(found)) => match found.attachment {
                None => return,
                Some(attachment) if attachment.state == AttachmentState::Detached => return,
                Some(_) => {}
            },
            Err(error) if !may_pass(&error) => return,
            Err(_) => {}
        }
        if !tries.again().await {
            return;
        }
    }
}

fn refuse(eni: &EniId, why: &str) -> CloudError {
    CloudError::new(
        CloudErrorKind::Other,
        "DeleteNetworkInterface",
        format!("{eni} is not deleted: {why}"),
    )
}
