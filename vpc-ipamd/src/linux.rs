//! The node's pods as the Linux kernel shows them: by their host links.

use std::{collections::BTreeSet, sync::Arc};

use vpc_datapath_linux::{
    LinuxDatapath,
    names::VethPrefix,
    netlink::{NetlinkError, Socket},
};
use vpc_ipam_core::{
    checkpoint::Lease,
    datapath::{DatapathError, DatapathErrorKind},
    id::SandboxKey,
};

use crate::housekeeping::Housekeeping;

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
        let links = links().map_err(|e| {
            DatapathError::new(DatapathErrorKind::Other, "links of the node", e.to_string())
        })?;
        Ok(without_link(&self.prefix, leases, &links))
    }
}

fn links() -> Result<Vec<String>, NetlinkError> {
    Ok(Socket::open()?.links()?.into_iter().map(|link| link.name).collect())
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
