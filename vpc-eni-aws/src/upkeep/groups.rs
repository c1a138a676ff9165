//! Security groups: what the primary ENI has, the node's other ENIs get.
//!
//! Instance metadata says what the primary ENI has. What the others have is known from the last view
//! that EC2 gave, so that a restart changes nothing that is right already, and what failed is still
//! different when it is looked at next. The primary ENI is the source and never written to: metadata
//! lags behind, and would undo a change that it does not show yet.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;
use vpc_ipam_core::{
    class::is_ours,
    cloud::{CloudEni, CloudError, CloudErrorKind, EniKind},
    id::{EniId, InstanceId, SecurityGroupId},
};

use super::{Upkeep, UpkeepConfig, record::SECURITY_GROUPS};
use crate::{imds::paths::Item, pace::in_background};

/// How often the groups of the primary ENI are read: the reference's number. It costs one request to
/// metadata, none to EC2.
const PERIOD: Duration = Duration::from_secs(30);
/// Before EC2 has shown what the ENIs have, there is nothing to compare with. It does so within seconds
/// of the start, and a change that was missed meanwhile should not have to wait for the next poll.
const UNSEEN_PERIOD: Duration = Duration::from_secs(1);
/// Longest pause after failures in a row, doubled from `PERIOD`: a missing permission is no reason to ask
/// twice a minute for ever.
const RETRY_MAX: Duration = Duration::from_secs(10 * 60);

/// An attached ENI as EC2 showed it last.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) eni: CloudEni,
    /// In no order.
    pub(crate) groups: Vec<SecurityGroupId>,
    /// Its attachment, if it would outlive the instance.
    pub(crate) stays: Option<String>,
}

/// What one look at the groups came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroupSync {
    /// ENIs that got the groups of the primary ENI.
    pub pushed: u64,
    /// ENIs that could not be given them.
    pub failed: u64,
    /// EC2 has not shown the ENIs yet: nothing was compared.
    pub unseen: bool,
}

/// What earlier looks came to.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    /// Groups of the last look, and how often in a row some ENI could not be given them.
    wanted: BTreeSet<SecurityGroupId>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Upkeep {
    /// Compares the security groups of this node's ENIs with those of the primary one, once, and corrects
    /// what differs. After failures in a row this does nothing until a growing pause is over, unless the
    /// groups of the primary ENI have changed.
    ///
    /// # Errors
    ///
    /// If the groups of the primary ENI cannot be read. An ENI that cannot be changed is counted, and
    /// named by [`status`](Self::status).
    pub async fn sync_security_groups(&self) -> Result<GroupSync, CloudError> {
        let me = self.backend.identity().await?;
        let item = Item::SecurityGroups(me.primary_mac);
        let wanted = self.backend.imds.list(item, "a security group id").await;
        let wanted: BTreeSet<_> = wanted.map_err(CloudError::from)?.into_iter().collect();
        if wanted.is_empty() {
            // EC2 refuses to leave an ENI without any.
            return Err(CloudError::new(
                CloudErrorKind::Malformed,
                "IMDS security-group-ids",
                format!("the primary ENI {} has no security groups", me.primary_eni),
            ));
        }
        Ok(self.push_groups(&me.instance, &wanted, Instant::now()).await)
    }

    pub(super) async fn push_groups(
        &self,
        me: &InstanceId,
        wanted: &BTreeSet<SecurityGroupId>,
        now: Instant,
    ) -> GroupSync {
        let Some(seen) = self.backend.memory().seen() else {
            return GroupSync { unseen: true, ..GroupSync::default() };
        };
        let differing = differing(&seen, wanted, me, &self.config);
        if differing.is_empty() || !self.pushes().may_try(wanted, now) {
            if differing.is_empty() {
                self.pushes().succeeded();
                self.record().works(SECURITY_GROUPS);
            }
            return GroupSync::default();
        }
        let groups: Vec<_> = wanted.iter().cloned().collect();
        let mut result = GroupSync::default();
        let mut last = None;
        for eni in differing {
            match in_background(self.set_groups(&eni, &groups)).await {
                Ok(true) => {
                    tracing::info!(%eni, ?groups, "security groups set");
                    result.pushed += 1;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%eni, %error, "cannot set the security groups");
                    result.failed += 1;
                    last = Some(format!(
                        "{} ENI(s) lack the security groups of the primary ENI, {eni} because of {error}",
                        result.failed
                    ));
                }
            }
        }
        self.record().groups(&result);
        match last {
            Some(trouble) => {
                self.pushes().failed(now);
                self.record().troubled(SECURITY_GROUPS, trouble);
            }
            None => {
                self.pushes().succeeded();
                self.record().works(SECURITY_GROUPS);
            }
        }
        result
    }

    /// False if the ENI has gone meanwhile.
    async fn set_groups(
        &self,
        eni: &EniId,
        groups: &[SecurityGroupId],
    ) -> Result<bool, CloudError> {
        let there = self.backend.api().await?.set_groups(eni, groups).await?;
        if there {
            self.backend.memory().learn_groups(eni, groups);
        } else {
            self.backend.recorder.out_of_sync();
            self.backend.memory().deleted(eni);
        }
        Ok(there)
    }

    /// Looks at the groups for ever.
    pub(super) async fn watch_groups(&self) {
        loop {
            let pause = match self.sync_security_groups().await {
                Ok(result) if result.unseen => UNSEEN_PERIOD,
                Ok(_) => PERIOD,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the security groups of the primary ENI");
                    self.record().troubled(SECURITY_GROUPS, error.to_string());
                    PERIOD
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

impl Pushes {
    fn may_try(&mut self, wanted: &BTreeSet<SecurityGroupId>, now: Instant) -> bool {
        if self.wanted != *wanted {
            self.wanted.clone_from(wanted);
            self.succeeded();
        }
        self.not_before.is_none_or(|at| at <= now)
    }

    fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, None);
    }

    fn failed(&mut self, now: Instant) {
        self.not_before = now.checked_add(retry_pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Pause after `failures` failed looks in a row and one more. The first retry is the next look.
pub(super) fn retry_pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => PERIOD.saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(RETRY_MAX),
    }
}

/// The ENIs of this node whose groups are not `wanted`, in order of their ids.
fn differing(
    seen: &[Seen],
    wanted: &BTreeSet<SecurityGroupId>,
    me: &InstanceId,
    config: &UpkeepConfig,
) -> BTreeSet<EniId> {
    let ours = |seen: &&Seen| {
        let eni = &seen.eni;
        !eni.primary
            && eni.kind != EniKind::EfaOnly
            && (eni.card == 0 || config.multi_nic)
            && is_ours(eni, Some(me), config.manage_untagged)
    };
    let differs =
        |seen: &&Seen| seen.groups.iter().collect::<BTreeSet<_>>() != wanted.iter().collect();
    seen.iter().filter(ours).filter(differs).map(|seen| seen.eni.id.clone()).collect()
}
