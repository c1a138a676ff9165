//! Why probes fail, as far as kernel and router can tell: counters before and after.

use std::{collections::BTreeMap, fs};

use vpc_datapath_linux::testkit::fabric::FabricError;

use crate::{node::Node, render::plural, scene::Scene, verdict::Verdict};

/// Where a network namespace counts what its IP stack did.
const NETSTAT: &str = "/proc/thread-self/net/netstat";
/// Packets dropped because the way back to their source is another one (`rp_filter`).
const REVERSE_PATH: &str = "IPReversePathFilter";

/// Wrong source addresses that are named per ENI.
const SOURCES_TOLD: usize = 4;

/// Counters as they were.
#[derive(Debug)]
pub(crate) struct Evidence {
    reverse_path: BTreeMap<String, u64>,
}

impl Evidence {
    /// Reads the counters before the probes.
    pub(crate) fn before(scene: &Scene) -> Self {
        Self { reverse_path: scene.nodes.iter().map(reverse_path).collect() }
    }

    /// Turns what has changed since into sentences, ahead of the failures that they explain. Packets that the router dropped count from the
    /// router's start, for they are wrong at any time.
    pub(crate) fn after(&self, scene: &Scene, verdict: &mut Verdict) {
        let mut causes = Vec::new();
        for (name, dropped) in scene.nodes.iter().map(reverse_path) {
            let before = self.reverse_path.get(&name).copied().unwrap_or(0);
            if let Some(n) = dropped.checked_sub(before).filter(|&n| n > 0) {
                causes.push(format!(
                    "{name} dropped {} for coming by the wrong interface: rp_filter is strict (1) \
                     where it must be loose (2)",
                    plural(n, "packet")
                ));
            }
        }
        if let Err(error) = router(scene, &mut causes, verdict) {
            causes.push(format!("the router's counters cannot be read: {error:#}"));
        }
        verdict.failures.splice(0..0, causes);
    }
}

/// What the router refused to forward.
fn router(
    scene: &Scene,
    causes: &mut Vec<String>,
    verdict: &mut Verdict,
) -> Result<(), FabricError> {
    let mut fabric = scene.cloud.fabric();
    let (drops, sources) = (fabric.drops()?, fabric.dropped_sources()?);
    verdict.source_check_drops = fabric.total_drops()?.packets;
    let refused = fabric.internet_refused()?.outbound.packets;
    drop(fabric);
    for (eni, count) in drops.iter().filter(|(_, count)| count.packets > 0) {
        let of: Vec<_> = sources.iter().filter(|s| s.eni_id == *eni).collect();
        let mut from: Vec<_> = of.iter().take(SOURCES_TOLD).map(|s| s.source.to_string()).collect();
        if of.len() > from.len() {
            from.push(format!("{} more", of.len() - from.len()));
        }
        causes.push(format!(
            "{} sent {} from addresses that it does not own: {}",
            scene.describe_eni(eni),
            plural(count.packets, "packet"),
            from.join(", ")
        ));
    }
    if refused > 0 {
        causes.push(format!(
            "{} for the internet had a pod's source address, not translated to the node's",
            plural(refused, "packet")
        ));
    }
    Ok(())
}

fn reverse_path(node: &Node) -> (String, u64) {
    let text = node.inside(|| fs::read_to_string(NETSTAT)).ok().and_then(Result::ok);
    (node.name.clone(), text.as_deref().and_then(|t| counter(t, REVERSE_PATH)).unwrap_or(0))
}

/// A counter of a file of line pairs: names, then values, both after the same word.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = netstat.lines().collect();
    lines.chunks_exact(2).find_map(|pair| {
        let [names, values] = pair else { return None };
        let column = names.split_whitespace().position(|n| n == name)?;
        values.split_whitespace().nth(column)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_column() {
        let text = "TcpExt: SyncookiesSent IPReversePathFilter TW\nTcpExt: 1 42 3\n\
                    IpExt: InNoRoutes OutMcastPkts\nIpExt: 5 6\n";
        assert_eq!(counter(text, "IPReversePathFilter"), Some(42));
        assert_eq!(counter(text, "OutMcastPkts"), Some(6));
        assert_eq!(counter(text, "Nothing"), None);
    }
}
