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
        let names: Vec<_> = links.iter().map(|link| link.name.clone()).collect();
        let mut gone = without_link(&self.prefix, leases, &names);
        gone.extend(without_route(leases, &pods(&self.prefix, &links, &routes)));
        Ok(gone)
    }

    fn wired(&self) -> Result<Vec<WiredPod>, DatapathError> {
        let (links, routes) = links_and_routes()?;
        Ok(pods(&self.prefix, &links, &routes))
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
/// table of pods, the flat one two.
fn pods(prefix: &VethPrefix, links: &[Link], routes: &[Route]) -> Vec<WiredPod> {
    let veths: BTreeMap<u32, &str> = links
        .iter()
        .filter(|l| l.kind.as_deref() == Some("veth") && prefix.is_host_name(&l.name))
        .map(|l| (l.index, l.name.as_str()))
        .collect();
    let pods: BTreeMap<_, _> = routes
        .iter()
        .filter(|route| route.kind == RouteType::Unicast && route.dst.is_host())
        .filter_map(|route| Some((route.dst.base(), *veths.get(&route.dev?)?)))
        .collect();
    pods.into_iter().map(|(ip, host_if)| WiredPod { ip, host_if: host_if.to_owned() }).collect()
}

/// Recovered leases whose address is not routed to their link any more.
fn without_route(leases: &[Lease], pods: &[WiredPod]) -> BTreeSet<SandboxKey> {
    let is_wired = |lease: &Lease| {
        pods.iter().any(|pod| pod.ip == lease.ip && pod.host_if == lease.key.container_id())
    };
    leases
        .iter()
        .filter(|lease| lease.key.network() == RECOVERED_NETWORK && !is_wired(lease))
        .map(|lease| lease.key.clone())
        .collect()
}

/// Any prefix counts: it may have been another one when the pod was wired. Without the pod's name
/// there is no link to look for.
fn without_link(prefix: &VethPrefix, leases: &[Lease], links: &[String]) -> BTreeSet<SandboxKey> {
    let has_link = |lease: &Lease| {
        let name = prefix.host_name(&lease.pod, 0);
        let hash = name.strip_prefix(prefix.as_str()).unwrap_or(&name);
        links.iter().any(|link| link.ends_with(hash))
    };
    leases
        .iter()
        .filter(|lease| !lease.pod.namespace.is_empty() && !lease.pod.name.is_empty())
        .filter(|lease| !has_link(lease))
        .map(|lease| lease.key.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use vpc_ipam_core::id::PodRef;

    use super::*;

    fn lease(id: &str, namespace: &str, name: &str) -> Lease {
        Lease {
            key: SandboxKey::new("aws-cni", id, "eth0").unwrap(),
            ip: "10.0.0.9".parse().unwrap(),
            allocated_ns: 0,
            pod: PodRef { namespace: namespace.to_owned(), name: name.to_owned() },
            interfaces: 1,
        }
    }

    #[test]
    fn a_recovered_lease_lives_as_long_as_its_route() {
        let recovered = |link: &str, ip: &str| Lease {
            key: SandboxKey::new(RECOVERED_NETWORK, link, "unknown").unwrap(),
            ip: ip.parse().unwrap(),
            pod: PodRef::default(),
            ..lease("x", "", "")
        };
        let leases = [
            recovered("eni1", "10.0.0.8"),
            recovered("eni2", "10.0.0.9"),
            lease("a", "shop", "cart"),
        ];
        let pods = [
            WiredPod { ip: "10.0.0.8".parse().unwrap(), host_if: "eni1".to_owned() },
            WiredPod { ip: "10.0.0.9".parse().unwrap(), host_if: "eni7".to_owned() },
        ];
        assert_eq!(without_route(&leases, &pods), BTreeSet::from([leases[1].key.clone()]));
    }

    #[test]
    fn a_pod_is_known_by_the_hash_in_its_link_s_name() {
        let prefix = VethPrefix::new("eni").unwrap();
        let leases =
            [lease("a", "shop", "cart-7d9f-abcde"), lease("b", "shop", "gone"), lease("c", "", "")];
        for link in ["eni4c7dcdf79c7", "vlan4c7dcdf79c7"] {
            let links = ["lo".to_owned(), "eth0".to_owned(), link.to_owned()];
            let gone = without_link(&prefix, &leases, &links);
            assert_eq!(gone, BTreeSet::from([leases[1].key.clone()]), "{link}");
        }
    }
}
