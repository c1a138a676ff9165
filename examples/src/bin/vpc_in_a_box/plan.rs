//! Which probes a layout of pods deserves: pure, from what plugin and daemon say about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

/// Payload of an ordinary probe in bytes.
const SMALL_BYTES: usize = 64;
/// Round trips of a flow that must look alike from its first to its hundredth packet.
const FLOW_ROUNDS: u32 = 100;
/// Pods of each node that also send a long flow and a large packet: one per ENI is what differs,
/// the rest would only cost time.
const SAMPLES_PER_ENI: usize = 1;
/// IPv4 header and UDP header.
const UDP_OVERHEAD_BYTES: usize = 28;

/// A node as the probes see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NodeSite {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
}

/// A pod as the probes see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PodSite {
    pub(crate) name: String,
    /// Index of its node.
    pub(crate) node: usize,
    pub(crate) ip: Ipv4Addr,
    /// Id of the ENI that owns its address.
    pub(crate) eni: String,
    /// Device index of that ENI.
    pub(crate) device: u32,
}

/// Everything there is to probe.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) nodes: Vec<NodeSite>,
    pub(crate) pods: Vec<PodSite>,
    /// A host in the VPC that is no node, such as a database.
    pub(crate) vpc_host: Ipv4Addr,
    pub(crate) internet: Ipv4Addr,
    pub(crate) eni_mtu: u32,
}

/// What a probe is about. Ordered as the verdict lists them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    PodToPodSameEni,
    PodToPodAcrossEnis,
    PodToPodAcrossNodes,
    PodToNode,
    NodeToPod,
    PodToVpc,
    VpcToPod,
    PodToInternet,
    InternetToPodRefused,
    FlowOf100,
    LargePacket,
}

impl Kind {
    /// As JSON names it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::PodToPodSameEni => "pod_to_pod_same_eni",
            Self::PodToPodAcrossEnis => "pod_to_pod_across_enis",
            Self::PodToPodAcrossNodes => "pod_to_pod_across_nodes",
            Self::PodToNode => "pod_to_node",
            Self::NodeToPod => "node_to_pod",
            Self::PodToVpc => "pod_to_vpc",
            Self::VpcToPod => "vpc_to_pod",
            Self::PodToInternet => "pod_to_internet",
            Self::InternetToPodRefused => "internet_to_pod_refused",
            Self::FlowOf100 => "flow_of_100",
            Self::LargePacket => "large_packet",
        }
    }

    /// As the verdict names it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::PodToPodSameEni => "pod to pod, same ENI",
            Self::PodToPodAcrossEnis => "pod to pod, across ENIs",
            Self::PodToPodAcrossNodes => "pod to pod, across nodes",
            Self::PodToNode => "pod to node",
            Self::NodeToPod => "node to pod",
            Self::PodToVpc => "pod to VPC host",
            Self::VpcToPod => "VPC host to pod",
            Self::PodToInternet => "pod to internet",
            Self::InternetToPodRefused => "internet to pod, refused",
            Self::FlowOf100 => "first to 100th packet",
            Self::LargePacket => "packet at the MTU of 9001",
        }
    }
}

/// Transport of a probe.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Proto {
    Tcp,
    Udp,
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One end of a probe: an index into the layout, or one of the two other hosts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum End {
    Internet,
    Node(usize),
    Pod(usize),
    VpcHost,
}

/// What the probe must find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expect {
    /// Every round trip succeeds, and the server sees this source address.
    Seen(Ipv4Addr),
    /// Nothing answers.
    Refused,
}

/// One question to the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Probe {
    pub(crate) kind: Kind,
    pub(crate) proto: Proto,
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) expect: Expect,
    pub(crate) rounds: u32,
    pub(crate) bytes: usize,
}

impl Layout {
    /// Address of an end.
    pub(crate) fn ip(&self, end: End) -> Option<Ipv4Addr> {
        match end {
            End::Internet => Some(self.internet),
            End::Node(i) => self.nodes.get(i).map(|n| n.ip),
            End::Pod(i) => self.pods.get(i).map(|p| p.ip),
            End::VpcHost => Some(self.vpc_host),
        }
    }

    /// An end in words, for a person who reads about a failure.
    pub(crate) fn describe(&self, end: End) -> String {
        let known = match end {
            End::Internet => Some(format!("internet ({})", self.internet)),
            End::Node(i) => self.nodes.get(i).map(|node| format!("{} ({})", node.name, node.ip)),
            End::Pod(i) => self.pods.get(i).map(|pod| {
                let node = self.nodes.get(pod.node).map_or("?", |n| n.name.as_str());
                format!("{} ({} on eth{} of {node})", pod.name, pod.ip, pod.device)
            }),
            End::VpcHost => Some(format!("VPC host ({})", self.vpc_host)),
        };
        known.unwrap_or_else(|| format!("{end:?}"))
    }

    /// Kinds that this layout must see probed, found without looking at the plan.
    pub(crate) fn expected_kinds(&self) -> BTreeSet<Kind> {
        let mut per_node: BTreeMap<usize, BTreeMap<&str, usize>> = BTreeMap::new();
        for pod in &self.pods {
            *per_node.entry(pod.node).or_default().entry(&pod.eni).or_default() += 1;
        }
        let mut kinds = BTreeSet::new();
        if self.pods.is_empty() {
            return kinds;
        }
        kinds.extend([
            Kind::PodToNode,
            Kind::NodeToPod,
            Kind::PodToVpc,
            Kind::VpcToPod,
            Kind::PodToInternet,
            Kind::InternetToPodRefused,
            Kind::FlowOf100,
            Kind::LargePacket,
        ]);
        if per_node.values().any(|enis| enis.values().any(|&pods| pods > 1)) {
            kinds.insert(Kind::PodToPodSameEni);
        }
        if per_node.values().any(|enis| enis.len() > 1) {
            kinds.insert(Kind::PodToPodAcrossEnis);
        }
        if per_node.len() > 1 {
            kinds.insert(Kind::PodToPodAcrossNodes);
        }
        kinds
    }

    /// The probes: every pod asks a neighbour on its own ENI, one on the next ENI and one on the next
    /// node where there is one, a node, a host in the VPC and the internet, and is asked by them too.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (i, pod) in self.pods.iter().enumerate() {
            for kind in [Kind::PodToPodSameEni, Kind::PodToPodAcrossEnis, Kind::PodToPodAcrossNodes]
            {
                if let Some(peer) = self.peer(i, kind) {
                    probes.extend(both(kind, End::Pod(i), End::Pod(peer), seen(pod.ip)));
                }
            }
            self.hosts(i, pod, &mut probes);
        }
        self.samples(&mut probes);
        probes
    }

    fn hosts(&self, i: usize, pod: &PodSite, probes: &mut Vec<Probe>) {
        // Own node and another one by turns: the way there is not the same.
        let node = (pod.node + i) % self.nodes.len().max(1);
        let Some(site) = self.nodes.get(node) else { return };
        let me = End::Pod(i);
        probes.extend(both(Kind::PodToNode, me, End::Node(node), seen(pod.ip)));
        probes.extend(both(Kind::NodeToPod, End::Node(node), me, seen(site.ip)));
        probes.extend(both(Kind::PodToVpc, me, End::VpcHost, seen(pod.ip)));
        probes.extend(both(Kind::VpcToPod, End::VpcHost, me, seen(self.vpc_host)));
        if let Some(own) = self.nodes.get(pod.node) {
            probes.extend(both(Kind::PodToInternet, me, End::Internet, seen(own.ip)));
        }
        probes.extend(both(Kind::InternetToPodRefused, End::Internet, me, Expect::Refused));
    }

    /// Long flows and large packets, from some pods of each ENI.
    fn samples(&self, probes: &mut Vec<Probe>) {
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, pod) in self.pods.iter().enumerate() {
            let taken = taken.entry(&pod.eni).or_default();
            if *taken >= SAMPLES_PER_ENI {
                continue;
            }
            *taken += 1;
            let me = End::Pod(i);
            if let Some(own) = self.nodes.get(pod.node) {
                probes.extend(flow(me, End::Internet, own.ip));
            }
            let kinds =
                [Kind::PodToPodAcrossNodes, Kind::PodToPodAcrossEnis, Kind::PodToPodSameEni];
            let peers = kinds.iter().filter_map(|&kind| self.peer(i, kind)).map(End::Pod);
            for peer in peers.chain([End::VpcHost]) {
                probes.extend(flow(me, peer, pod.ip));
                probes.extend(self.large(me, peer, pod.ip));
            }
        }
    }

    fn large(&self, from: End, to: End, source: Ipv4Addr) -> [Probe; 2] {
        let mtu = usize::try_from(self.eni_mtu).unwrap_or(usize::MAX);
        both(Kind::LargePacket, from, to, seen(source)).map(|p| match p.proto {
            // The largest datagram that needs no fragment; as a stream, several full segments.
            Proto::Udp => Probe { bytes: mtu.saturating_sub(UDP_OVERHEAD_BYTES), ..p },
            Proto::Tcp => Probe { bytes: mtu.saturating_mul(4), ..p },
        })
    }

    /// The pod that pod `i` asks for a probe of `kind`: the next one in a ring, so that every pod
    /// asks and is asked.
    fn peer(&self, i: usize, kind: Kind) -> Option<usize> {
        let me = self.pods.get(i)?;
        let n = self.pods.len();
        (1..n).map(|step| (i + step) % n).find(|&j| {
            self.pods.get(j).is_some_and(|other| match kind {
                Kind::PodToPodSameEni => other.node == me.node && other.eni == me.eni,
                Kind::PodToPodAcrossEnis => other.node == me.node && other.eni != me.eni,
                Kind::PodToPodAcrossNodes => other.node != me.node,
                _ => false,
            })
        })
    }
}

fn seen(ip: Ipv4Addr) -> Expect {
    Expect::Seen(ip)
}

fn both(kind: Kind, from: End, to: End, expect: Expect) -> [Probe; 2] {
    [Proto::Tcp, Proto::Udp].map(|proto| Probe {
        kind,
        proto,
        from,
        to,
        expect,
        rounds: 1,
        bytes: SMALL_BYTES,
    })
}

fn flow(from: End, to: End, source: Ipv4Addr) -> [Probe; 2] {
    both(Kind::FlowOf100, from, to, seen(source)).map(|p| Probe { rounds: FLOW_ROUNDS, ..p })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
