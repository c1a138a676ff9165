//! What the run showed, as data: for a person ([`render`](crate::render)) and as one JSON object.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    figures::Percentiles,
    plan::{Kind, Layout, Probe, Proto},
};

/// Failed probes that are told one by one; with everything broken there are thousands.
const FAILED_PROBES_MAX: usize = 200;
/// Different reasons of failed ADDs that are kept.
const RETRY_REASONS_MAX: usize = 8;
/// Objects left behind that are named; the rest is only counted.
const LEFTOVERS_TOLD: usize = 10;

/// Probes of one kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Count {
    pub(crate) total: u64,
    pub(crate) failed: u64,
}

/// Outcome of one probe.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) probe: Probe,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

/// Everything the run showed. A figure is zero until its stage has run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) nodes: u64,
    pub(crate) pods: u64,
    pub(crate) enis: u64,
    pub(crate) prefixes: u64,
    pub(crate) instance_type: String,
    pub(crate) mode: String,
    pub(crate) probes: BTreeMap<String, Count>,
    pub(crate) probes_total: u64,
    pub(crate) probes_failed: u64,
    /// Packets that the VPC's router dropped because their ENI does not own the source address.
    pub(crate) source_check_drops: u64,
    /// What remained after all pods were deleted.
    pub(crate) leftovers: u64,
    pub(crate) add_ms: Percentiles,
    pub(crate) del_ms: Percentiles,
    pub(crate) ec2_calls: BTreeMap<String, u64>,
    /// The largest resident set of the nodes' daemons.
    pub(crate) ipamd_rss_kb: u64,
    pub(crate) ipamd_restarts: u64,
    /// ADDs that failed and were tried again.
    pub(crate) add_retries: u64,
    /// Why, and how often.
    pub(crate) add_retry_reasons: BTreeMap<String, u64>,
    pub(crate) elapsed_ms: u64,
    /// Each reason to fail in a sentence, causes first.
    pub(crate) failures: Vec<String>,
    /// The probes that failed, one by one.
    pub(crate) failed_probes: Vec<String>,
}

impl Verdict {
    /// Enters the probes' outcomes. A kind that the layout should have and that never ran counts as
    /// one failed probe.
    pub(crate) fn enter_probes(&mut self, layout: &Layout, outcomes: &[Outcome]) {
        let mut failed: BTreeMap<Kind, Vec<(&Probe, &str)>> = BTreeMap::new();
        let mut total: BTreeMap<(Kind, Proto), usize> = BTreeMap::new();
        for Outcome { probe, failure } in outcomes {
            *total.entry((probe.kind, probe.proto)).or_default() += 1;
            self.count(probe.kind, probe.proto, failure.is_some());
            if let Some(reason) = failure {
                failed.entry(probe.kind).or_default().push((probe, reason));
            }
        }
        for (kind, mut failed) in failed {
            failed.sort_by_key(|(probe, _)| (probe.proto, probe.from, probe.to));
            let told: Vec<_> = failed.iter().map(|(p, reason)| tell(layout, p, reason)).collect();
            let ran: usize = total.iter().filter(|((k, _), _)| *k == kind).map(|(_, n)| n).sum();
            let (title, n, first) = (kind.title(), told.len(), told.first());
            let example = first.map_or("", String::as_str);
            self.failures.push(format!("{title}: {n} of {ran} probes failed, such as {example}"));
            let room = FAILED_PROBES_MAX.saturating_sub(self.failed_probes.len());
            self.failed_probes.extend(told.into_iter().take(room).map(|t| format!("{title}: {t}")));
        }
        for kind in layout.expected_kinds() {
            for proto in [Proto::Tcp, Proto::Udp] {
                if !total.contains_key(&(kind, proto)) {
                    self.count(kind, proto, true);
                    let title = kind.title();
                    self.failures
                        .push(format!("{title}, {proto}: never ran, yet the layout has it"));
                }
            }
        }
    }

    fn count(&mut self, kind: Kind, proto: Proto, failed: bool) {
        let count = self.probes.entry(format!("{}_{proto}", kind.key())).or_default();
        count.total += 1;
        count.failed += u64::from(failed);
        self.probes_total += 1;
        self.probes_failed += u64::from(failed);
    }

    /// Enters ADDs that failed and were tried again.
    pub(crate) fn enter_retries(&mut self, reasons: &[String]) {
        self.add_retries += reasons.len() as u64;
        for reason in reasons {
            let known = self.add_retry_reasons.len() < RETRY_REASONS_MAX;
            let reason = if known { reason.as_str() } else { "other reasons" };
            *self.add_retry_reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// Enters what was left behind.
    pub(crate) fn enter_leftovers(&mut self, left: Vec<String>) {
        self.leftovers = left.len() as u64;
        let more = left.len().saturating_sub(LEFTOVERS_TOLD);
        let told = left.into_iter().take(LEFTOVERS_TOLD);
        self.failures.extend(told.map(|object| format!("left behind on {object}")));
        if more > 0 {
            self.failures.push(format!("left behind: {more} more objects"));
        }
    }

    /// Decides. Every reason to fail is a sentence in `failures` or one of the three counts.
    pub(crate) fn decide(&mut self) {
        self.passed = self.failures.is_empty()
            && self.probes_total > 0
            && self.probes_failed == 0
            && self.source_check_drops == 0
            && self.leftovers == 0;
    }

    /// One line of JSON.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn tell(layout: &Layout, probe: &Probe, reason: &str) -> String {
    let (from, to) = (layout.describe(probe.from), layout.describe(probe.to));
    format!("{} {from} -> {to}: {reason}", probe.proto)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::net::Ipv4Addr;

    use super::*;
    use crate::plan::{NodeSite, PodSite};

    fn layout() -> Layout {
        let pod = |n: u8| PodSite {
            name: format!("demo/web-{n:04}"),
            node: 0,
            ip: Ipv4Addr::new(10, 0, 0, n),
            eni: "eni-1".into(),
            device: 0,
        };
        Layout {
            nodes: vec![NodeSite { name: "node-1".into(), ip: Ipv4Addr::new(10, 0, 0, 10) }],
            pods: vec![pod(50), pod(51)],
            vpc_host: Ipv4Addr::new(10, 0, 0, 200),
            internet: Ipv4Addr::new(198, 51, 100, 7),
            eni_mtu: 9001,
        }
    }

    fn outcomes(failure: impl Fn(&Probe) -> Option<String>) -> Vec<Outcome> {
        let probe = |probe: Probe| Outcome { failure: failure(&probe), probe };
        layout().probes().into_iter().map(probe).collect()
    }

    fn verdict(outcomes: &[Outcome]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.enter_probes(&layout(), outcomes);
        verdict.decide();
        verdict
    }

    #[test]
    fn all_well_passes() {
        let v = verdict(&outcomes(|_| None));
        assert!(v.passed, "{v:?}");
        assert!(v.probes_total > 10);
    }

    #[test]
    fn one_failed_probe_fails_and_is_told_with_both_ends() {
        let mut all = outcomes(|_| None);
        all[0].failure = Some("no answer in 3 s".into());
        let v = verdict(&all);
        assert!(!v.passed);
        assert_eq!(v.probes_failed, 1);
        assert_eq!(
            v.failures,
            ["pod to pod, same ENI: 1 of 4 probes failed, such as tcp demo/web-0050 \
              (10.0.0.50 on eth0 of node-1) -> demo/web-0051 (10.0.0.51 on eth0 of node-1): \
              no answer in 3 s"]
        );
        assert_eq!(v.failed_probes.len(), 1);
    }

    #[test]
    fn a_kind_that_never_ran_is_a_failure() {
        let mut all = outcomes(|_| None);
        all.retain(|o| o.probe.kind != Kind::PodToInternet || o.probe.proto != Proto::Udp);
        let v = verdict(&all);
        assert!(!v.passed);
        assert_eq!(v.probes["pod_to_internet_udp"], Count { total: 1, failed: 1 });
        assert!(v.failures[0].contains("never ran"), "{:?}", v.failures);
    }

    #[test]
    fn many_failures_of_a_kind_are_one_sentence() {
        let mut many = Vec::new();
        for _ in 0..100 {
            many.extend(outcomes(|p| (p.kind == Kind::PodToNode).then(|| "no answer".into())));
        }
        let v = verdict(&many);
        assert_eq!(v.failures.len(), 1, "{:?}", v.failures);
        assert!(v.failures[0].starts_with("pod to node: 400 of 400 probes failed, such as tcp "));
        assert_eq!(v.failed_probes.len(), FAILED_PROBES_MAX);
    }

    #[test]
    fn drops_leftovers_and_no_probes_at_all_fail_too() {
        let mut v = verdict(&outcomes(|_| None));
        v.source_check_drops = 1;
        v.decide();
        assert!(!v.passed);
        (v.source_check_drops, v.leftovers) = (0, 1);
        v.decide();
        assert!(!v.passed);
        let mut nothing = Verdict::default();
        nothing.decide();
        assert!(!nothing.passed);
    }

    #[test]
    fn json_has_the_promised_fields() {
        let json: serde_json::Value =
            serde_json::from_str(&verdict(&outcomes(|_| None)).to_json().unwrap()).unwrap();
        for field in [
            "nodes",
            "pods",
            "enis",
            "prefixes",
            "probes",
            "probes_total",
            "probes_failed",
            "source_check_drops",
            "leftovers",
            "add_ms",
            "del_ms",
            "ec2_calls",
            "ipamd_rss_kb",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!(json["probes"]["pod_to_node_tcp"]["failed"], 0);
        assert_eq!(json["add_ms"]["p50"], 0.0);
    }
}
