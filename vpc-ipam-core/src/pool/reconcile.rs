//! Comparing the pool with what the cloud shows.
//!
//! EC2 is the authority: what it does not show is given up, unless pods use it or the read is older
//! than the pool's own last change. Instance metadata may only add.

use std::{collections::BTreeMap, time::Duration};

use super::{Action, Op, Pool};
use crate::{
    addr::Prefix,
    backoff::Backoff,
    budget::CallKind,
    class::is_managed,
    cloud::{Authority, CloudEni, CloudError, CloudView, EniKind},
    eni::RETRY_CAP,
    id::{EniId, OpId},
    time::Time,
};

/// First delay after a failed read.
const RETRY: Duration = Duration::from_secs(1);

/// Why an ENI takes a place but is not the pool's to use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Foreign {
    /// It has no address.
    EfaOnly,
    /// Its tags say whose it is.
    Unmanaged,
    /// Metadata alone shows it, and cannot say whose it is.
    Unverified,
}
/// When to read the cloud's view, and what the last reading was worth.
#[derive(Clone, Debug)]
pub(super) struct Describing {
    pub(super) due: Time,
    /// Reads in a row that showed what was expected.
    pub(super) quiet: u32,
    pub(super) running: Option<OpId>,
    /// When the last read began.
    pub(super) began: Time,
    backoff: Backoff,
    /// Some view has arrived.
    pub(super) described: bool,
    /// A view with EC2's authority has arrived.
    pub(super) confirmed: bool,
    /// The last view was instance metadata's.
    pub(super) hint_only: bool,
    pub(super) error: Option<String>,
}

impl Describing {
    pub(super) fn new(now: Time) -> Self {
        Self {
            due: now,
            quiet: 0,
            running: None,
            began: now,
            backoff: Backoff::new(RETRY, RETRY_CAP),
            described: false,
            confirmed: false,
            hint_only: false,
            error: None,
        }
    }

    /// Asks for a view at `at`, if none is due before.
    pub(super) fn look_again(&mut self, at: Time) {
        self.due = self.due.min(at);
    }

    /// True if EC2 has vouched for what the pool holds, and the last read did not fail: nothing is given
    /// up while the cloud cannot be asked.
    pub(super) fn vouches(&self) -> bool {
        self.confirmed && !self.hint_only && self.error.is_none()
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        self.running.is_none().then_some(self.due)
    }
}

impl Pool {
    pub(super) fn schedule_describe(&mut self, now: Time) {
        if self.describing.running.is_none() && self.describing.due <= now {
            if self.purse.take(CallKind::Describe, now) {
                self.describe(now);
            } else {
                let next = self.purse.wait(CallKind::Describe);
                self.describing.due = next.unwrap_or(now + RETRY);
            }
        }
    }

    /// Asks for a view that begins now.
    pub(super) fn describe(&mut self, now: Time) {
        let sequence = self.sequence;
        let op = self.issue(Op::Describe { sequence }, |op| Action::Describe { op });
        self.describing.running = Some(op);
        self.describing.began = now;
        self.describing.due = now + self.next_period();
    }

    /// Asks for a view that is newer than now.
    pub(super) fn describe_soon(&mut self, now: Time) {
        self.describing.due = self.describing.due.min(now);
    }

    pub(super) fn on_described(
        &mut self,
        op: OpId,
        result: Result<CloudView, CloudError>,
        now: Time,
    ) {
        let Some(Op::Describe { sequence }) =
            self.take_op(op, |op| matches!(op, Op::Describe { .. }))
        else {
            return;
        };
        self.describing.running = None;
        self.note_answer(CallKind::Describe, result.as_ref().err(), now);
        let retry = match result {
            // Every instance has a primary ENI: such a view is not complete.
            Ok(view) if !view.enis.iter().any(|eni| eni.primary) => {
                self.describing.error = Some("the view lacks the primary ENI".to_owned());
                true
            }
            Ok(view) => {
                let confirmed = view.authority == Authority::Ec2;
                let enough = confirmed || self.config.metadata_only;
                let known = (self.enis.values().count(), self.foreign.len());
                self.reconcile(view, sequence, now);
                let same = known == (self.enis.values().count(), self.foreign.len());
                let quiet = same && confirmed && sequence == self.sequence && self.is_quiet();
                self.stretch_period(quiet, now);
                self.look_at_doubted(now);
                self.describing.described = true;
                self.memory.vouching &= !enough;
                self.describing.confirmed |= confirmed;
                self.describing.hint_only = !enough;
                self.describing.error = None;
                !enough
            }
            Err(error) => {
                self.describing.error = Some(error.to_string());
                self.rely_on_memory();
                true
            }
        };
        if retry {
            self.describing.quiet = 0;
            let delay = self.describing.backoff.fail(&mut self.jitter);
            self.describing.due = self.describing.due.min(now + delay);
        } else {
            self.describing.backoff.reset();
        }
    }

    fn reconcile(&mut self, view: CloudView, sequence: u64, now: Time) {
        let authoritative = view.authority == Authority::Ec2;
        let card = self.config.card;
        let tagged = view.enis.iter().any(|eni| !eni.tags.is_empty());
        let shown: Vec<CloudEni> = view.enis.into_iter().filter(|eni| eni.card == card).collect();
        if authoritative {
            self.sort_out(&shown, tagged);
        }
        // Metadata knows no tags, so that it cannot tell whose an ENI is.
        let ours: BTreeMap<EniId, CloudEni> = shown
            .into_iter()
            .filter_map(|eni| self.usable_part(eni))
            .map(|eni| (eni.id.clone(), eni))
            .collect();
        if authoritative {
            self.absent.clear();
            self.give_up(&ours, sequence);
        } else if self.config.metadata_only {
            self.give_up_absent(&ours, now);
        }
        let known = self.beyond_doubt(now).filter(|_| authoritative);
        for mut eni in ours.into_values() {
            if !authoritative && let Some(known) = self.enis.get(&eni.id) {
                (eni.kind, eni.excluded) = (known.traits.kind, known.traits.excluded);
            }
            if authoritative && self.is_newly_excluded(&eni, now) {
                self.note_exclusion(&eni, now);
            }
            self.take_in(eni, authoritative || self.config.metadata_only, sequence, now);
        }
        if let Some(known) = known {
            self.doubt_all_but(&known, now);
        }
        if authoritative {
            let over = |gone: &super::Gone| gone.until <= now && gone.sequence <= sequence;
            self.gone_enis.retain(|_, gone| !over(gone));
            self.gone_cidrs.retain(|_, gone| !over(gone));
            if self.gone_enis.is_empty() && self.gone_cidrs.is_empty() {
                self.growth.release_error = None;
            }
        }
    }

    /// Notes which ENIs of an EC2 view are somebody else's. Tags that could not be had are none at all:
    /// without any, what was somebody else's stays so.
    fn sort_out(&mut self, shown: &[CloudEni], tagged: bool) {
        let verdict = |eni: &CloudEni| match eni.kind {
            EniKind::EfaOnly => Some(Foreign::EfaOnly),
            _ if !is_managed(eni, &self.config) => Some(Foreign::Unmanaged),
            _ => self
                .foreign
                .get(&eni.id)
                .copied()
                .filter(|was| !tagged && *was == Foreign::Unmanaged),
        };
        let foreign: BTreeMap<EniId, Foreign> =
            shown.iter().filter_map(|eni| Some((eni.id.clone(), verdict(eni)?))).collect();
        for eni in self.enis.values_mut() {
            eni.traits.disowned = foreign.contains_key(&eni.id);
            if eni.traits.disowned && eni.op.is_none() {
                // What its new owner makes of them is not for us to undo.
                eni.leaving.clear();
            }
            eni.assess(&self.config);
        }
        for (id, departing) in &mut self.departing {
            departing.delete &= !foreign.contains_key(id);
        }
        let is_trunk = |eni: &&CloudEni| eni.kind == EniKind::Trunk;
        self.foreign_trunk = shown.iter().filter(is_trunk).any(|eni| foreign.contains_key(&eni.id));
        self.foreign = foreign;
    }

    /// What the pool may use of an ENI that the cloud shows. Of one that is somebody else's that is what
    /// pods have already: they were there first.
    fn usable_part(&self, mut eni: CloudEni) -> Option<CloudEni> {
        if self.foreign.contains_key(&eni.id) {
            eni.cidrs.retain(|cidr| !self.leases.owners_in(cidr).is_empty());
            if eni.cidrs.is_empty() {
                return None;
            }
        }
        (eni.kind != EniKind::EfaOnly).then_some(eni)
    }

    /// Gives up what EC2 does not show.
    fn give_up(&mut self, ours: &BTreeMap<EniId, CloudEni>, sequence: u64) {
        let known: Vec<EniId> = self
            .enis
            .values()
            // A change that ended after the read began, or has not ended, may be missing in it.
            .filter(|eni| eni.op.is_none() && eni.mutated <= sequence)
            .map(|eni| eni.id.clone())
            .collect();
        for id in known {
            let Some(shown) = ours.get(&id) else {
                self.lose_eni(&id);
                continue;
            };
            let Some(eni) = self.enis.get(&id) else { continue };
            let lost: Vec<Prefix> =
                eni.cidrs().keys().filter(|cidr| !shown.cidrs.contains(cidr)).copied().collect();
            for cidr in lost {
                self.lose_cidr(&id, &cidr);
            }
        }
    }

    /// Takes in what the cloud shows, except what the pool has given up since, or has not finished
    /// making. `trusted`: there is nobody who knows better.
    fn take_in(&mut self, mut shown: CloudEni, trusted: bool, sequence: u64, now: Time) {
        if self.departing.contains_key(&shown.id) {
            return;
        }
        let known = self.enis.get(&shown.id);
        let unfinished = !self.growth.creating.is_empty() || self.growth.created > sequence;
        if known.is_none() && unfinished {
            return;
        }
        // Metadata may lag behind: it cannot bring back what EC2 has denied.
        if !trusted && known.is_some_and(|eni| eni.missing) {
            return;
        }
        // It knows no tags: what it alone shows may be somebody else's, whose host side must not be
        // touched, unless pods of ours have addresses on it.
        if !trusted && known.is_none() && !shown.primary && !self.has_leases(&shown) {
            self.foreign.entry(shown.id).or_insert(Foreign::Unverified);
            return;
        }
        let denied = |gone: &super::Gone| !trusted || gone.until > now || gone.sequence > sequence;
        if self.gone_enis.get(&shown.id).is_some_and(denied) {
            return;
        }
        shown.cidrs.retain(|cidr| {
            let gone = self.gone_cidrs.get(cidr).is_some_and(denied);
            !gone && (trusted || !self.is_denied(cidr))
        });
        let authority = if trusted { Authority::Ec2 } else { Authority::Imds };
        self.adopt(&shown, authority, now);
    }

    fn has_leases(&self, eni: &CloudEni) -> bool {
        eni.cidrs.iter().any(|cidr| !self.leases.owners_in(cidr).is_empty())
    }
}
