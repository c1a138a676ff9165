//! Tags of ENIs that this node did not make, or made with other settings: who uses an ENI marks it, so that
//! it is known whose it is when the node has gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use vpc_ipam_core::{
    class::is_ours,
    cloud::{CloudError, EniKind},
    id::{EniId, InstanceId},
};

use super::{Seen, Upkeep, UpkeepConfig, record::ENI_TAGS};
use crate::{
    config::AwsConfig,
    pace::in_background,
    tags,
    wait::{TAGS, may_pass},
};

/// After tags were written to an ENI, or could not be, it is left alone for so long: views lag behind, and
/// what is refused now will hardly be allowed a moment later.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// What one look at the tags came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Adopted {
    /// ENIs that got tags which they lacked.
    pub tagged: u64,
    /// ENIs that could not be given them.
    pub failed: u64,
}

/// When tags of ENIs were last written, successfully or not.
pub(super) type Tried = BTreeMap<EniId, Instant>;

impl Upkeep {
    /// Gives the ENIs that EC2's last view showed the tags they lack, in one call each; without a call if
    /// they lack none. An ENI that was tried a moment ago is left alone.
    ///
    /// # Errors
    ///
    /// If nobody knows which instance this is. An ENI that cannot be tagged is counted, and named by
    /// [`status`](Self::status).
    pub async fn adopt(&self) -> Result<Adopted, CloudError> {
        let me = &self.backend.identity().await?.instance;
        let seen = self.backend.memory().seen().unwrap_or_default();
        let lacking = lacking(&seen, me, &self.config, &self.backend.config);
        let mut result = Adopted::default();
        let mut last = None;
        for (eni, tags) in &lacking {
            if !self.may_tag(eni) {
                continue;
            }
            match in_background(self.tag(eni, tags)).await {
                Ok(()) => {
                    tracing::info!(%eni, keys = ?tags.keys(), "ENI adopted: tagged");
                    result.tagged += 1;
                }
                Err(error) => {
                    tracing::warn!(%eni, %error, "cannot tag the ENI");
                    result.failed += 1;
                    last = Some(format!(
                        "{} ENI(s) of this node lack tags, so that they may not be recognised as its own, \
                         {eni} because of {error}",
                        result.failed
                    ));
                }
            }
        }
        self.tried().retain(|eni, _| lacking.contains_key(eni));
        let mut record = self.record();
        record.tagged += result.tagged;
        match last {
            Some(trouble) => record.troubled(ENI_TAGS, trouble),
            None if lacking.is_empty() => record.works(ENI_TAGS),
            None => {}
        }
        Ok(result)
    }

    /// Adopts what each view shows, for ever.
    pub(super) async fn watch_tags(&self) {
        loop {
            self.backend.viewed.notified().await;
            if let Err(error) = self.adopt().await {
                tracing::warn!(%error, "cannot look at the tags of ENIs");
            }
        }
    }

    fn may_tag(&self, eni: &EniId) -> bool {
        let mut tried = self.tried();
        let may = tried.get(eni).is_none_or(|at| at.elapsed() >= PAUSE);
        if may {
            tried.insert(eni.clone(), Instant::now());
        }
        may
    }

    async fn tag(&self, eni: &EniId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        let api = self.backend.api().await?;
        let mut tries = TAGS.start(eni.as_str());
        loop {
            let Err(error) = api.create_tags(eni, tags).await else { return Ok(()) };
            if !may_pass(&error) || !tries.again().await {
                return Err(error);
            }
        }
    }
}

/// The tags that ENIs of ours lack. The trunk is its controller's to tag; what cannot be used for pods is
/// nobody's to adopt.
fn lacking(
    seen: &[Seen],
    me: &InstanceId,
    config: &UpkeepConfig,
    backend: &AwsConfig,
) -> BTreeMap<EniId, BTreeMap<String, String>> {
    let wanted = tags::of_our_enis(backend, me);
    let ours = |seen: &&Seen| {
        let eni = &seen.eni;
        !matches!(eni.kind, EniKind::EfaOnly | EniKind::Trunk)
            && (eni.card == 0 || config.multi_nic)
            && is_ours(eni, Some(me), config.manage_untagged)
    };
    let differing = seen.iter().filter(ours).map(|seen| {
        let has: BTreeSet<_> = seen.eni.tags.iter().collect();
        let lacks = wanted.iter().filter(|tag| !has.contains(tag));
        (seen.eni.id.clone(), lacks.map(|(k, v)| (k.clone(), v.clone())).collect())
    });
    differing.filter(|(_, tags): &(_, BTreeMap<_, _>)| !tags.is_empty()).collect()
}
