//! Lets the SDK send only what has its token, retries included.
//!
//! Two of its extension points see each attempt of a call: an interceptor right before a request is
//! sent and after its answer, and the last of the retry classifiers, which has the verdict of all
//! others and decides whether and when the request is sent again.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use aws_sdk_ec2::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
        retry::{ClassifyRetry, RetryAction},
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::{
        ErrorKind,
        classifiers::{RetryClassifierPriority, RetryReason},
    },
};

use crate::{
    config::SDK_ATTEMPTS,
    pace::{Paced, Pacer},
};

/// Pause before a throttled request is sent again; doubles. The SDK's own.
const BACKOFF_THROTTLED: Duration = Duration::from_secs(1);
/// Pause before a request is sent again that met another trouble; doubles.
const BACKOFF: Duration = Duration::from_millis(200);

/// Most that is added to a pause, in percent.
const JITTER_PERCENT: u32 = 25;

/// One call under way.
struct Current {
    paced: Paced,
    /// Requests that may still be sent.
    passes: Cell<u32>,
    /// Requests that were sent.
    sent: Cell<u32>,
    /// The last of them has ended.
    over: Cell<bool>,
    /// What is to happen next, once that is decided.
    verdict: RefCell<Option<RetryAction>>,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// Lets `answer` send a request, and others in its stead as `paced` and the pacer allow.
pub(super) async fn sending<F: Future>(paced: Paced, answer: F) -> F::Output {
    let current = Current {
        paced,
        passes: Cell::new(1),
        sent: Cell::new(0),
        over: Cell::new(false),
        verdict: RefCell::new(None),
    };
    CURRENT.scope(current, answer).await
}

/// Refuses requests without a token: all go through [`sending`].
#[derive(Debug)]
pub(super) struct Gate;

impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "client-side call pace"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let sent = CURRENT.try_with(|current| {
            let left = current.passes.get().checked_sub(1)?;
            current.passes.set(left);
            current.sent.set(current.sent.get() + 1);
            current.over.set(false);
            current.verdict.replace(None);
            Some(())
        });
        sent.ok().flatten().ok_or_else(|| "a request to EC2 was not paced: this is a bug".into())
    }

    fn read_after_attempt(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // No call under way: then nothing was sent either.
        CURRENT.try_with(|current| current.over.set(true)).ok();
        Ok(())
    }
}

/// Has the last word on retries.
#[derive(Debug)]
pub(super) struct Retries {
    pub(super) pacer: Arc<Pacer>,
    /// Spreads the retries of nodes that failed together.
    pub(super) seed: u64,
}

impl Retries {
    fn jitter(&self, backoff: Duration, sent: u32) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.seed, sent).hash(&mut hasher);
        let percent = u32::try_from(hasher.finish() % u64::from(JITTER_PERCENT)).unwrap_or(0);
        backoff * percent / 100
    }

    fn decide(&self, current: &Current, kind: ErrorKind) -> RetryAction {
        let throttled = kind == ErrorKind::ThrottlingError;
        if throttled {
            self.pacer.throttled(current.paced.class);
        }
        let sent = current.sent.get();
        if !current.paced.retries || sent >= SDK_ATTEMPTS {
            return RetryAction::RetryForbidden;
        }
        let first = if throttled { BACKOFF_THROTTLED } else { BACKOFF };
        let backoff = first.saturating_mul(1 << sent.saturating_sub(1).min(8));
        match self.pacer.retry(current.paced, backoff + self.jitter(backoff, sent)) {
            Some(wait) => {
                current.passes.set(current.passes.get() + 1);
                RetryAction::retryable_error_with_explicit_delay(kind, wait)
            }
            None => RetryAction::RetryForbidden,
        }
    }
}

impl ClassifyRetry for Retries {
    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        RetryAction::NoActionIndicated
    }

    fn classify_retry_v2(&self, _: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        let RetryAction::RetryIndicated(RetryReason::RetryableError { kind, .. }) = previous else {
            return RetryAction::NoActionIndicated;
        };
        let verdict = CURRENT.try_with(|current| {
            // The SDK asks before the attempt is over as well, whether to keep the connection.
            if !current.over.get() {
                return RetryAction::NoActionIndicated;
            }
            let mut verdict = current.verdict.borrow_mut();
            verdict.get_or_insert_with(|| self.decide(current, *kind)).clone()
        });
        verdict.unwrap_or(RetryAction::RetryForbidden)
    }

    fn name(&self) -> &'static str {
        "client-side call pace"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
