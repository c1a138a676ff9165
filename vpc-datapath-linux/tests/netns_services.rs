//! The flat layout beside kube-proxy and others, and what happens when somebody breaks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[macro_use]
mod common;

use std::process::ExitCode;

use common::{
    ip,
    lab::{INTERNET, NODE, PEER, PODS, SILENCE, at, eni, flow},
    prefix,
};
use vpc_datapath_linux::{
    cases,
    netlink::{LinkChange, Socket},
    nft::{self, Chain, ChainKind, Hook, Table, Transaction},
    testkit::{
        harness::{self, Outcome},
        probe::{ProbeSpec, refused_probe, tcp_probe},
    },
};
use vpc_ipam_core::datapath::{Datapath, NodeSpec, Snat};

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

fn main() -> ExitCode {
    harness::main(&cases![
        node_ports_answer_from_the_node_whichever_eni_the_pod_is_on,
        services_go_where_their_endpoint_is,
        marks_of_others_survive,
        a_strict_reverse_path_filter_on_an_eni_is_fatal_and_repaired,
        a_missing_source_is_dropped_by_the_vpc_and_repaired,
    ])
}
