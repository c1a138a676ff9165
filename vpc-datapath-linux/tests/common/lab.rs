//! One node under test in a VPC: three ENIs, a pod on each, a peer in the VPC and a host outside.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use vpc_datapath_linux::{
    LinuxDatapath,
    netlink::Socket,
    nft::{self, Chain, ChainKind, Hook, Table, Transaction},
    testkit::{
        fabric::{DropCount, EniPort, Fabric, FabricConfig},
        harness::Outcome,
        ns::{NodeNs, NodeOptions, PodNs},
        probe::{self, EchoServer, ProbeSpec, tcp_probe},
    },
};
use vpc_ipam_core::datapath::{Datapath, EniSpec, NodeSpec};

use super::{eni_spec, ip, mac_of_device, node_spec, path_of, prefix};

pub const INTERNET: &str = "203.0.113.10";
pub const NODE: &str = "10.0.0.10";
pub const PEER: &str = "10.0.0.20";
/// Pods by the ENI that owns their address: single addresses on the first two, a prefix on the third.
pub const PODS: [&str; 3] = ["10.0.0.50", "10.0.1.50", "10.0.2.85"];
/// How long a connection that must not come about is waited for.
pub const SILENCE: Duration = Duration::from_millis(300);

pub fn at(ip: &str, port: u16) -> SocketAddr {
    format!("{ip}:{port}").parse().unwrap()
}

/// One node under test with three ENIs and a pod on each, a peer in the VPC and a host outside.
pub struct Lab {
    pub fabric: Fabric,
    pub node: NodeNs,
    pub peer: NodeNs,
    pub pods: Vec<PodNs>,
    pub datapath: LinuxDatapath,
    pub spec: NodeSpec,
    servers: Vec<EchoServer>,
}

pub fn owned(device: u32) -> &'static [&'static str] {
    match device {
        0 => &["10.0.0.50/32"],
        1 => &["10.0.1.50/32", "10.0.1.51/32"],
        _ => &["10.0.2.80/28"],
    }
}

/// What the daemon says about an ENI; the primary's addresses have no entry.
pub fn eni(device: u32) -> EniSpec {
    eni_spec(device, owned(device))
}

/// A lab, or the end of a case that cannot be tried here.
macro_rules! lab {
    ($change:expr) => {
        match common::lab::lab($change) {
            Ok(lab) => lab,
            Err(skip) => return skip,
        }
    };
}

pub fn lab(change: impl FnOnce(&mut NodeSpec)) -> Result<Lab, Outcome> {
    probe::nf_tables()?;
    let config = FabricConfig::new(&[prefix("10.0.0.0/16")], INTERNET.parse().unwrap());
    let mut fabric = Fabric::new(&config).unwrap();
    let node = fabric.add_node("node-a", &NodeOptions::default()).unwrap();
    let peer = fabric.add_node("node-b", &NodeOptions::default()).unwrap();
    for device in 0..3u32 {
        let spec = eni(device);
        fabric.add_subnet(spec.subnet_cidr).unwrap();
        let IpAddr::V4(address) = spec.primary_ip else { unreachable!() };
        let name = format!("eth{device}");
        let mut port = EniPort::new(spec.id.as_str(), spec.mac, &name, address, spec.subnet_cidr);
        if device == 0 {
            port = port.primary();
        }
        fabric.attach_eni(&node, &port).unwrap();
        fabric.set_owned(spec.id.as_str(), &spec.sources).unwrap();
    }
    let subnet = prefix("10.0.0.0/24");
    let port = EniPort::new("eni-b", mac_of_device(99), "eth0", PEER.parse().unwrap(), subnet);
    fabric.attach_eni(&peer, &port.primary()).unwrap();

    let datapath = LinuxDatapath::open_in(node.netns()).unwrap();
    let mut spec = node_spec();
    change(&mut spec);
    datapath.set_up_node(&spec).unwrap();
    for device in 0..3 {
        datapath.set_up_eni(&eni(device)).unwrap();
    }
    let mut lab = Lab { fabric, node, peer, pods: Vec::new(), datapath, spec, servers: Vec::new() };
    for (n, address) in PODS.iter().enumerate() {
        lab.add_pod(&format!("pod-{n}"), address);
    }
    lab.serve();
    lab.fabric.settle_links().unwrap();
    Ok(lab)
}

impl Lab {
    pub fn add_pod(&mut self, name: &str, address: &str) {
        let path = format!("/run/netns/cni-{name}");
        let pod = PodNs::new(&self.node, Path::new(&path)).unwrap();
        let mut spec = super::pod_spec(name, address, pod.netns());
        spec.netns = path_of(pod.netns());
        let wiring = self.datapath.set_up_pod(&spec).unwrap();
        self.pods.push(pod);
        // Asking for a link makes the kernel start its queues at once.
        let mut socket = Socket::open_in(self.node.netns()).unwrap();
        socket.link_by_name(&wiring.host_if).unwrap();
    }

    pub fn serve(&mut self) {
        let internet = self.fabric.internet();
        self.servers.push(EchoServer::tcp(internet, at(INTERNET, 7)).unwrap());
        self.servers.push(EchoServer::udp(internet, at(INTERNET, 7)).unwrap());
        self.servers.push(EchoServer::tcp(&self.peer, at(PEER, 7)).unwrap());
        self.servers.push(EchoServer::udp(&self.peer, at(PEER, 7)).unwrap());
        self.servers.push(EchoServer::tcp(&self.node, at(NODE, 7)).unwrap());
        for (pod, address) in self.pods.iter().zip(PODS) {
            self.servers.push(EchoServer::tcp(pod, at(address, 7)).unwrap());
            self.servers.push(EchoServer::udp(pod, at(address, 7)).unwrap());
        }
    }

    pub fn no_drops(&mut self) {
        let why: Vec<_> =
            self.fabric.dropped_sources().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(self.fabric.total_drops().unwrap(), DropCount::default(), "{why:?}");
    }

    pub fn refused_outbound(&mut self) -> u64 {
        self.fabric.internet_refused().unwrap().outbound.packets
    }

    /// Does what kube-proxy does: before routing, and long before us.
    pub fn service(&self, rules: &[nft::Rule]) {
        let table = Table::ipv4("kube-proxy");
        let mut tx = Transaction::new();
        tx.add_table(&table);
        tx.add_chain(&table, &Chain::base("dnat", ChainKind::Nat, Hook::Prerouting, -100));
        for rule in rules {
            tx.add_rule(&table, "dnat", rule);
        }
        nft::Socket::open_in(self.node.netns()).unwrap().commit(&tx).unwrap();
    }
}

/// TCP from a pod, a hundred round trips on one connection; the other side must see `as_ip`.
pub fn flow(pod: &PodNs, to: SocketAddr, as_ip: &str) {
    let spec = ProbeSpec::new().round_trips(100).expect_peer(ip(as_ip));
    let outcome = tcp_probe(pod, None, to, &spec);
    assert!(outcome.is_ok(), "{} to {to}: {outcome}", pod.namespace().name());
}
