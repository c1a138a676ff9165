//! Deletes ENIs that nodes have made and lost: a node that dies between making an ENI and attaching it, or
//! between detaching and deleting it, leaves it behind, with its addresses.
//!
//! Every node of a cluster sweeps, and all see the same ENIs. They must not spend the account's request
//! rate on it, which pods need: rounds begin at random times, each node goes through the list in an order
//! of its own, there is a pause after each change that grows where others have been quicker, and the first
//! throttled change ends the round.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use vpc_ipam_core::{
    cloud::{CloudError, CloudErrorKind},
    config::Family,
    id::EniId,
};

use super::{
    Upkeep,
    record::LEAKED_ENIS,
    verdict::{Scope, Verdict, verdict},
};
use crate::{
    api::Ec2Api,
    counts::step,
    pace::{once, sweeping},
    tags::{CREATED_AT, rfc3339},
    wait::{Backoff, DELETE, TAGS, may_pass},
};

/// Between two rounds: the reference's number. A leaked ENI costs little while it waits.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Seconds by which the beginning of a round is spread, so that nodes which started together do not sweep
/// together: the reference's number.
const SPREAD_S: u64 = 300;
/// ENIs changed in one round, and so the ids that are kept of all that was listed. An account has 5,000 per
/// region unless it asks for more; what is left over has time until the next round.
const ROUND_ENIS_MAX: usize = 1000;
/// Pages read per round: more than an account has ENIs, and the end of a listing that does not end.
const PAGES_MAX: usize = 64;
/// Pause after a change that was ours: half of the rate at which this node sends changes in the long run
/// (`crate::pace`), so that the other half is saved up for pods; and a tenth of what EC2 allows an account.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// Pause where other nodes are at it: what the pool allows itself between deletions.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// A round does not run into the next one. ENIs that EC2 does not let go take up to five minutes each.
const ROUND_MAX: Duration = Duration::from_secs(45 * 60);
/// Changes refused for lack of permission after which the round ends. Not the first: with a policy that
/// depends on tags, the next ENI may well be allowed.
const DENIED_MAX: u64 = 10;

/// What one sweep came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Swept {
    /// ENIs that EC2 listed.
    pub listed: u64,
    /// Deleted.
    pub deleted: u64,
    /// Deleted by somebody else meanwhile.
    pub gone: u64,
    /// Stamped with the present time, because nobody knew their age.
    pub stamped: u64,
    /// Neither deleted nor stamped, though that was tried.
    pub failed: u64,
    /// Left for the next round.
    pub left: u64,
}

/// How a change ended.
enum Change {
    Done,
    /// Somebody else was quicker.
    Gone,
}

/// ENIs to change, in an order of this node's own.
type Todo = BTreeMap<(u64, EniId), Verdict>;

impl Upkeep {
    /// Deletes ENIs that any node of the cluster has left behind in this VPC, once. May take up to three
    /// quarters of an hour, because the account's request rate is for pods.
    ///
    /// # Errors
    ///
    /// If the ENIs cannot be listed: then nothing was changed. One that cannot be deleted is counted, and
    /// named by [`status`](Self::status).
    pub async fn sweep(&self) -> Result<Swept, CloudError> {
        sweeping(self.round()).await
    }

    async fn round(&self) -> Result<Swept, CloudError> {
        let me = self.backend.identity().await?;
        let cluster = self.backend.config.cluster_name.clone();
        let scope = Scope { vpc: me.vpc.clone(), cluster };
        let api = self.backend.api().await?;
        let mut swept = Swept::default();
        let todo = self.find(api, &scope, me.instance.as_str(), &mut swept).await?;
        let trouble = self.change_all(api, todo, &mut swept).await;
        self.record().swept(&swept);
        match trouble {
            Some(trouble) => self.record().troubled(LEAKED_ENIS, trouble),
            None => self.record().works(LEAKED_ENIS),
        }
        Ok(swept)
    }

    /// Reads the listing, page by page; of each page only the ids of what is to be changed are kept.
    pub(super) async fn find(
        &self,
        api: &dyn Ec2Api,
        scope: &Scope,
        node: &str,
        swept: &mut Swept,
    ) -> Result<Todo, CloudError> {
        let mut todo = Todo::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let page = api.unattached(scope, token).await?;
            let now = self.backend.config.now();
            for eni in page.enis {
                swept.listed += 1;
                let verdict = verdict(&eni, now, scope);
                if verdict != Verdict::Keep {
                    todo.insert((place(node, &eni.id), eni.id), verdict);
                }
                if todo.len() >= ROUND_ENIS_MAX {
                    return Ok(todo);
                }
            }
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        Ok(todo)
    }

    /// Returns what went wrong last, for people to read.
    async fn change_all(&self, api: &dyn Ec2Api, todo: Todo, swept: &mut Swept) -> Option<String> {
        let began = Instant::now();
        let (mut pause, mut denied, mut trouble) = (PAUSE_MIN, 0, None);
        let mut left = todo.into_iter();
        while let Some(((_, eni), verdict)) = left.next() {
            match self.change(api, &eni, verdict).await {
                Ok(Change::Done) => {
                    tracing::info!(%eni, ?verdict, "leaked ENI");
                    let done = if verdict == Verdict::Stamp {
                        &mut swept.stamped
                    } else {
                        &mut swept.deleted
                    };
                    *done += 1;
                    pause = (pause / 2).max(PAUSE_MIN);
                }
                Ok(Change::Gone) => {
                    swept.gone += 1;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => {
                    tracing::warn!(%eni, ?verdict, %error, "cannot sweep a leaked ENI");
                    swept.failed += 1;
                    denied += u64::from(error.kind == CloudErrorKind::PermissionDenied);
                    if error.kind == CloudErrorKind::Throttled {
                        // No trouble, but a sign: others need the account's rate.
                        break;
                    }
                    trouble = Some(format!(
                        "{} leaked ENI(s) cannot be removed, {eni} because of {error}",
                        swept.failed
                    ));
                }
            }
            if denied >= DENIED_MAX || began.elapsed() >= ROUND_MAX {
                break;
            }
            if left.len() > 0 {
                sleep(pause).await;
            }
        }
        swept.left = u64::try_from(left.len()).unwrap_or(u64::MAX);
        trouble
    }

    async fn change(
        &self,
        api: &dyn Ec2Api,
        eni: &EniId,
        verdict: Verdict,
    ) -> Result<Change, CloudError> {
        let backoff = if verdict == Verdict::Stamp { TAGS } else { DELETE };
        let changed = persist(backoff, eni, || async {
            match verdict {
                Verdict::Stamp => {
                    let stamp = (CREATED_AT.to_owned(), rfc3339(self.backend.config.now()));
                    api.create_tags(eni, &BTreeMap::from([stamp])).await
                }
                Verdict::Delete => api.delete(eni).await,
                Verdict::Keep => Ok(()),
            }
        });
        match once(changed).await {
            Ok(()) => Ok(Change::Done),
            Err(error) if error.kind == CloudErrorKind::Gone => Ok(Change::Gone),
            Err(error) => {
                if verdict == Verdict::Delete {
                    self.backend.recorder.unfinished(step::LEAKED_DELETE, &error);
                }
                Err(error)
            }
        }
    }

    /// Sweeps for ever; not on IPv6 nodes, whose role is not allowed to.
    pub(super) async fn watch_leaks(&self) {
        if self.backend.config.family == Family::V6 {
            return;
        }
        let mut soon = true;
        loop {
            sleep(before_round(std::mem::take(&mut soon), self.random())).await;
            match self.sweep().await {
                Ok(swept) if swept == Swept { listed: swept.listed, ..Swept::default() } => {}
                Ok(swept) => tracing::info!(?swept, "swept leaked ENIs"),
                Err(error) if error.kind == CloudErrorKind::Throttled => {
                    tracing::info!(%error, "no sweep: EC2 throttles");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot list leaked ENIs");
                    // One call every few minutes, so that it is not said for an hour more than it is true.
                    soon = true;
                    let message = format!("leaked ENIs cannot be listed: {error}");
                    self.record().troubled(LEAKED_ENIS, message);
                }
            }
        }
    }
}

/// Tries as often as `backoff` says, unless that is of no use or EC2 throttles.
async fn persist<F>(backoff: Backoff, eni: &EniId, call: impl Fn() -> F) -> Result<(), CloudError>
where
    F: Future<Output = Result<(), CloudError>>,
{
    let mut tries = backoff.start(eni.as_str());
    loop {
        let Err(error) = call().await else { return Ok(()) };
        let useless = !may_pass(&error) || error.kind == CloudErrorKind::Throttled;
        if useless || !tries.again().await {
            return Err(error);
        }
    }
}

/// Where the ENI stands in the order of a node: elsewhere on each, so that nodes that sweep at the same
/// time do not race for each ENI.
pub(super) fn place(node: &str, eni: &EniId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node, eni.as_str()).hash(&mut hasher);
    hasher.finish()
}

/// Pause before a round.
pub(super) fn before_round(first: bool, random: u64) -> Duration {
    let spread = Duration::from_secs(random % SPREAD_S);
    if first { spread } else { PERIOD + spread }
}
