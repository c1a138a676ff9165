//! The verdict for a person: PASS or FAIL first, then what was asked, then the figures.

use std::fmt::Write as _;

use crate::{
    figures::Percentiles,
    plan::Kind,
    verdict::{Count, Verdict},
};

/// Kinds in the order in which a packet's journey gets longer.
const KINDS: [Kind; 11] = [
    Kind::PodToPodSameEni,
    Kind::PodToPodAcrossEnis,
    Kind::PodToPodAcrossNodes,
    Kind::PodToNode,
    Kind::NodeToPod,
    Kind::PodToVpc,
    Kind::VpcToPod,
    Kind::PodToInternet,
    Kind::InternetToPodRefused,
    Kind::FlowOf100,
    Kind::LargePacket,
];
/// Width of the left column, the longest title and a gap.
const LABEL: usize = 27;

/// Colours, or their absence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn new(colour: bool) -> Self {
        Self(colour)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Verdict {
    /// The lines that end a run.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let mut out = String::new();
        let seconds = std::time::Duration::from_millis(self.elapsed_ms).as_secs_f64();
        let word = if self.passed { paint.good("PASS") } else { paint.bad("FAIL") };
        let _ = writeln!(out, "{word}  {} in {seconds:.1} s", self.headline());
        if !self.failures.is_empty() {
            out.push('\n');
        }
        for failure in &self.failures {
            let _ = writeln!(out, "  {} {failure}", paint.bad("x"));
        }
        out.push('\n');
        self.render_probes(&mut out, paint);
        self.render_figures(&mut out, paint);
        out
    }

    fn headline(&self) -> String {
        let scene = format!(
            "{} x {}, {}, {}{}",
            self.nodes,
            self.instance_type,
            plural(self.pods, "pod"),
            plural(self.enis, "ENI"),
            if self.prefixes > 0 {
                format!(", {}", plural(self.prefixes, "prefix"))
            } else {
                String::new()
            }
        );
        let mut wrong = Vec::new();
        if self.probes_failed > 0 {
            wrong.push(format!("{} of {} probes failed", self.probes_failed, self.probes_total));
        }
        if self.source_check_drops > 0 {
            let packets = plural(self.source_check_drops, "packet");
            wrong.push(format!("{packets} dropped by the VPC"));
        }
        if self.leftovers > 0 {
            wrong.push(format!("{} left behind", plural(self.leftovers, "object")));
        }
        if wrong.is_empty() { scene } else { format!("{} ({scene})", wrong.join(", ")) }
    }

    fn render_probes(&self, out: &mut String, paint: Paint) {
        if self.probes_total == 0 {
            return;
        }
        let _ = writeln!(
            out,
            "{}",
            paint.faint(&format!("  {:LABEL$}{:>9}{:>9}", "probes", "tcp", "udp"))
        );
        for kind in KINDS {
            let cell = |proto| {
                let count = self.probes.get(&format!("{}_{proto}", kind.key()));
                // Padded before it is painted: escape codes have no width.
                let text = format!("{:>9}", count.map_or_else(|| "-".to_owned(), ratio));
                if count.is_some_and(|c| c.failed > 0) { paint.bad(&text) } else { text }
            };
            let (tcp, udp) = (cell("tcp"), cell("udp"));
            let _ = writeln!(out, "  {:LABEL$}{tcp}{udp}", kind.title());
        }
        out.push('\n');
    }

    fn render_figures(&self, out: &mut String, paint: Paint) {
        let mut line = |label: &str, text: String| {
            let _ = writeln!(out, "  {}{text}", paint.faint(&format!("{label:LABEL$}")));
        };
        if self.probes_total > 0 {
            let drops = self.source_check_drops;
            line(
                "dropped by source check",
                if drops == 0 { "none".into() } else { drops.to_string() },
            );
            let left = self.leftovers;
            line("left behind", if left == 0 { "nothing".into() } else { left.to_string() });
        }
        if self.add_ms != Percentiles::default() {
            line("ADD", milliseconds(self.add_ms));
        }
        if self.del_ms != Percentiles::default() {
            line("DEL", milliseconds(self.del_ms));
        }
        if self.add_retries > 0 {
            line("ADDs tried again", self.add_retries.to_string());
            for (reason, n) in &self.add_retry_reasons {
                line("", format!("{n} x {reason}"));
            }
        }
        let calls: u64 = self.ec2_calls.values().sum();
        if calls > 0 {
            let mut by_number: Vec<_> = self.ec2_calls.iter().collect();
            by_number.sort_by_key(|&(action, n)| (std::cmp::Reverse(*n), action));
            let parts: Vec<_> =
                by_number.iter().map(|(action, n)| format!("{action} {n}")).collect();
            line("EC2 calls", calls.to_string());
            for part in parts.chunks(2) {
                line("", part.join(", "));
            }
        }
        if self.ipamd_rss_kb > 0 {
            let megabytes = self.ipamd_rss_kb as f64 / 1024.0;
            line("ipamd memory (largest)", format!("{megabytes:.1} MiB"));
        }
        if self.ipamd_restarts > 0 {
            line("ipamd killed and restarted", plural(self.ipamd_restarts, "time"));
        }
    }
}

fn ratio(count: &Count) -> String {
    format!("{}/{}", count.total - count.failed.min(count.total), count.total)
}

fn milliseconds(p: Percentiles) -> String {
    format!("p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms", p.p50, p.p90, p.p99)
}

/// `1 ENI`, `2 ENIs`, `3 prefixes`.
pub(crate) fn plural(n: u64, noun: &str) -> String {
    let suffix = match (n, noun.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{n} {noun}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Verdict {
        let mut v = Verdict {
            nodes: 2,
            pods: 40,
            enis: 6,
            instance_type: "m5.large".into(),
            probes_total: 80,
            elapsed_ms: 7_400,
            add_ms: Percentiles { p50: 12.34, p90: 20.0, p99: 31.0 },
            ..Verdict::default()
        };
        v.probes.insert("pod_to_internet_tcp".into(), Count { total: 40, failed: 0 });
        v.probes.insert("pod_to_internet_udp".into(), Count { total: 40, failed: 0 });
        v
    }

    #[test]
    fn pass_or_fail_is_the_first_word() {
        let mut v = sample();
        v.decide();
        let text = v.render(Paint::new(false));
        assert!(text.starts_with("PASS  2 x m5.large, 40 pods, 6 ENIs in 7.4 s\n"), "{text}");
        v.source_check_drops = 36;
        v.failures.push("node-1: eth0 sent 36 packets from 10.0.0.50".into());
        v.decide();
        let text = v.render(Paint::new(false));
        assert!(text.starts_with("FAIL  36 packets dropped by the VPC"), "{text}");
        assert!(text.contains("  x node-1: eth0 sent 36"), "{text}");
    }

    #[test]
    fn no_colour_means_no_escape_codes() {
        let text = sample().render(Paint::new(false));
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(sample().render(Paint::new(true)).contains('\x1b'));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let text = sample().render(Paint::new(false));
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    }

    #[test]
    fn plurals_read_well() {
        assert_eq!(plural(1, "prefix"), "1 prefix");
        assert_eq!(plural(3, "prefix"), "3 prefixes");
        assert_eq!(plural(0, "packet"), "0 packets");
    }
}
