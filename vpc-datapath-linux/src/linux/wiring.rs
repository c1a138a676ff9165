//! What wiring one pod sends, as data.

use std::{
    hash::{BuildHasher, Hasher},
    net::{IpAddr, Ipv4Addr},
};

use vpc_ipam_core::{
    addr::Prefix,
    datapath::{DatapathError, DatapathErrorKind, MAIN_TABLE, PodAddress, PodSpec},
    id::{MacAddr, PodRef},
};

use crate::{
    layout::{POD_TABLE, PRIORITY_CLASSIC_FROM_POD, PRIORITY_CLASSIC_TO_POD, PROTOCOL},
    names::{VethPrefix, link_index, peer_index},
    netlink::{Address, Batch, LinkChange, Neighbour, Request, Route, Rule, VethEnd, add_veth},
    netns::NetnsFd,
};

/// The pod's gateway. It exists on no link: a permanent neighbour names the host end.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Index of a pod's loopback: the first that the kernel gives out in every namespace.
const LOOPBACK: u32 = 1;

/// Everything that is to be made for one pod.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) object: String,
    pub(super) host_if: String,
    pub(super) host_mac: MacAddr,
    pub(super) pod_if: String,
    pub(super) pod_mac: MacAddr,
    pub(super) ip: IpAddr,
    /// Index that the host end would best have.
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) netns: NetnsFd,
}

pub(super) fn object(pod: &PodRef) -> String {
    format!("pod {pod}")
}

impl Wiring {
    pub(super) fn new(pod: &PodSpec, netns: NetnsFd) -> Result<Self, DatapathError> {
        let object = object(&pod.pod);
        let prefix = VethPrefix::new(&pod.veth_prefix)
            .map_err(|e| DatapathError::new(DatapathErrorKind::Other, &object, e.to_string()))?;
        let ip = only_address(&object, &pod.addresses)?;
        let (host_mac, pod_mac) = (random_mac(), random_mac());
        Ok(Self {
            host_if: prefix.host_name(&pod.pod, 0),
            host_mac,
            pod_if: pod.if_name.clone(),
            pod_mac,
            ip,
            index: link_index(&pod.pod, ip),
            mtu: pod.mtu,
            netns,
            object,
        })
    }

    /// Makes the pair; the kernel picks the indexes if none is given.
    pub(super) fn veth(&self, index: Option<u32>) -> Request {
        let end = |name: &str, mac, index, up, netns| VethEnd {
            mac: Some(mac),
            mtu: Some(self.mtu),
            index,
            up,
            netns,
            ..VethEnd::new(name)
        };
        // The kernel refuses a second end that is up at birth. So there is no carrier, and the host end
        // hears nothing, before the pod's batch.
        let host = end(&self.host_if, self.host_mac, index, true, None);
        let netns = Some(self.netns.clone());
        let pod = end(&self.pod_if, self.pod_mac, index.map(peer_index), false, netns);
        add_veth(&host, &pod)
    }

    /// The ways from the host to the pod. The one in main is for operators and for older releases that
    /// look for it there.
    pub(super) fn host_routes(&self, host: u32) -> [Request; 2] {
        pod_routes(self.ip, host).map(|route| route.replace())
    }

    /// What happens in the host's namespace, in one send.
    pub(super) fn host_batch(&self) -> Batch {
        let veth = self.veth(Some(self.index));
        [veth].into_iter().chain(self.host_routes(self.index)).collect()
    }

    /// What happens in the pod's namespace, in one send.
    pub(super) fn pod_batch(&self, pod: u32) -> Batch {
        let gateway = IpAddr::V4(GATEWAY);
        let len = Prefix::host(self.ip).len();
        Batch::from_iter([
            LinkChange::of_index(LOOPBACK).up().request(),
            LinkChange::of_index(pod).up().request(),
            Address::new(pod, self.ip, len).add(),
            Route::to(Prefix::host(gateway)).dev(pod).on_link().replace(),
            // Not a replacement: a pod that has a default route already is wired by somebody else.
            Route::default_route(self.ip.is_ipv4()).via(gateway).dev(pod).add(),
            Neighbour::permanent(pod, gateway, self.host_mac).replace(),
        ])
    }
}

/// The routes to a pod's address out of its host end.
pub(super) fn pod_routes(ip: IpAddr, host: u32) -> [Route; 2] {
    let route = Route::to(Prefix::host(ip)).dev(host).on_link().protocol(PROTOCOL);
    [route.clone().table(POD_TABLE), route.table(MAIN_TABLE)]
}

/// Classic rules of an address, which a pod that older code wired may have.
pub(super) fn classic_rules(ip: IpAddr) -> [Rule; 2] {
    let host = Prefix::host(ip);
    // Table 0 in a delete request stands for any table.
    let from = Rule::lookup(PRIORITY_CLASSIC_FROM_POD, 0).from(host);
    [Rule::lookup(PRIORITY_CLASSIC_TO_POD, MAIN_TABLE).to(host), from]
}

/// What remains to be done for one address of a pod that goes, in one send.
pub(super) fn teardown_batch(pod: &PodRef, host_if: &str, ip: IpAddr) -> Batch {
    let index = link_index(pod, ip);
    let [to, from] = classic_rules(ip);
    // Both routes would go with the link, but not the packets that are on their way.
    let [pods, main] = pod_routes(ip, index);
    // Renaming a link to the name that it has does nothing. If another link has the index because the
    // pod's got one of the kernel's choice, the name is taken and the kernel refuses before it comes
    // to the rest: the other link stays up. Kernels before 6.2 refuse whenever the link is up, and the
    // caller then looks closer.
    let down = LinkChange::of_index(index).rename(host_if).down().request();
    Batch::from_iter([pods.delete(), main.delete(), to.delete(), from.delete(), down])
}

/// Positions of the routes in [`teardown_batch`].
pub(super) const TEARDOWN_ROUTES: std::ops::Range<usize> = 0..2;
/// Position of the link change in [`teardown_batch`].
pub(super) const TEARDOWN_LINK: usize = 4;
/// Positions of the classic rules in [`teardown_batch`].
pub(super) const TEARDOWN_RULES: std::ops::Range<usize> = 2..4;

fn only_address(object: &str, addresses: &[PodAddress]) -> Result<IpAddr, DatapathError> {
    let not_supported =
        |message: &str| Err(DatapathError::new(DatapathErrorKind::NotSupported, object, message));
    match addresses {
        [] => {
            let message = "the allocation has no address; nothing can be wired";
            Err(DatapathError::new(DatapathErrorKind::Other, object, message))
        }
        [one] if one.ip.is_ipv4() => Ok(one.ip),
        [_] => not_supported("IPv6 pods are not supported yet"),
        _ => not_supported("pods with several interfaces are not supported yet"),
    }
}

/// A locally administered unicast address. Random like the kernel's own, but ours, so that udev leaves
/// it alone and the pod's neighbour can name it before the link exists.
fn random_mac() -> MacAddr {
    // The standard library keys its hashers from the operating system's random source.
    let random = std::hash::RandomState::new().build_hasher().finish();
    let [a, b, c, d, e, f, ..] = random.to_ne_bytes();
    MacAddr([(a & 0xfc) | 0x02, b, c, d, e, f])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_local_and_unicast_and_differ() {
        let mut all: Vec<_> = (0..1000).map(|_| random_mac()).collect();
        assert!(all.iter().all(|mac| mac.0[0] & 3 == 2));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn a_teardown_names_the_link_by_the_index_of_pod_and_address() {
        let pod = PodRef { namespace: "shop".to_owned(), name: "cart".to_owned() };
        let ip = "10.0.1.5".parse().unwrap();
        let batch = teardown_batch(&pod, "eni0", ip);
        let index = link_index(&pod, ip);
        let labels: Vec<_> = batch.requests().iter().map(Request::label).collect();
        assert_eq!(labels[TEARDOWN_LINK], format!("set link {index} name eni0 down"));
        assert!(labels[TEARDOWN_RULES].iter().all(|l| l.starts_with("delete rule")), "{labels:?}");
        assert!(labels[0].ends_with(&format!("dev {index} scope link table 100513")), "{labels:?}");
    }
}
