//! ENIs that vanish with their instance.
//!
//! A new ENI is told to in a call of its own. Who is stopped before that leaves one that serves its pods well,
//! and outlives the instance, unless somebody looks again.

use std::time::Duration;

use tokio::time::sleep;
use vpc_ipam_core::{
    class::INSTANCE_TAG,
    cloud::CloudError,
    id::{EniId, InstanceId},
};

use super::{
    Upkeep,
    groups::{Seen, retry_pause},
    record::TERMINATION,
};
use crate::tags::CREATED_AT;

/// How often the ENIs that EC2 showed last are looked at. That costs nothing where all is well, and an
/// instance that ends within a minute of its daemon's restart is rare.
const PERIOD: Duration = Duration::from_secs(30);

impl Upkeep {
    /// Looks for ever.
    pub(super) async fn watch_termination(&self) {
        let mut failures = 0u32;
        loop {
            sleep(PERIOD + if failures > 0 { retry_pause(failures) } else { Duration::ZERO }).await;
            match self.mark_own().await {
                Ok(()) => {
                    failures = 0;
                    self.record().works(TERMINATION);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(%error, "an ENI would outlive this instance");
                    self.record().troubled(TERMINATION, error.to_string());
                }
            }
        }
    }

    /// Lets the ENIs that this node has made vanish with its instance.
    pub(super) async fn mark_own(&self) -> Result<(), CloudError> {
        let Some(seen) = self.backend.memory().seen() else { return Ok(()) };
        let me = self.backend.identity().await?;
        for (eni, attachment) in unmarked(&seen, &me.instance) {
            self.backend.api().await?.delete_on_termination(eni, attachment).await?;
            tracing::info!(%eni, "the ENI vanishes with the instance");
            self.backend.memory().learn_marked(eni);
        }
        Ok(())
    }
}

/// ENIs that `me` has made and that would outlive it, with their attachments.
fn unmarked<'a>(seen: &'a [Seen], me: &InstanceId) -> impl Iterator<Item = (&'a EniId, &'a str)> {
    let made_by_me = move |seen: &&Seen| {
        let tags = &seen.eni.tags;
        let is_mine = tags.get(INSTANCE_TAG).is_some_and(|tag| tag == me.as_str());
        is_mine && tags.contains_key(CREATED_AT) && !seen.eni.primary
    };
    let own: Vec<_> = seen.iter().filter(made_by_me).collect();
    own.into_iter().filter_map(|seen| Some((&seen.eni.id, seen.stays.as_deref()?)))
}
