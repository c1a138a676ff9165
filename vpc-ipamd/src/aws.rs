//! The daemon on AWS: EC2 and instance metadata behind the core's port, with latencies kept for metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use vpc_eni_aws::{
    ActionCount, AwsBackend, AwsConfig, AwsConfigBuilder, AwsConfigError, Call, CallObserver,
    Outcome, PaceReport, Upkeep, UpkeepConfig,
};
use vpc_ipam_core::{datapath::Datapath, store::Store};

use crate::{
    Daemon,
    cloud::{CallCount, CallLatency, CallPace, CloudCount, CloudReport},
    settings::Settings,
};

/// Different combinations of action, outcome and code kept. Some twenty actions with a few codes
/// each; the bound keeps a misbehaving endpoint from growing the table.
const SERIES_MAX: usize = 256;

/// Reason of a node whose IAM role lacks an action that it needs.
const PERMISSIONS: &str = "permissions";

/// What `settings` say of EC2 and instance metadata.
pub fn config(settings: &Settings) -> AwsConfigBuilder {
    AwsConfig::builder()
        .ec2_endpoint(settings.ec2_endpoint.clone().unwrap_or_default())
        .ca_bundle(settings.ca_bundle.clone().unwrap_or_default())
        .imds_disabled(settings.metadata_disabled)
        .imds_v1(settings.metadata_v1)
        .http_timeout(settings.http_timeout)
        .cluster_name(settings.cluster_name.clone().unwrap_or_default())
        .extra_tags(settings.extra_tags.clone())
        .subnet_discovery(settings.subnet_discovery)
        .imds_only(settings.imds_only)
        .provisioning(settings.provisioning)
        .version(settings.version.as_str())
}

/// The daemon on EC2 and instance metadata as `config` has them, and what it calls them through. Sends
/// nothing yet.
///
/// This is all that a node on AWS runs, but for its kernel and disk.
///
/// # Errors
///
/// If a setting could never work.
pub fn daemon(
    config: AwsConfig,
    datapath: Arc<dyn Datapath>,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(Daemon, Arc<AwsBackend>), AwsConfigError> {
    let latencies = Arc::new(Latencies::default());
    let observer: Arc<dyn CallObserver> = Arc::<Latencies>::clone(&latencies);
    let backend = Arc::new(AwsBackend::with_observer(config, Some(observer))?);
    let upkeep = backend.upkeep(upkeep(&settings));
    let (reporting, working) = (Arc::clone(&backend), Arc::clone(&upkeep));
    let daemon = Daemon::new(Arc::<AwsBackend>::clone(&backend), datapath, store, settings)
        .with_cloud_report(move || report(&reporting, &latencies, &upkeep))
        .with_companion("upkeep", working.run());
    Ok((daemon, backend))
}

/// What is done in EC2 beside the pool: nothing where `settings` say that nothing may be changed there.
fn upkeep(settings: &Settings) -> UpkeepConfig {
    let mut config = UpkeepConfig::default();
    let provisioning = settings.provisioning && !settings.imds_only;
    config.security_groups = provisioning;
    config.termination = provisioning;
    config.leaked_enis = provisioning && settings.leaked_eni_cleanup;
    config.tags = provisioning;
    config.manage_untagged = settings.manage_untagged;
    config.seed = settings.seed;
    config
}

/// What all three know.
fn report(backend: &AwsBackend, latencies: &Latencies, upkeep: &Upkeep) -> CloudReport {
    let counts = backend.call_counts();
    CloudReport {
        calls: counts.ec2.into_iter().map(call_count).collect(),
        metadata: counts.imds.into_iter().map(call_count).collect(),
        latencies: latencies.snapshot(),
        trouble: backend
            .ec2_failure()
            .map(|e| format!("EC2 does not answer, instance metadata stands in for it: {e}")),
        troubles: troubles(backend, upkeep),
        unfinished: counts.unfinished,
        paces: backend.pace().iter().map(pace).collect(),
        counts: upkeep_counts(upkeep),
    }
}

fn call_count((what, count): (String, ActionCount)) -> (String, CallCount) {
    let ActionCount { requests, errors, errors_by_code, .. } = count;
    (what, CallCount { requests, errors, errors_by_code })
}

fn pace(report: &PaceReport) -> CallPace {
    CallPace {
        class: report.class.to_string(),
        tokens: report.tokens,
        rate_percent: report.rate_percent,
        waiting: report.waiting,
        sent: report.sent,
        wait: report.wait,
        held_back: report.held_back,
        retries_dropped: report.retries_dropped,
    }
}

fn troubles(backend: &AwsBackend, upkeep: &Upkeep) -> BTreeMap<&'static str, String> {
    let mut troubles = upkeep.status().troubles;
    troubles.extend(backend.troubles());
    let denied = backend.denied_actions();
    if !denied.is_empty() {
        let actions: Vec<_> = denied.keys().map(|action| format!("ec2:{action}")).collect();
        let message = format!(
            "the IAM role of the daemon lacks {}; allow that (managed policy AmazonEKS_CNI_Policy)",
            actions.join(", ")
        );
        troubles.insert(PERMISSIONS, message);
    }
    troubles
}

fn upkeep_counts(upkeep: &Upkeep) -> Vec<CloudCount> {
    let status = upkeep.status();
    let count = |name, help, value| CloudCount { name, help, value };
    vec![
        count(
            "vpc_cni_security_group_pushes",
            "ENIs that were given the security groups of the primary ENI",
            status.group_pushes,
        ),
        count(
            "vpc_cni_leaked_enis_deleted",
            "ENIs that a node of the cluster had left behind and this one deleted",
            status.leaked_deleted,
        ),
        count(
            "vpc_cni_leaked_enis_stamped",
            "ENIs of unknown age that this node stamped with the time",
            status.leaked_stamped,
        ),
    ]
}

/// Calls and their time altogether, by action, failure and status.
type Series = BTreeMap<(String, bool, String), (u64, Duration)>;

/// Times of EC2 calls by action and outcome.
#[derive(Debug, Default)]
struct Latencies(Mutex<Series>);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(env: &[(&str, &str)]) -> Settings {
        let env: BTreeMap<&str, &str> = env.iter().copied().collect();
        Settings::parse(&env).unwrap().0
    }

    #[test]
    fn quirk_q1_the_ec2_endpoint_of_the_settings_is_the_backends() {
        let config = |env| config(&settings(env)).build().unwrap();
        let endpoint = config(&[("AWS_EC2_ENDPOINT", "http://10.0.0.9:8080")]).ec2_endpoint;
        assert_eq!(endpoint.as_deref(), Some("http://10.0.0.9:8080"));
        assert_eq!(config(&[("AWS_EC2_ENDPOINT", "")]).ec2_endpoint, None);
        assert_eq!(config(&[("HTTP_TIMEOUT", "45")]).http_timeout, Duration::from_secs(45));
    }

    #[test]
    fn upkeep_rests_where_nothing_may_be_changed() {
        for (env, on, leaks) in [
            (&[][..], true, true),
            (&[("DISABLE_LEAKED_ENI_CLEANUP", "true")], true, false),
            (&[("DISABLE_LEAKED_ENI_CLEANUP", "false")], true, true),
            (&[("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")], false, false),
            (&[("ENABLE_IMDS_ONLY_MODE", "true")], false, false),
        ] {
            let config = upkeep(&settings(env));
            let does = (config.security_groups, config.tags, config.leaked_enis);
            assert_eq!(does, (on, on, leaks), "{env:?}");
        }
        assert!(!upkeep(&settings(&[("MANAGE_UNTAGGED_ENI", "false")])).manage_untagged);
    }
}
