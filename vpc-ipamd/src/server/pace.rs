//! Metrics of the buckets that pace EC2 requests.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::metrics::Page;
use crate::cloud::CallPace;

/// A metric: what a bucket has of it.
type Metric = (&'static str, &'static str, MetricType, fn(&CallPace) -> u64);

const METRICS: [Metric; 7] = [
    (
        "vpc_cni_ec2_pace_tokens",
        "EC2 requests that could be sent at once, by class",
        MetricType::Gauge,
        |pace| pace.tokens.into(),
    ),
    (
        "vpc_cni_ec2_pace_rate_percent",
        "Rate of EC2 requests in percent of the full one, which throttling halves, by class",
        MetricType::Gauge,
        |pace| pace.rate_percent.into(),
    ),
    (
        "vpc_cni_ec2_pace_waiting",
        "EC2 requests that wait for their turn, by class",
        MetricType::Gauge,
        |pace| pace.waiting.into(),
    ),
    (
        "vpc_cni_ec2_pace_sent",
        "EC2 requests that were let through, retries included, by class",
        MetricType::Counter,
        |pace| pace.sent,
    ),
    (
        "vpc_cni_ec2_pace_wait_ms",
        "Time that EC2 requests waited for their turn in milliseconds, by class",
        MetricType::Counter,
        |pace| u64::try_from(pace.wait.as_millis()).unwrap_or(u64::MAX),
    ),
    (
        "vpc_cni_ec2_pace_held_back",
        "EC2 requests that were given up because their turn did not come, by class",
        MetricType::Counter,
        |pace| pace.held_back,
    ),
    (
        "vpc_cni_ec2_pace_retries_dropped",
        "EC2 requests that were not sent again because others waited, by class",
        MetricType::Counter,
        |pace| pace.retries_dropped,
    ),
];

pub(super) fn encode(page: &mut Page<'_>, paces: &[CallPace]) -> fmt::Result {
    for (name, help, kind, value) in METRICS {
        let values = paces.iter().map(|pace| (pace.class.to_owned(), value(pace)));
        page.many((name, help, kind), "class", values)?;
    }
    Ok(())
}
