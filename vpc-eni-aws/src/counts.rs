//! How often AWS was asked, and how it went: what metrics and call budgets are made of.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use vpc_ipam_core::cloud::CloudError;

use crate::permissions::Denied;

/// Different error codes kept per action. EC2 documents a few dozen per action; the bound keeps a
/// misbehaving endpoint from growing the table.
const CODES_MAX: usize = 64;

/// Code under which error codes beyond the bound, and unusable ones, are counted.
const CODE_OTHER: &str = "Other";

/// One finished call, as told to a [`CallObserver`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Call<'a> {
    /// EC2 action, for example `CreateNetworkInterface`.
    pub action: &'a str,
    /// From sending the first attempt to having the answer, SDK retries included.
    pub latency: Duration,
    /// How it ended.
    pub outcome: Outcome<'a>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// Nothing usable came back: no connection, a timeout, an unreadable answer, no credentials.
    NoAnswer,
    /// A good answer.
    Ok,
    /// The service refused, with this code.
    Refused(&'a str),
}

/// Hears of every finished EC2 call; for latency metrics. Must not block.
pub trait CallObserver: fmt::Debug + Send + Sync {
    /// One call has ended.
    fn observe(&self, call: &Call<'_>);

    /// The IAM role lacks `ec2:ACTION`, as EC2 says by `code`. Told once; again only after a call of that
    /// action has succeeded.
    fn denied(&self, action: &str, code: &str) {
        let _ = (action, code);
    }
}

/// Steps whose failure leaves something behind, by the reference's names.
pub(crate) mod step {
    /// A new ENI that could not be attached could not be deleted either.
    pub(crate) const NEW_DELETE: &str = "AllocENIDeleteErr";
    /// A new ENI that was attached, but could not be set up, could not be freed.
    pub(crate) const NEW_FREE: &str = "ENICleanupUponModifyNetworkErr";
    /// An ENI that is no longer needed could not be detached or deleted.
    pub(crate) const FREE: &str = "FreeENIDeleteErr";
    /// EC2 did not say how an ENI that is no longer needed is attached.
    pub(crate) const NO_ATTACHMENT: &str = "getENIAttachmentIDFailed";
    /// A leaked ENI could not be deleted.
    pub(crate) const LEAKED_DELETE: &str = "cleanUpLeakedENIDeleteErr";
}

/// What is counted when EC2 does not know an ENI that metadata or an earlier view has shown.
const OUT_OF_SYNC: &str = "IMDSMetaDataOutOfSync";

/// Counts of one EC2 action or IMDS value.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ActionCount {
    /// Calls made; SDK retries of one call count once.
    pub requests: u64,
    /// Calls that failed, for whatever reason.
    pub errors: u64,
    /// Failures by the service's error code.
    pub errors_by_code: BTreeMap<String, u64>,
}

/// Snapshot of all counts since the backend was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CallCounts {
    /// By EC2 action.
    pub ec2: BTreeMap<String, ActionCount>,
    /// By IMDS value, in the reference's accessor names such as `GetMACs`. An attribute that is
    /// absent, and may be, is not an error.
    pub imds: BTreeMap<String, ActionCount>,
    /// Steps that failed and left something behind, such as `FreeENIDeleteErr`: by the reference's name of
    /// the step and the kind of error.
    pub unfinished: BTreeMap<(&'static str, String), u64>,
}

impl CallCounts {
    /// EC2 calls made, all actions together.
    pub fn ec2_requests(&self) -> u64 {
        self.ec2.values().map(|count| count.requests).sum()
    }
}

/// Shared by all parts of one backend.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    counts: Mutex<CallCounts>,
    denied: Mutex<Denied>,
    observer: Option<Arc<dyn CallObserver>>,
}

impl Recorder {
    pub(crate) fn new(observer: Option<Arc<dyn CallObserver>>) -> Self {
        Self { observer, ..Self::default() }
    }

    /// EC2's code by action that is not permitted.
    pub(crate) fn denied(&self) -> BTreeMap<String, String> {
        self.denied_now().actions()
    }

    fn denied_now(&self) -> MutexGuard<'_, Denied> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> CallCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts before the answer is known, so that a call whose future is dropped is counted too.
    pub(crate) fn ec2_request(&self, action: &str) {
        self.with(|counts| entry(&mut counts.ec2, action).requests += 1);
    }

    pub(crate) fn ec2_done(&self, call: &Call<'_>) {
        match call.outcome {
            Outcome::Ok => {
                if self.denied_now().allowed(call.action) {
                    tracing::info!(action = call.action, "permitted now");
                }
            }
            Outcome::NoAnswer => {
                self.with(|counts| entry(&mut counts.ec2, call.action).errors += 1);
            }
            Outcome::Refused(code) => {
                self.with(|counts| fail(entry(&mut counts.ec2, call.action), code));
                if self.denied_now().refused(call.action, code)
                    && let Some(observer) = &self.observer
                {
                    observer.denied(call.action, code);
                }
            }
        }
        if let Some(observer) = &self.observer {
            observer.observe(call);
        }
    }

    pub(crate) fn imds_request(&self, name: &str) {
        self.with(|counts| entry(&mut counts.imds, name).requests += 1);
    }

    pub(crate) fn imds_failed(&self, name: &str) {
        self.with(|counts| fail(entry(&mut counts.imds, name), "IMDSRequestError"));
    }

    /// EC2 does not know an ENI that was there.
    pub(crate) fn out_of_sync(&self) {
        self.with(|counts| {
            fail(entry(&mut counts.imds, OUT_OF_SYNC), "InvalidNetworkInterfaceID.NotFound")
        });
    }

    /// `step` failed for good, and left something behind.
    pub(crate) fn unfinished(&self, step: &'static str, error: &CloudError) {
        let kind = format!("{:?}", error.kind);
        self.with(|counts| *counts.unfinished.entry((step, kind)).or_default() += 1);
    }

    fn with(&self, change: impl FnOnce(&mut CallCounts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn entry<'a>(counts: &'a mut BTreeMap<String, ActionCount>, action: &str) -> &'a mut ActionCount {
    counts.entry(action.to_owned()).or_default()
}

fn fail(count: &mut ActionCount, code: &str) {
    count.errors += 1;
    let known = count.errors_by_code.contains_key(code);
    let usable = !code.is_empty() && code.len() <= 128 && code.is_ascii();
    let code =
        if known || (usable && count.errors_by_code.len() < CODES_MAX) { code } else { CODE_OTHER };
    *count.errors_by_code.entry(code.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn made_up_codes_do_not_grow_the_table() {
        let recorder = Recorder::default();
        for n in 0..1000 {
            recorder.ec2_request("X");
            let code = format!("Code{n}");
            let outcome = Outcome::Refused(&code);
            recorder.ec2_done(&Call { action: "X", latency: Duration::ZERO, outcome });
        }
        let counts = recorder.snapshot();
        let x = counts.ec2.get("X").unwrap();
        assert_eq!((x.requests, x.errors), (1000, 1000));
        assert_eq!(x.errors_by_code.len(), CODES_MAX + 1);
        assert_eq!(x.errors_by_code.values().sum::<u64>(), 1000);
    }
}
