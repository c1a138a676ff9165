//! Packets through the flat layout: every flow leaves by the ENI that owns its source, and a router
//! that drops what AWS would drop has nothing to drop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use common::{eni_spec, ip, mac_of_device, node_spec, path_of, prefix};
use vpc_datapath_linux::{
    LinuxDatapath, cases,
    netlink::{LinkChange, Socket},
    nft::{self, Chain, ChainKind, Hook, Table, Transaction},
    testkit::{
        fabric::{DropCount, EniPort, Fabric, FabricConfig},
        harness::{self, Outcome},
        ns::{NodeNs, NodeOptions, PodNs},
        probe::{self, EchoServer, ProbeSpec, refused_probe, tcp_probe, udp_probe},
    },
};
use vpc_ipam_core::datapath::{Datapath, EniSpec, NodeSpec, Snat};

const INTERNET: &str = "203.0.113.10";
const NODE: &str = "10.0.0.10";
const PEER: &str = "10.0.0.20";
/// Pods by the ENI that owns their address: single addresses on the first two, a prefix on the third.
const PODS: [&str; 3] = ["10.0.0.50", "10.0.1.50", "10.0.2.85"];
/// How long a connection that must not come about is waited for.
const SILENCE: Duration = Duration::from_millis(300);

fn at(ip: &str, port: u16) -> SocketAddr {
    format!("{ip}:{port}").parse().unwrap()
}

/// One node under test with three ENIs and a pod on each, a peer in the VPC and a host outside.
struct Lab {
    fabric: Fabric,
    node: NodeNs,
    peer: NodeNs,
    pods: Vec<PodNs>,
    datapath: LinuxDatapath,
    spec: NodeSpec,
    servers: Vec<EchoServer>,
}

fn owned(device: u32) -> &'static [&'static str] {
    match device {
        0 => &["10.0.0.50/32"],
        1 => &["10.0.1.50/32", "10.0.1.51/32"],
        _ => &["10.0.2.80/28"],
    }
}

/// What the daemon says about an ENI; the primary's addresses have no entry.
fn eni(device: u32) -> EniSpec {
    eni_spec(device, owned(device))
}

/// A lab, or the end of a case that cannot be tried here.
macro_rules! lab {
    ($change:expr) => {
        match lab($change) {
            Ok(lab) => lab,
            Err(skip) => return skip,
        }
    };
}

fn lab(change: impl FnOnce(&mut NodeSpec)) -> Result<Lab, Outcome> {
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
    fn add_pod(&mut self, name: &str, address: &str) {
        let path = format!("/run/netns/cni-{name}");
        let pod = PodNs::new(&self.node, Path::new(&path)).unwrap();
        let mut spec = common::pod_spec(name, address, pod.netns());
        spec.netns = path_of(pod.netns());
        let wiring = self.datapath.set_up_pod(&spec).unwrap();
        self.pods.push(pod);
        // Asking for a link makes the kernel start its queues at once.
        let mut socket = Socket::open_in(self.node.netns()).unwrap();
        socket.link_by_name(&wiring.host_if).unwrap();
    }

    fn serve(&mut self) {
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

    fn no_drops(&mut self) {
        let why: Vec<_> =
            self.fabric.dropped_sources().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(self.fabric.total_drops().unwrap(), DropCount::default(), "{why:?}");
    }

    fn refused_outbound(&mut self) -> u64 {
        self.fabric.internet_refused().unwrap().outbound.packets
    }

    /// Does what kube-proxy does: before routing, and long before us.
    fn service(&self, rules: &[nft::Rule]) {
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
fn flow(pod: &PodNs, to: SocketAddr, as_ip: &str) {
    let spec = ProbeSpec::new().round_trips(100).expect_peer(ip(as_ip));
    let outcome = tcp_probe(pod, None, to, &spec);
    assert!(outcome.is_ok(), "{} to {to}: {outcome}", pod.namespace().name());
}

fn pods_and_the_vpc_reach_each_other_by_the_owning_eni() -> Outcome {
    let mut lab = lab!(|_| {});
    for (pod, address) in lab.pods.iter().zip(PODS) {
        flow(pod, at(PEER, 7), address);
        let spec = ProbeSpec::new().round_trips(20).fill_mtu(9001).expect_peer(ip(address));
        let outcome = udp_probe(pod, None, at(PEER, 7), &spec);
        assert!(outcome.is_ok(), "{address}: {outcome}");
        let spec = ProbeSpec::new().round_trips(100).expect_peer(ip(PEER));
        let outcome = tcp_probe(&lab.peer, None, at(address, 7), &spec);
        assert!(outcome.is_ok(), "{address}: {outcome}");
    }
    lab.no_drops();
    Outcome::Pass
}

fn pods_reach_the_internet_as_the_node() -> Outcome {
    let mut lab = lab!(|_| {});
    for pod in &lab.pods {
        flow(pod, at(INTERNET, 7), NODE);
        let spec = ProbeSpec::new().round_trips(20).expect_peer(ip(NODE));
        let outcome = udp_probe(pod, None, at(INTERNET, 7), &spec);
        assert!(outcome.is_ok(), "{outcome}");
    }
    lab.no_drops();
    assert_eq!(lab.refused_outbound(), 0);
    Outcome::Pass
}

fn without_translation_pods_keep_their_address_and_their_eni() -> Outcome {
    let mut lab = lab!(|spec| spec.snat = Snat::External);
    // The router takes no pod address to the internet; that it refuses, and not the source check,
    // shows that the packet came by the ENI that owns it.
    for pod in &lab.pods {
        refused_probe(pod, None, at(INTERNET, 7), SILENCE).unwrap();
    }
    assert!(lab.refused_outbound() >= 3);
    for (pod, address) in lab.pods.iter().zip(PODS) {
        flow(pod, at(PEER, 7), address);
    }
    lab.no_drops();
    Outcome::Pass
}

fn excluded_destinations_see_the_pod() -> Outcome {
    let excluded = |spec: &mut NodeSpec| {
        let Snat::Node { exclude, .. } = &mut spec.snat else { unreachable!() };
        exclude.push(prefix("203.0.113.0/24"));
    };
    let mut lab = lab!(excluded);
    for pod in &lab.pods {
        refused_probe(pod, None, at(INTERNET, 7), SILENCE).unwrap();
    }
    assert!(lab.refused_outbound() >= 3);
    lab.no_drops();
    Outcome::Pass
}

fn pods_of_one_node_reach_each_other_and_the_node() -> Outcome {
    let mut lab = lab!(|_| {});
    lab.add_pod("neighbour", "10.0.1.51");
    let all: Vec<&str> = PODS.iter().copied().chain(["10.0.1.51"]).collect();
    for (pod, from) in lab.pods.iter().zip(&all) {
        for to in PODS.iter().filter(|to| *to != from) {
            flow(pod, at(to, 7), from);
        }
        flow(pod, at(NODE, 7), from);
    }
    for to in PODS {
        let spec = ProbeSpec::new().round_trips(100).expect_peer(ip(NODE));
        let outcome = tcp_probe(&lab.node, None, at(to, 7), &spec);
        assert!(outcome.is_ok(), "{to}: {outcome}");
    }
    let outcome = tcp_probe(&lab.node, None, at(INTERNET, 7), &ProbeSpec::new());
    assert!(outcome.is_ok(), "{outcome}");
    lab.no_drops();
    Outcome::Pass
}

fn node_ports_answer_from_the_node_whichever_eni_the_pod_is_on() -> Outcome {
    for (snat, rp_filter) in [(true, 2), (true, 1), (false, 2)] {
        let change = |spec: &mut NodeSpec| {
            if !snat {
                spec.snat = Snat::External;
            }
        };
        let mut lab = lab!(change);
        let port = |n: usize| 30_000 + u16::try_from(n).unwrap();
        let rules: Vec<_> = (0..3)
            .map(|n| {
                let rule = nft::Rule::new().daddr(&prefix("10.0.0.10/32")).l4proto(6);
                rule.dport(port(n)).dnat(ip(PODS[n]), Some(7))
            })
            .collect();
        lab.service(&rules);
        let mut socket = Socket::open_in(lab.node.netns()).unwrap();
        socket.request(LinkChange::of_name("eth0").rp_filter(rp_filter).request()).unwrap();
        for (n, address) in PODS.iter().enumerate() {
            let spec = ProbeSpec::new().round_trips(100).expect_peer(ip(INTERNET));
            let outcome = tcp_probe(lab.fabric.internet(), None, at(NODE, port(n)), &spec);
            assert!(outcome.is_ok(), "snat {snat}, rp_filter {rp_filter}, {address}: {outcome}");
            let spec = ProbeSpec::new().round_trips(100).expect_peer(ip(PEER));
            let outcome = tcp_probe(&lab.peer, None, at(NODE, port(n)), &spec);
            assert!(outcome.is_ok(), "from the VPC: {outcome}");
        }
        lab.no_drops();
    }
    Outcome::Pass
}

fn services_go_where_their_endpoint_is() -> Outcome {
    let mut lab = lab!(|_| {});
    let service = |port: u16, to: &str| {
        let rule = nft::Rule::new().daddr(&prefix("172.20.0.1/32")).l4proto(6);
        rule.dport(port).dnat(ip(to), Some(7))
    };
    lab.service(&[service(1, PEER), service(2, PODS[2]), service(3, INTERNET)]);
    for (pod, address) in lab.pods.iter().zip(PODS) {
        // In the VPC: not marked, so by the pod's own ENI and as itself.
        flow(pod, at("172.20.0.1", 1), address);
        if address != PODS[2] {
            flow(pod, at("172.20.0.1", 2), address);
        }
        flow(pod, at("172.20.0.1", 3), NODE);
    }
    lab.no_drops();
    Outcome::Pass
}

fn marks_of_others_survive() -> Outcome {
    let lab = lab!(|_| {});
    const FOREIGN: u32 = 0xc000;
    let table = Table::ipv4("other");
    let mut tx = Transaction::new();
    tx.add_table(&table)
        .add_chain(&table, &Chain::base("pre", ChainKind::Filter, Hook::Prerouting, -100))
        .add_chain(&table, &Chain::base("post", ChainKind::Filter, Hook::Postrouting, 200))
        .add_rule(&table, "pre", &nft::Rule::new().set_meta_mark(FOREIGN, FOREIGN))
        .add_rule(&table, "post", &nft::Rule::new().meta_mark(FOREIGN, FOREIGN).counter())
        .add_rule(&table, "post", &nft::Rule::new().meta_mark(FOREIGN, 0).counter());
    let mut socket = nft::Socket::open_in(lab.node.netns()).unwrap();
    socket.commit(&tx).unwrap();
    for pod in &lab.pods[1..] {
        flow(pod, at(INTERNET, 7), NODE);
    }
    flow(&lab.pods[1], at(PEER, 7), PODS[1]);
    let rules = socket.rules(&table).unwrap();
    let counted: Vec<_> = rules.iter().filter_map(nft::ListedRule::counted).collect();
    assert!(counted[0].0 > 300, "{counted:?}");
    assert_eq!(counted[1], (0, 0), "packets without the mark");
    Outcome::Pass
}

fn a_strict_reverse_path_filter_on_an_eni_is_fatal_and_repaired() -> Outcome {
    let mut lab = lab!(|_| {});
    let mut socket = Socket::open_in(lab.node.netns()).unwrap();
    socket.request(LinkChange::of_name("eth1").rp_filter(1).request()).unwrap();
    refused_probe(&lab.pods[1], None, at(PEER, 7), SILENCE).unwrap();
    flow(&lab.pods[2], at(PEER, 7), PODS[2]);
    flow(&lab.pods[1], at(INTERNET, 7), NODE);
    lab.datapath.set_up_eni(&eni(1)).unwrap();
    flow(&lab.pods[1], at(PEER, 7), PODS[1]);
    lab.no_drops();
    Outcome::Pass
}

fn a_missing_source_is_dropped_by_the_vpc_and_repaired() -> Outcome {
    let mut lab = lab!(|_| {});
    let table = Table::ipv4("vpc-cni");
    let mut tx = Transaction::new();
    tx.flush_set(&table, "pod-src4");
    nft::Socket::open_in(lab.node.netns()).unwrap().commit(&tx).unwrap();
    refused_probe(&lab.pods[1], None, at(PEER, 7), SILENCE).unwrap();
    let drops = lab.fabric.drops().unwrap();
    let primary = eni(0);
    assert!(drops[primary.id.as_str()].packets > 0, "{drops:?}");
    let before = lab.fabric.total_drops().unwrap();
    for device in 0..3 {
        lab.datapath.set_up_eni(&eni(device)).unwrap();
    }
    for (pod, address) in lab.pods.iter().zip(PODS) {
        flow(pod, at(PEER, 7), address);
    }
    // What the connection above sends again may still come and is right by now.
    assert_eq!(lab.fabric.total_drops().unwrap(), before);
    Outcome::Pass
}

fn an_address_that_moves_works_at_its_new_eni() -> Outcome {
    let mut lab = lab!(|_| {});
    // Another ENI in the same subnet: addresses never leave theirs.
    let mut to = eni_spec(3, &["10.0.1.50/32"]);
    to.primary_ip = ip("10.0.1.11");
    to.subnet_cidr = prefix("10.0.1.0/24");
    let port = EniPort::new(to.id.as_str(), to.mac, "eth3", [10, 0, 1, 11].into(), to.subnet_cidr);
    lab.fabric.attach_eni(&lab.node, &port).unwrap();
    flow(&lab.pods[1], at(PEER, 7), PODS[1]);
    lab.datapath.tear_down_pod(&common::teardown("pod-1", PODS[1])).unwrap();
    // EC2 first, as when an address is given to another ENI.
    let from = eni_spec(1, &["10.0.1.51/32"]);
    lab.fabric.set_owned(from.id.as_str(), &from.sources).unwrap();
    lab.fabric.set_owned(to.id.as_str(), &to.sources).unwrap();
    lab.datapath.set_up_eni(&to).unwrap();
    lab.datapath.set_up_eni(&from).unwrap();
    lab.fabric.settle_links().unwrap();
    lab.add_pod("pod-new", PODS[1]);
    let pod = lab.pods.last().unwrap();
    flow(pod, at(PEER, 7), PODS[1]);
    flow(pod, at(INTERNET, 7), NODE);
    lab.no_drops();
    Outcome::Pass
}

fn late_packets_to_a_pod_that_has_gone_do_not_come_back() -> Outcome {
    let mut lab = lab!(|_| {});
    for (n, address) in PODS.iter().enumerate() {
        lab.datapath.tear_down_pod(&common::teardown(&format!("pod-{n}"), address)).unwrap();
        refused_probe(&lab.peer, None, at(address, 7), SILENCE).unwrap();
        refused_probe(&lab.node, None, at(address, 7), SILENCE).unwrap();
    }
    lab.no_drops();
    // An address that never had a pod, in a prefix.
    refused_probe(&lab.peer, None, at("10.0.2.90", 7), SILENCE).unwrap();
    lab.no_drops();
    Outcome::Pass
}

/// Traffic of all pods in the background while the datapath is set up again and again with changing
/// settings: nothing is dropped by the VPC, and nothing stalls.
fn setting_up_again_under_load_loses_no_packet_to_the_wrong_eni() -> Outcome {
    let mut lab = lab!(|_| {});
    let done = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let workers: Vec<_> = lab
            .pods
            .iter()
            .zip(PODS)
            .map(|(pod, address)| {
                let done = &done;
                scope.spawn(move || {
                    let mut rounds = 0u32;
                    while !done.load(Ordering::Relaxed) {
                        flow(pod, at(PEER, 7), address);
                        flow(pod, at(INTERNET, 7), NODE);
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        for n in 0..60u32 {
            let mut spec = lab.spec.clone();
            if n % 2 == 0 {
                let Snat::Node { exclude, .. } = &mut spec.snat else { unreachable!() };
                exclude.push(prefix("192.0.2.0/24"));
                spec.external_service_cidrs.push(prefix("192.0.2.0/24"));
            }
            spec.node_port = n % 3 == 0;
            lab.datapath.set_up_node(&spec).unwrap();
            for device in 0..3 {
                let mut eni = eni(device);
                if n % 2 == 0 && device == 1 {
                    eni.sources.push(prefix("10.0.1.60/32"));
                }
                lab.datapath.set_up_eni(&eni).unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Relaxed);
        workers.into_iter().map(|w| w.join().unwrap()).min().unwrap()
    });
    assert!(rounds > 1, "no traffic while it was set up");
    lab.no_drops();
    assert_eq!(lab.refused_outbound(), 0);
    Outcome::Pass
}

fn main() -> ExitCode {
    harness::main(&cases![
        pods_and_the_vpc_reach_each_other_by_the_owning_eni,
        pods_reach_the_internet_as_the_node,
        without_translation_pods_keep_their_address_and_their_eni,
        excluded_destinations_see_the_pod,
        pods_of_one_node_reach_each_other_and_the_node,
        node_ports_answer_from_the_node_whichever_eni_the_pod_is_on,
        services_go_where_their_endpoint_is,
        marks_of_others_survive,
        a_strict_reverse_path_filter_on_an_eni_is_fatal_and_repaired,
        a_missing_source_is_dropped_by_the_vpc_and_repaired,
        an_address_that_moves_works_at_its_new_eni,
        late_packets_to_a_pod_that_has_gone_do_not_come_back,
        setting_up_again_under_load_loses_no_packet_to_the_wrong_eni,
    ])
}
