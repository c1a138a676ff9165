//! The host's side of ENIs: set-up, take-down, and what may only follow them.

use std::time::Duration;

use super::{Action, Op, Pool};
use crate::{
    backoff::Backoff,
    config::Family,
    datapath::{DatapathError, EniSpec},
    eni::RETRY_CAP,
    id::{EniId, OpId},
    plan::earlier,
    time::Time,
};

/// Attempts to remove the host's side of an ENI before it is deleted regardless: what is left
/// refers to a link that is about to vanish, while the ENI costs addresses.
const TEAR_DOWN_TRIES: u32 = 3;
/// First delay between these attempts.
const TEAR_DOWN_RETRY: Duration = Duration::from_millis(500);

/// An ENI on its way out.
#[derive(Clone, Debug)]
pub(super) struct Departing {
    spec: EniSpec,
    /// Delete it in the cloud; false if it is gone there.
    pub(super) delete: bool,
    /// The host has forgotten it.
    pub(super) torn_down: bool,
    /// It is being deleted.
    pub(super) deleting: bool,
    retry_at: Option<Time>,
    backoff: Backoff,
}

impl Pool {
    /// Starts to remove an ENI that has left the pool.
    pub(super) fn take_down(&mut self, spec: EniSpec, delete: bool, now: Time) {
        let departing = Departing {
            spec: spec.clone(),
            delete,
            torn_down: false,
            deleting: false,
            retry_at: Some(now),
            backoff: Backoff::new(TEAR_DOWN_RETRY, RETRY_CAP),
        };
        self.departing.insert(spec.id, departing);
    }

    /// Issues what the host, and after it the cloud, has to learn.
    pub(super) fn schedule_host(&mut self, now: Time) {
        let (stale, vacated) = (self.enis.sums().stale, self.enis.sums().vacated);
        if stale > 0 {
            self.set_up_stale(now);
        }
        self.delete_departed(now);
        if !self.may_give_back() {
            return;
        }
        if vacated > 0 {
            self.release_leaving(now);
        }
        if !self.departing.is_empty() {
            self.take_down_departing(now);
        }
    }

    fn take_down_departing(&mut self, now: Time) {
        let departing: Vec<EniSpec> = self
            .departing
            .values_mut()
            .filter_map(|d| d.retry_at.take_if(|at| *at <= now).map(|_| d.spec.clone()))
            .collect();
        for spec in departing {
            let op = Op::TearDown { eni: spec.id.clone() };
            self.issue(op, |op| Action::TearDownEni { op, eni: spec });
        }
    }

    fn set_up_stale(&mut self, now: Time) {
        let due = |at: Option<Time>| at.is_none_or(|at| at <= now);
        let stale: Vec<EniId> = self
            .enis
            .values()
            .filter(|eni| eni.host.stale && eni.host.running.is_none() && !eni.missing)
            .filter(|eni| due(eni.host.retry_at))
            .map(|eni| eni.id.clone())
            .collect();
        for id in stale {
            self.set_up(&id);
        }
    }

    fn set_up(&mut self, id: &EniId) {
        let Some(spec) = self.enis.get(id).map(crate::eni::Eni::spec) else { return };
        let sources = spec.sources.iter().copied().collect();
        let op = self
            .issue(Op::SetUp { eni: id.clone(), sources }, |op| Action::SetUpEni { op, eni: spec });
        if let Some(eni) = self.enis.get_mut(id) {
            eni.host.stale = false;
            eni.host.running = Some(op);
            eni.host.retry_at = None;
        }
    }

    pub(super) fn on_set_up(&mut self, op: OpId, result: Result<(), DatapathError>, now: Time) {
        let Some(Op::SetUp { eni: id, sources }) =
            self.take_op(op, |op| matches!(op, Op::SetUp { .. }))
        else {
            return;
        };
        let Some(eni) = self.enis.get_mut(&id).filter(|eni| eni.host.running == Some(op)) else {
            return;
        };
        eni.host.running = None;
        match result {
            Ok(()) => {
                eni.host.backoff.reset();
                eni.host.error = None;
                eni.edit_all(|prefix, cidr| cidr.ready = sources.contains(prefix));
                eni.host.applied = Some(sources);
            }
            Err(error) => {
                // What is there now is unknown; nobody gets an address until it is known again.
                eni.host.applied = None;
                eni.edit_all(|_, cidr| cidr.ready = false);
                eni.host.stale = true;
                eni.host.retry_at = Some(now + eni.host.backoff.fail(&mut self.jitter));
                eni.host.error = Some(error.to_string());
            }
        }
    }

    pub(super) fn on_torn_down(&mut self, op: OpId, result: &Result<(), DatapathError>, now: Time) {
        let Some(Op::TearDown { eni: id }) =
            self.take_op(op, |op| matches!(op, Op::TearDown { .. }))
        else {
            return;
        };
        let Some(departing) = self.departing.get_mut(&id) else { return };
        if result.is_err() && departing.backoff.failures() + 1 < TEAR_DOWN_TRIES {
            departing.retry_at = Some(now + departing.backoff.fail(&mut self.jitter));
            return;
        }
        departing.torn_down = true;
        self.delete_departed(now);
    }

    pub(super) fn host_timeout(&self) -> Option<Time> {
        let enis = self.enis.values().filter(|eni| eni.host.running.is_none() && !eni.missing);
        let retrying = self.enis.sums().retrying > 0;
        let set_up = if retrying { enis.filter_map(|eni| eni.host.retry_at).min() } else { None };
        if !self.may_give_back() {
            return set_up;
        }
        earlier(set_up, self.departing.values().filter_map(|d| d.retry_at).min())
    }

    /// The ENIs that the cloud described, or an earlier life remembered, have been set up, or at least tried; one works.
    pub(super) fn is_set_up(&self) -> bool {
        let tried = |eni: &crate::eni::Eni| eni.host.applied.is_some() || eni.host.error.is_some();
        (self.describing.described || self.memory.vouching)
            && self.enis.values().all(|eni| eni.missing || tried(eni))
            && self.enis.values().any(|eni| eni.host.applied.is_some())
    }

    /// An ENI of an IPv6 node that cannot have IPv6 addresses.
    pub(super) fn lacks_ipv6(&self, eni: &crate::eni::Eni) -> bool {
        self.config.family == Family::V6 && eni.subnet_cidr.is_v4()
    }

    /// What keeps ENIs from serving pods.
    pub(super) fn eni_troubles(&self) -> impl Iterator<Item = String> {
        self.enis.values().flat_map(|eni| {
            let error = eni.host.error.as_ref();
            let host = error.map(|error| format!("{} is not set up on the host: {error}", eni.id));
            let ipv4_only = self.lacks_ipv6(eni).then(|| {
                format!(
                    "{} has no IPv6 address or its subnet {} no IPv6 block, so it serves no pods; \
                     give them one",
                    eni.id, eni.subnet
                )
            });
            host.into_iter().chain(ipv4_only)
        })
    }

    /// The operation that an event answers, if it is one that was asked for and of that kind.
    pub(super) fn take_op(&mut self, op: OpId, kind: impl Fn(&Op) -> bool) -> Option<Op> {
        if self.ops.get(&op).is_some_and(kind) {
            return self.ops.remove(&op);
        }
        self.unexpected_events = self.unexpected_events.saturating_add(1);
        None
    }
}
