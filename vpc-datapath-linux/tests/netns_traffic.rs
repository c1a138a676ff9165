//! Packets through the flat layout: every flow leaves by the ENI that owns its source, and a router
//! that drops what AWS would drop has nothing to drop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[macro_use]
mod common;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use common::{
    eni_spec, ip,
    lab::{INTERNET, NODE, PEER, PODS, SILENCE, at, eni, flow},
    prefix, teardown,
};
use vpc_datapath_linux::{
    cases,
    testkit::{
        fabric::EniPort,
        harness::{self, Outcome},
        probe::{ProbeSpec, refused_probe, tcp_probe, udp_probe},
    },
};
use vpc_ipam_core::datapath::{Datapath, NodeSpec, Snat};

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

fn pods_wired_under_another_prefix_keep_their_network() -> Outcome {
    let mut lab = lab!(|_| {});
    let mut spec = lab.spec.clone();
    spec.veth_prefix = "vpc".to_owned();
    lab.datapath.set_up_node(&spec).unwrap();
    for (pod, address) in lab.pods.iter().zip(PODS) {
        flow(pod, at(PEER, 7), address);
        flow(pod, at(INTERNET, 7), NODE);
    }
    lab.no_drops();
    // With the last of them their rules go.
    for (n, address) in PODS.iter().enumerate() {
        lab.datapath.tear_down_pod(&teardown(&format!("pod-{n}"), address)).unwrap();
    }
    let steps = lab.datapath.plan_node(&spec).unwrap();
    assert_eq!(steps.len(), 1, "{steps:?}");
    lab.datapath.set_up_node(&spec).unwrap();
    assert!(lab.datapath.plan_node(&spec).unwrap().is_empty());
    Outcome::Pass
}

fn main() -> ExitCode {
    harness::main(&cases![
        pods_and_the_vpc_reach_each_other_by_the_owning_eni,
        pods_reach_the_internet_as_the_node,
        without_translation_pods_keep_their_address_and_their_eni,
        excluded_destinations_see_the_pod,
        pods_of_one_node_reach_each_other_and_the_node,
        an_address_that_moves_works_at_its_new_eni,
        late_packets_to_a_pod_that_has_gone_do_not_come_back,
        setting_up_again_under_load_loses_no_packet_to_the_wrong_eni,
        pods_wired_under_another_prefix_keep_their_network,
    ])
}
