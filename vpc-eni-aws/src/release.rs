//! Detaching and deleting an ENI.

use tokio::time::sleep;
use vpc_ipam_core::{
    cloud::{CloudError, CloudErrorKind},
    id::EniId,
};

use crate::{
    api::{AttachmentState, Ec2Api, Ec2Eni},
    attachments::is_held,
    backend::AwsBackend,
    counts::step,
    instance::Identity,
    pace::once,
    wait::{DELETE, DETACH, DETACH_TIME, DETACHED, may_pass},
};

impl AwsBackend {
    pub(crate) async fn delete(&self, eni: &EniId) -> Result<(), CloudError> {
        let me = self.identity().await?;
        let api = self.api().await?;
        if *eni == me.primary_eni {
            return Err(refuse(eni, "it is the primary ENI of this instance"));
        }
        let known = self.memory().attachments.to_detach(eni);
        let attachment = if known.is_some() {
            known
        } else {
            let found = api.eni(eni).await;
            if let Err(error) = &found {
                self.recorder.unfinished(step::NO_ATTACHMENT, error);
            }
            let Some(found) = found? else {
                self.memory().deleted(eni);
                return Ok(());
            };
            to_detach(me, &found)?
        };
        let released = once(self.release(me, api, eni, attachment, true)).await;
        if let Err(error) = &released {
            self.recorder.unfinished(step::FREE, error);
        }
        released
    }

    /// Undoes a creation. `attachment` is given where attaching is known to have succeeded.
    pub(crate) async fn release_new(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        attachment: Option<String>,
    ) -> Result<(), CloudError> {
        let step = if attachment.is_some() { step::NEW_FREE } else { step::NEW_DELETE };
        let released = once(self.release(me, api, eni, attachment, false)).await;
        if let Err(error) = &released {
            self.recorder.unfinished(step, error);
        }
        released
    }

    /// `known`: EC2 has shown the ENI to us, so that not finding it means that it is gone. A new
    /// one may not be found for a moment.
    ///
    /// Goes on for minutes where EC2 throttles: an ENI that is detached and not deleted is in nobody's
    /// view any more, and would be left for the sweep.
    async fn release(
        &self,
        me: &Identity,
        api: &dyn Ec2Api,
        eni: &EniId,
        mut attachment: Option<String>,
        mut known: bool,
    ) -> Result<(), CloudError> {
        let mut tries = DELETE.start(eni.as_str());
        let mut patient = true;
        loop {
            if let Some(attachment) = attachment.take()
                && detach(api, eni, &attachment).await?
            {
                sleep(DETACH_TIME).await;
            }
            let error = match api.delete(eni).await {
                Ok(()) => break,
                Err(error) if error.kind == CloudErrorKind::Gone && known => break,
                Err(error) => error,
            };
            match error.kind {
                CloudErrorKind::Gone => known = true,
                CloudErrorKind::InUse => {
                    attachment = in_use(me, api, eni, std::mem::take(&mut patient)).await?;
                }
                _ if !may_pass(&error) => return Err(error),
                _ => {}
            }
            // What was found attached is detached at once.
            if attachment.is_some() && tries.count() {
                continue;
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

/// Why an ENI could not be deleted: its attachment, which must go first, or `None` once it is on its
/// way out; `patient`, after some more time. An attachment id that was known may have been out of date, and an attach call whose answer
/// was lost may have succeeded.
async fn in_use(
    me: &Identity,
    api: &dyn Ec2Api,
    eni: &EniId,
    patient: bool,
) -> Result<Option<String>, CloudError> {
    let Ok(Some(found)) = api.eni(eni).await else { return Ok(None) };
    let attachment = to_detach(me, &found)?;
    if attachment.is_none() && found.attachment.is_some() && patient {
        wait_detached(api, eni).await;
    }
    Ok(attachment)
}

/// Id of the attachment that must go before the ENI can.
///
/// # Errors
///
/// If somebody else has moved the ENI in the meantime: theirs now.
fn to_detach(me: &Identity, eni: &Ec2Eni) -> Result<Option<String>, CloudError> {
    let Some(attachment) = &eni.attachment else { return Ok(None) };
    if eni.attached_to(&me.instance).is_none() {
        let why = "it is attached to something else than this instance";
        return Err(refuse(&eni.id, why));
    }
    Ok(is_held(attachment.state).then(|| attachment.id.clone()))
}

/// False if EC2 does not know the attachment.
async fn detach(api: &dyn Ec2Api, eni: &EniId, attachment: &str) -> Result<bool, CloudError> {
    let mut tries = DETACH.start(eni.as_str());
    loop {
        let error = match api.detach(attachment).await {
            Ok(()) => return Ok(true),
            Err(error) if error.kind == CloudErrorKind::Gone => return Ok(false),
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
    while tries.again().await {
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
    }
}

fn refuse(eni: &EniId, why: &str) -> CloudError {
    CloudError::new(
        CloudErrorKind::Other,
        "DeleteNetworkInterface",
        format!("{eni} is not deleted: {why}"),
    )
}
