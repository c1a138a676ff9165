//! EC2 calls within the budget: which may be made, and what their answers say about EC2.

use super::{Action, Op, Pool};
use crate::{
    budget::{CallKind, CallLevel, Calls},
    cloud::{CloudError, CloudErrorKind},
    eni::Eni,
    id::EniId,
    plan::earlier,
    time::Time,
};

impl Pool {
    /// Learns from the answer to a call.
    pub(super) fn note_answer(&mut self, kind: CallKind, error: Option<&CloudError>, now: Time) {
        match error.map(|error| error.kind) {
            None => self.purse.answered(kind),
            Some(CloudErrorKind::Throttled) => {
                self.purse.throttled(kind, now, &mut self.jitter);
            }
            Some(_) => {}
        }
    }

    /// What the planner may spend: what has left the pool already has its calls.
    pub(super) fn calls(&self) -> Calls {
        let mut calls = self.purse.calls();
        let spend = |left: &mut u32, n: usize| {
            *left = left.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
        };
        if self.enis.sums().outline.moving > 0 {
            let leaves = |eni: &&Eni| !eni.leaving.is_empty() && eni.op.is_none();
            spend(&mut calls.unassign.calls, self.enis.values().filter(leaves).count());
        }
        let departing = self.departing.values().filter(|d| d.delete && !d.deleting);
        spend(&mut calls.delete.calls, departing.count());
        calls
    }

    /// EC2 throttles, and nobody waits for the place of what has left the pool.
    fn releases_wait(&self) -> bool {
        self.purse.level() >= CallLevel::NoReleases && self.waiting.anyone() == 0
    }

    fn leaving(&self) -> Vec<EniId> {
        self.enis
            .values()
            .filter(|eni| !eni.leaving.is_empty() && eni.op.is_none() && eni.settled())
            .map(|eni| eni.id.clone())
            .collect()
    }

    /// Gives addresses back to the cloud once the host no longer sends anything from them.
    pub(super) fn release_leaving(&mut self, now: Time) {
        if self.draining || !self.config.provisions() || self.releases_wait() {
            return;
        }
        for id in self.leaving() {
            let Some(eni) = self.enis.get(&id) else { continue };
            let cidrs: Vec<_> = eni.leaving.iter().copied().collect();
            if !self.purse.take(CallKind::Unassign, now) {
                return;
            }
            let op = Op::Unassign { eni: id.clone(), cidrs: cidrs.clone() };
            let op = self.issue(op, |op| Action::UnassignAddresses { op, eni: id.clone(), cidrs });
            if let Some(eni) = self.enis.get_mut(&id) {
                eni.op = Some((op, None));
            }
        }
    }

    /// Deletes ENIs that the host has forgotten.
    pub(super) fn delete_departed(&mut self, now: Time) {
        let departed = self.departing.iter().filter(|(_, d)| d.torn_down && !d.deleting);
        let departed: Vec<EniId> = departed.map(|(id, _)| id.clone()).collect();
        for id in departed {
            let Some(delete) = self.departing.get(&id).map(|d| d.delete) else { continue };
            // A node that is going away takes its ENIs with it; detaching them one by one could only
            // leak them half-way.
            if !delete || self.draining || !self.config.provisions() {
                self.departing.remove(&id);
                continue;
            }
            if self.releases_wait() || !self.purse.take(CallKind::Delete, now) {
                continue;
            }
            if let Some(departing) = self.departing.get_mut(&id) {
                departing.deleting = true;
            }
            self.issue(Op::Delete { eni: id.clone() }, |op| Action::DeleteEni { op, eni: id });
        }
    }

    /// When something that waits for a call gets one.
    pub(super) fn calls_timeout(&self) -> Option<Time> {
        let mut at = self.purse.timeout();
        if self.enis.sums().vacated > 0 && self.may_give_back() {
            at = earlier(at, self.purse.wait(CallKind::Unassign));
        }
        if self.departing.values().any(|d| d.torn_down && !d.deleting) {
            at = earlier(at, self.purse.wait(CallKind::Delete));
        }
        at
    }

    /// Why EC2 is asked less than the targets want.
    pub(super) fn calls_text(&self) -> Option<String> {
        let calls = self.purse.calls();
        let what = match calls.level {
            CallLevel::Normal => return None,
            CallLevel::NoReleases => "so nothing is given back to it",
            CallLevel::NoMutations => {
                "so addresses are requested for pods that wait only, and nothing is given back"
            }
        };
        let until = calls.relief.map_or_else(String::new, |at| format!(", at least until {at}"));
        Some(format!(
            "EC2 throttles this account ({} call(s) so far), {what}{until}",
            calls.throttled
        ))
    }
}
