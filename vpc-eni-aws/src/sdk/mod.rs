//! The EC2 calls on the AWS SDK. SDK types do not leave this module.

mod addresses;
mod client;
mod convert;
mod described;
#[cfg(test)]
mod described_tests;
mod enis;
mod failure;
#[cfg(feature = "emulator")]
mod in_process;
mod paced;
mod subnets;
mod types;
mod upkeep;

use std::{
    error::Error,
    fmt,
    future::Future,
    sync::Arc,
    time::{Instant, SystemTime},
};

use aws_sdk_ec2::{
    Client,
    config::{SharedHttpClient, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
};
use vpc_ipam_core::cloud::CloudError;

pub(crate) use self::client::connect;
use crate::{
    classify::{Failure, classify},
    counts::{Call, Outcome, Recorder},
    pace::Pacer,
    permit::Permit,
};

/// Pages read at the most. An instance has at most 768 ENIs, but EC2 may return short pages; an
/// endpoint that never ends a listing must not hold us for ever.
const PAGES_MAX: usize = 64;

/// What carries requests in place of the SDK's own HTTP client, and the time over there.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) ec2: SharedHttpClient,
    pub(crate) imds: SharedHttpClient,
    pub(crate) now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("ec2", &self.ec2).finish_non_exhaustive()
    }
}

/// EC2 through the SDK.
#[derive(Debug)]
pub(crate) struct Sdk {
    client: Client,
    recorder: Arc<Recorder>,
    pacer: Arc<Pacer>,
    permit: Permit,
}

impl Sdk {
    /// Makes one call when it is its turn; counts, times and classifies it.
    async fn call<T, E>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.attempt(action, answer).await.map_err(|failure| classify(action, &failure))
    }

    async fn attempt<T, E>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        // The one place that every call passes. What is forbidden takes no token either.
        if let Some(refusal) = self.permit.refusal(action) {
            return Err(Failure::Disabled(refusal.message));
        }
        let paced = self.pacer.turn(action).await.map_err(Failure::HeldBack)?;
        self.recorder.ec2_request(action);
        let start = Instant::now();
        let result = paced::sending(paced, answer).await.map_err(|error| failure::read(&error));
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(Failure::Refused { code, .. }) => Outcome::Refused(code),
            Err(_) => Outcome::NoAnswer,
        };
        self.recorder.ec2_done(&Call { action, latency: start.elapsed(), outcome });
        result
    }
}
