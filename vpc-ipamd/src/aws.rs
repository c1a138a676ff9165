//! The daemon on AWS: EC2 and instance metadata behind the core's port, with latencies kept for metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use vpc_eni_aws::{AwsBackend, AwsConfig, AwsConfigError, Call, CallObserver, Outcome};

use crate::{
    cloud::{CallCount, CallLatency, CloudReport},
    settings::Settings,
};

/// Different combinations of action, outcome and code kept. Some twenty actions with a few codes
/// each; the bound keeps a misbehaving endpoint from growing the table.
const SERIES_MAX: usize = 256;

/// EC2 and instance metadata as `settings` say. Sends nothing yet.
///
/// # Errors
///
/// If a setting could never work.
pub fn backend(settings: &Settings) -> Result<(Arc<AwsBackend>, Arc<Latencies>), AwsConfigError> {
    let config = AwsConfig::builder()
        .ec2_endpoint(settings.ec2_endpoint.clone().unwrap_or_default())
        .http_timeout(settings.http_timeout)
        .cluster_name(settings.cluster_name.clone().unwrap_or_default())
        .extra_tags(settings.extra_tags.clone())
        .version(settings.version.as_str())
        .build()?;
    let latencies = Arc::new(Latencies::default());
    let observer: Arc<dyn CallObserver> = Arc::<Latencies>::clone(&latencies);
    let backend = AwsBackend::with_observer(config, Some(observer))?;
    Ok((Arc::new(backend), latencies))
}

/// What `backend` and `latencies` know, for [`Daemon::with_cloud_report`](crate::Daemon::with_cloud_report).
pub fn report(backend: &AwsBackend, latencies: &Latencies) -> CloudReport {
    let calls = backend.call_counts().ec2.into_iter().map(|(action, count)| {
        let count = CallCount {
            requests: count.requests,
            errors: count.errors,
            errors_by_code: count.errors_by_code,
        };
        (action, count)
    });
    CloudReport {
        calls: calls.collect(),
        latencies: latencies.snapshot(),
        trouble: backend
            .ec2_failure()
            .map(|e| format!("EC2 does not answer, instance metadata stands in for it: {e}")),
    }
}

/// Calls and their time altogether, by action, failure and status.
type Series = BTreeMap<(String, bool, String), (u64, Duration)>;

/// Times of EC2 calls by action and outcome.
#[derive(Debug, Default)]
pub struct Latencies(Mutex<Series>);

impl Latencies {
    fn snapshot(&self) -> Vec<CallLatency> {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latencies = series.iter().map(|((api, failed, status), (count, total))| CallLatency {
            api: api.clone(),
            failed: *failed,
            status: status.clone(),
            count: *count,
            total: *total,
        });
        latencies.collect()
    }
}

impl CallObserver for Latencies {
    fn observe(&self, call: &Call<'_>) {
        let (failed, status) = match call.outcome {
            Outcome::Ok => (false, "200"),
            Outcome::Refused(code) => (true, code),
            _ => (true, ""),
        };
        let key = (call.action.to_owned(), failed, status.to_owned());
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= SERIES_MAX && !series.contains_key(&key) {
            return;
        }
        let (count, total) = series.entry(key).or_default();
        *count += 1;
        *total = total.saturating_add(call.latency);
    }
}
