//! The node's pods as the Linux kernel shows them: by their host links.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vpc_datapath_linux::{
    LinuxDatapath,
    names::VethPrefix,
    netlink::{Link, NetlinkError, Route, RouteFilter, RouteType, Socket},
};
use vpc_ipam_core::{
    checkpoint::Lease,
    datapath::{DatapathError, DatapathErrorKind},
    id::SandboxKey,
};

use crate::{
    housekeeping::{Housekeeping, WiredPod},
    restore::RECOVERED_NETWORK,
};

/// Hexadecimal digits at the end of a host veth's name, in every release of plugin and reference.
const HASH_LEN: usize = 11;

/// Housekeeping of pods that were wired by this plugin or the reference's: both name a pod's host link
/// after it.
#[derive(Debug)]
pub struct LinuxHousekeeping {
    datapath: Arc<LinuxDatapath>,
    prefix: VethPrefix,
}

impl LinuxHousekeeping {
    /// Looks after the pods of `datapath`'s node whose links begin with `prefix`.
    pub fn new(datapath: Arc<LinuxDatapath>, prefix: VethPrefix) -> Self {
        Self { datapath, prefix }
    }
}

impl Housekeeping for LinuxHousekeeping {
    fn sweep(&self) -> Result<usize, DatapathError> {
        self.datapath.sweep_dead_links(&self.prefix)
    }

    fn gone(&self, leases: &[Lease]) -> Result<BTreeSet<SandboxKey>, DatapathError> {
        if leases.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (links, routes) = links_and_routes()?;
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        Ok(without_pod(&self.prefix, leases, &names, &pods(&links, &routes)))
    }

    fn wired(&self) -> Result<Vec<WiredPod>, DatapathError> {
        let (links, routes) = links_and_routes()?;
        Ok(pods(&links, &routes))
    }
}

fn links_and_routes() -> Result<(Vec<Link>, Vec<Route>), DatapathError> {
    let dump = || -> Result<_, NetlinkError> {
        let mut socket = Socket::open()?;
        Ok((socket.links()?, socket.routes(true, RouteFilter::default())?))
    };
    dump().map_err(|e| {
        DatapathError::new(DatapathErrorKind::Other, "links and routes of the node", e.to_string())
    })
}

/// One pod per address that is routed to a host veth, in whichever table: the classic layout knows one
/// table of pods, the flat one two. Any prefix counts: it may have been another one when the pod was
/// wired.
fn pods(links: &[Link], routes: &[Route]) -> Vec<WiredPod> {
    let veths: BTreeMap<u32, &str> = links
        .iter()
        .filter(|link| link.kind.as_deref() == Some("veth") && is_host_name(&link.name))
        .map(|link| (link.index, link.name.as_str()))
        .collect();
    let pods: BTreeMap<_, _> = routes
        .iter()
        .filter(|route| route.kind == RouteType::Unicast && route.dst.is_host())
        .filter_map(|route| Some((route.dst.base(), *veths.get(&route.dev?)?)))
        .collect();
    pods.into_iter().map(|(ip, host_if)| WiredPod { ip, host_if: host_if.to_owned() }).collect()
}

/// True if the name ends as those of host veths do, whatever it begins with.
fn is_host_name(name: &str) -> bool {
    let hash = name.len().checked_sub(HASH_LEN).and_then(|start| name.get(start..));
    name.len() > HASH_LEN && hash.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Leases whose pod is certainly gone: its link is missing, or carries another pod's address and not
/// this one. A link without any route proves nothing; something may have flushed the routes of a pod
/// that lives. Without the pod's name there is no link to look for.
fn without_pod(
    prefix: &VethPrefix,
    leases: &[Lease],
    links: &[&str],
    pods: &[WiredPod],
) -> BTreeSet<SandboxKey> {
    let is_gone = |lease: &&Lease| {
        let hashed = prefix.host_name(&lease.pod, 0);
        let end = if lease.key.network() == RECOVERED_NETWORK {
            lease.key.container_id()
        } else if lease.pod.namespace.is_empty() || lease.pod.name.is_empty() {
            return false;
        } else {
            hashed.strip_prefix(prefix.as_str()).unwrap_or(&hashed)
        };
        let mut routed = pods.iter().filter(|pod| pod.host_if.ends_with(end)).peekable();
        let is_missing = !links.iter().any(|link| link.ends_with(end));
        is_missing || (routed.peek().is_some() && routed.all(|pod| pod.ip != lease.ip))
    };
    leases.iter().filter(is_gone).map(|lease| lease.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use vpc_ipam_core::{checkpoint::Unknown, id::PodRef};

    use super::*;

    fn lease(id: &str, namespace: &str, name: &str) -> Lease {
        Lease {
            key: SandboxKey::new("aws-cni", id, "eth0").unwrap(),
            ip: "10.0.0.9".parse().unwrap(),
            allocated_ns: 0,
            pod: PodRef { namespace: namespace.to_owned(), name: name.to_owned() },
            interfaces: 1,
            unknown: Unknown::default(),
        }
    }

    fn pod(host_if: &str, ip: &str) -> WiredPod {
        WiredPod { ip: ip.parse().unwrap(), host_if: host_if.to_owned() }
    }

    #[test]
    fn a_pod_is_known_by_the_hash_in_its_link_s_name() {
        let prefix = VethPrefix::new("eni").unwrap();
        let leases =
            [lease("a", "shop", "cart-7d9f-abcde"), lease("b", "shop", "gone"), lease("c", "", "")];
        for link in ["eni4c7dcdf79c7", "vlan4c7dcdf79c7"] {
            let gone = without_pod(&prefix, &leases, &["lo", "eth0", link], &[]);
            assert_eq!(gone, BTreeSet::from([leases[1].key.clone()]), "{link}");
        }
    }

    #[test]
    fn a_stale_lease_does_not_hide_behind_its_namesake() {
        let prefix = VethPrefix::new("eni").unwrap();
        let old = lease("old", "shop", "cart-7d9f-abcde");
        let new =
            Lease { ip: "10.0.0.7".parse().unwrap(), ..lease("new", "shop", "cart-7d9f-abcde") };
        let leases = [old.clone(), new];
        let links = ["eni4c7dcdf79c7"];
        let routed = [pod(links[0], "10.0.0.7")];
        assert_eq!(without_pod(&prefix, &leases, &links, &routed), BTreeSet::from([old.key]));
        // Both, should somebody have flushed the routes.
        assert_eq!(without_pod(&prefix, &leases, &links, &[]), BTreeSet::new());
    }

    #[test]
    fn a_recovered_lease_lives_as_long_as_its_link() {
        let prefix = VethPrefix::new("eni").unwrap();
        let recovered = |link: &str, ip: &str| Lease {
            key: SandboxKey::new(RECOVERED_NETWORK, link, ip).unwrap(),
            ip: ip.parse().unwrap(),
            pod: PodRef::default(),
            ..lease("x", "", "")
        };
        let (kept, moved, dead) = ("eni00000000001", "eni00000000002", "eni00000000003");
        let leases = [
            recovered(kept, "10.0.0.1"),
            recovered(moved, "10.0.0.2"),
            recovered(dead, "10.0.0.3"),
        ];
        let routed = [pod(kept, "10.0.0.1"), pod(moved, "10.0.0.9")];
        let gone = without_pod(&prefix, &leases, &[kept, moved], &routed);
        assert_eq!(gone, leases[1..].iter().map(|lease| lease.key.clone()).collect());
    }

    #[test]
    fn pods_are_found_under_any_prefix_and_nothing_else_is_a_pod() {
        for name in ["eni4c7dcdf79c7", "vlan4c7dcdf79c7", "x4c7dcdf79c7"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "lo", "docker0", "4c7dcdf79c7", "veth4c7dcdf79cg", "enié4c7dcdf79c"] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
