//! `/metrics`: the reference's names and types, read from one snapshot per scrape.
//!
//! Names of counters have no suffix `_total`: dashboards and the CloudWatch helper know them without.
//! So the text is Prometheus's format 0.0.4 and not OpenMetrics, which insists on it.

use std::{collections::BTreeMap, fmt, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::any,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use tokio::time::timeout;

use super::introspect::SNAPSHOT_MAX;
use crate::{
    cloud::{CallLatency, CloudReport, ReportCloud},
    handle::Handle,
    snapshot::Snapshot,
    telemetry::{Counter, Counters},
};

/// Upper bounds of the buckets of durations in seconds: those of Prometheus's Go client.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone)]
struct App {
    handle: Handle,
    counters: Arc<Counters>,
    report: Arc<ReportCloud>,
}

pub(crate) fn router(handle: Handle, counters: Arc<Counters>, report: Arc<ReportCloud>) -> Router {
    Router::new().route("/metrics", any(metrics)).with_state(App { handle, counters, report })
}

async fn metrics(State(app): State<App>) -> Response {
    let Ok(Ok(snapshot)) = timeout(SNAPSHOT_MAX, app.handle.snapshot()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the pool does not answer\n").into_response();
    };
    let scrape = Scrape { snapshot, counts: app.counters.snapshot(), cloud: (app.report)() };
    match render(scrape) {
        Ok(text) => {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Everything that one scrape shows.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub snapshot: Box<Snapshot>,
    pub counts: BTreeMap<(Counter, &'static str), u64>,
    pub cloud: CloudReport,
}

pub(crate) fn render(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut out = String::new();
    latencies(&mut out, &scrape.cloud.latencies)?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    text::encode_registry(&mut out, &registry)?;
    Ok(out)
}

/// A summary without quantiles, which the library does not know.
fn latencies(out: &mut String, latencies: &[CallLatency]) -> fmt::Result {
    const NAME: &str = "awscni_aws_api_latency_ms";
    writeln!(out, "# HELP {NAME} Time that EC2 requests took in milliseconds.")?;
    writeln!(out, "# TYPE {NAME} summary")?;
    for l in latencies {
        let plain =
            |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "_");
        let (api, failed, status) = (plain(&l.api), l.failed, plain(&l.status));
        let labels = format!("{{api=\"{api}\",error=\"{failed}\",status=\"{status}\"}}");
        writeln!(out, "{NAME}_sum{labels} {}", l.total.as_secs_f64() * 1000.0)?;
        writeln!(out, "{NAME}_count{labels} {}", l.count)?;
    }
    Ok(())
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut page = Page(encoder);
        self.pool(&mut page)?;
        self.requests(&mut page)?;
        self.daemon(&mut page)
    }
}

impl Scrape {
    fn pool(&self, page: &mut Page<'_>) -> fmt::Result {
        let (stats, config) = (&self.snapshot.stats, &self.snapshot.config);
        let eni_max = u64::from(config.max_enis).saturating_sub(stats.unmanaged_enis);
        let ip_max = eni_max * u64::from(config.addresses_per_eni());
        for (name, help, value) in [
            ("awscni_eni_allocated", "ENIs in the pool", stats.enis.len() as u64),
            ("awscni_eni_max", "ENIs that the pool may have", eni_max),
            ("awscni_ip_max", "Addresses that the pool may have", ip_max),
            ("awscni_total_ip_addresses", "Addresses in the pool", stats.total),
            ("awscni_assigned_ip_addresses", "Addresses that pods have", stats.assigned),
            ("awscni_total_ipv4_prefixes", "Prefixes in the pool", stats.prefixes),
            (
                "vpc_cni_fallback_ip_addresses",
                "Single addresses that stand in for prefixes",
                stats.singles,
            ),
            (
                "vpc_cni_fallback_assigned_ip_addresses",
                "Single addresses that stand in for prefixes and that pods have",
                stats.singles_assigned,
            ),
            ("vpc_cni_cooling_ip_addresses", "Released addresses that still rest", stats.cooling),
            (
                "vpc_cni_orphaned_ip_addresses",
                "Addresses that pods have and no ENI is known to hold",
                stats.orphaned,
            ),
            (
                "vpc_cni_quarantined_ip_addresses",
                "Addresses that the state file does not explain",
                stats.quarantined,
            ),
            ("vpc_cni_waiting_adds", "ADDs that wait for an address", stats.waiting),
            (
                "vpc_cni_ec2_call_level",
                "0: EC2 calls as needed; 1: nothing is given back; 2: only for pods that wait",
                stats.call_level as u64,
            ),
            (
                "vpc_cni_ec2_throttled_calls",
                "EC2 calls that were throttled since the daemon began",
                stats.throttled_calls,
            ),
        ] {
            page.one(name, help, MetricType::Gauge, value)?;
        }
        let cidrs = stats.enis.iter().flat_map(|e| &e.cidrs);
        page.many(
            (
                "awscni_assigned_ip_per_cidr",
                "Addresses that pods have, by block",
                MetricType::Gauge,
            ),
            "cidr",
            cidrs.map(|c| (c.cidr.to_string(), c.assigned())),
        )?;
        page.many(
            ("awscni_assigned_ip_per_eni", "Addresses that pods have, by ENI", MetricType::Gauge),
            "eni",
            stats.enis.iter().map(|e| (e.id.to_string(), e.assigned())),
        )?;
        for (name, help, value) in [
            (
                "awscni_no_available_ip_addresses",
                "ADDs that ended without an address",
                stats.no_address,
            ),
            // Kept for dashboards: this pool never takes an address from a pod.
            ("awscni_force_removed_enis", "ENIs removed while pods used them", 0),
            ("awscni_force_removed_ips", "Addresses removed while pods used them", 0),
            (
                "vpc_cni_unexpected_events",
                "Results that answered no operation of the pool",
                stats.unexpected_events,
            ),
        ] {
            page.one(name, help, MetricType::Counter, value)?;
        }
        Ok(())
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = |counter| {
            let of_counter = self.counts.iter().filter(move |((c, _), _)| *c == counter);
            of_counter.map(|((_, label), n)| ((*label).to_owned(), *n))
        };
        let total = |counter| counts(counter).map(|(_, n)| n).sum();
        let c = MetricType::Counter;
        page.one("awscni_add_ip_req_count", "ADDs", c, total(Counter::AddRequests))?;
        let del = ("awscni_del_ip_req_count", "DELs, by reason", c);
        page.many(del, "reason", counts(Counter::DelRequests))?;
        let help = "Addresses released because the caller of the ADD had gone";
        page.one("vpc_cni_undelivered_adds", help, c, total(Counter::Undelivered))?;
        let help = "Addresses released because their pods had gone without a DEL";
        page.one("vpc_cni_reclaimed_ip_addresses", help, c, total(Counter::Reclaimed))?;
        let errors = ("awscni_ipamd_error_count", "Failed operations, by what failed", c);
        page.many(errors, "fn", counts(Counter::Errors))?;
        self.ec2(page)
    }

    fn ec2(&self, page: &mut Page<'_>) -> fmt::Result {
        let (calls, c) = (&self.cloud.calls, MetricType::Counter);
        page.many(
            ("awscni_ec2api_req_count", "EC2 requests, by action", c),
            "fn",
            calls.iter().map(|(action, n)| (action.clone(), n.requests)),
        )?;
        page.many(
            ("awscni_ec2api_error_count", "Failed EC2 requests, by action", c),
            "fn",
            calls.iter().filter(|(_, n)| n.errors > 0).map(|(a, n)| (a.clone(), n.errors)),
        )?;
        let help = "EC2 requests that the service refused, and metadata that could not be read, by error code";
        let mut refused = page.0.encode_descriptor("awscni_aws_api_error_count", help, None, c)?;
        for (api, count) in calls.iter().chain(&self.cloud.metadata) {
            for (code, n) in &count.errors_by_code {
                let labels = [("api", api.as_str()), ("error", code.as_str())];
                refused.encode_family(&labels)?.encode_gauge(n)?;
            }
        }
        let help =
            "Steps that failed and left something behind, by the step and the kind of failure";
        let mut steps = page.0.encode_descriptor("awscni_aws_utils_error_count", help, None, c)?;
        for ((step, kind), n) in &self.cloud.unfinished {
            let labels = [("fn", *step), ("error", kind.as_str())];
            steps.encode_family(&labels)?.encode_gauge(n)?;
        }
        for count in &self.cloud.counts {
            page.one(count.name, count.help, c, count.value)?;
        }
        super::pace::encode(page, &self.cloud.paces)
    }

    fn daemon(&self, page: &mut Page<'_>) -> fmt::Result {
        let running = &self.snapshot.running;
        page.many(
            ("awscni_ipamd_action_inprogress", "Operations under way", MetricType::Gauge),
            "fn",
            ["nodeInit", "increaseDatastorePool", "decreaseDatastorePool", "nodeIPPoolReconcile"]
                .map(|name| (name.to_owned(), running.get(name).copied().unwrap_or(0))),
        )?;
        let ready = u64::from(self.snapshot.ready);
        page.one("vpc_cni_ready", "1 once the node can serve pods", MetricType::Gauge, ready)?;
        let reasons: BTreeMap<_, _> =
            self.snapshot.degraded.iter().map(|d| (d.reason.to_owned(), 1)).collect();
        let help = "1 per reason why the daemon is not as it should be; /healthz has the details";
        page.many(("vpc_cni_degraded", help, MetricType::Gauge), "reason", reasons)?;
        page.info(
            ("awscni_build_info", "Version of the daemon"),
            &[("version", crate::VERSION), ("goversion", "")],
        )?;
        let name = "awscni_ipamd_node_initialization_duration_seconds";
        let help = "Process start to a node that is set up";
        page.duration((name, help), &[("success", "true")], self.snapshot.node_init)?;
        page.duration(
            ("awscni_ipamd_startup_duration_seconds", "Process start to ready"),
            &[("success", "true"), ("with_api_server", "false"), ("failure_reason", "")],
            self.snapshot.startup,
        )
    }
}

/// Name, help text and type.
type Descriptor = (&'static str, &'static str, MetricType);

/// Writes metrics; all values go through the gauge's encoding, which adds nothing to the name.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn one(&mut self, name: &str, help: &str, kind: MetricType, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, kind)?.encode_gauge(&value)
    }

    pub(super) fn many(
        &mut self,
        (name, help, kind): Descriptor,
        label: &str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (text, value) in values {
            metric.encode_family(&[(label, text.as_str())])?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn info(&mut self, (name, help): (&str, &str), labels: &[(&str, &str)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_family(&labels)?.encode_gauge(&1u64)
    }

    /// A histogram of at most one observation: both durations happen once in a process.
    fn duration(
        &mut self,
        (name, help): (&str, &str),
        labels: &[(&str, &str)],
        observed: Option<Duration>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let Some(seconds) = observed.map(|d| d.as_secs_f64()) else { return Ok(()) };
        let mut open = true;
        let buckets: Vec<(f64, u64)> = BUCKETS
            .iter()
            .copied()
            .chain([f64::INFINITY])
            .map(|bound| (bound, u64::from(seconds <= bound && std::mem::take(&mut open))))
            .collect();
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(seconds, 1, &buckets, None)
    }
}
