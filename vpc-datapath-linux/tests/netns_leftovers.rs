//! What pods leave behind: nothing, whatever fails, whoever wired them, however many at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{
    Node, eni_prefix, eni_spec, eventually, ip, netns, node_spec, pod_spec, prefix, ready,
    snapshot, teardown, veths, ways_to,
};
use vpc_datapath_linux::{
    LinuxDatapath, cases, layout,
    netlink::{Batch, LinkChange, Route, Rule, Socket, VethEnd, add_bridge, add_veth, delete_link},
    netns::NetnsFd,
    nft,
    testkit::harness,
};
use vpc_ipam_core::datapath::{Datapath, DatapathErrorKind, MAIN_TABLE};

/// Everything that wiring could leave behind, in the node and in the pod.
fn traces(node: &mut Node, pod: &NetnsFd) -> String {
    let mut here = node.snapshot();
    here.generation = 0;
    let mut socket = Socket::open_in(pod).unwrap();
    let mut nft = nft::Socket::open_in(pod).unwrap();
    let mut inside = snapshot(&mut socket, &mut nft);
    // Loopback is up already when the first test of this kind looks.
    inside.links.retain(|l| l.name != "lo");
    inside.addresses.retain(|a| a.dev != 1);
    inside.routes.retain(|r| r.dev != Some(1));
    format!("{here:#?}\n{inside:#?}")
}

fn whichever_step_fails_nothing_of_the_pod_remains() {
    let mut node = ready();
    let pod = netns();
    let clean = traces(&mut node, &pod);
    for nth in 0..9 {
        node.datapath.inject_fault(Some(nth));
        let error = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap_err();
        assert!(error.object == "pod shop/cart" && error.message.contains("set link"), "{error}");
        assert_eq!(traces(&mut node, &pod), clean, "message {nth}");
    }
    node.datapath.inject_fault(Some(9));
    node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    node.datapath.inject_fault(None);
    assert_ne!(traces(&mut node, &pod), clean);
}

fn what_is_in_the_way_is_named_and_left_alone() {
    let mut node = ready();
    // A pod that has the interface already, from somebody else.
    let pod = netns();
    let mut inside = Socket::open_in(&pod).unwrap();
    inside.request(add_bridge("eth0", true)).unwrap();
    let clean = traces(&mut node, &pod);
    let error = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap_err();
    assert!(error.message.contains("has an interface eth0 already"), "{error}");
    assert_eq!(traces(&mut node, &pod), clean);

    // A pod that has a default route already.
    let pod = netns();
    let mut inside = Socket::open_in(&pod).unwrap();
    inside.request(add_bridge("br0", true)).unwrap();
    let bridge = inside.link_by_name("br0").unwrap().unwrap().index;
    inside.request(Route::default_route(true).dev(bridge).on_link().add()).unwrap();
    let clean = traces(&mut node, &pod);
    let error = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap_err();
    assert!(error.message.contains("add route 0.0.0.0/0 via 169.254.1.1"), "{error}");
    assert_eq!(traces(&mut node, &pod), clean);

    // A host link of the pod's name that is no veth.
    let pod = netns();
    let name = eni_prefix().host_name(&common::pod_ref("cart"), 0);
    node.socket.request(add_bridge(&name, true)).unwrap();
    let error = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap_err();
    assert!(error.message.contains("bridge device that is not ours"), "{error}");
    assert!(node.socket.link_by_name(&name).unwrap().is_some());
}

fn impossible_pods_are_refused_by_kind() {
    let node = ready();
    let pod = netns();
    let spec = pod_spec("cart", "10.0.1.50", &pod);
    let refuse = |change: &dyn Fn(&mut vpc_ipam_core::datapath::PodSpec)| {
        let mut spec = spec.clone();
        change(&mut spec);
        node.datapath.set_up_pod(&spec).unwrap_err().kind
    };
    assert_eq!(refuse(&|s| s.netns = "/run/netns/gone".into()), DatapathErrorKind::NetnsMissing);
    assert_eq!(refuse(&|s| s.netns = "/dev/null".into()), DatapathErrorKind::NetnsMissing);
    assert_eq!(refuse(&|s| s.addresses.clear()), DatapathErrorKind::Other);
    assert_eq!(refuse(&|s| s.veth_prefix = "vlan".into()), DatapathErrorKind::Other);
    assert_eq!(refuse(&|s| s.mtu = 60), DatapathErrorKind::Other);
    let v6 = |s: &mut vpc_ipam_core::datapath::PodSpec| s.addresses[0].ip = ip("2001:db8::1");
    assert_eq!(refuse(&v6), DatapathErrorKind::NotSupported);
    assert!(node.datapath.inventory(&eni_prefix()).unwrap().veths.is_empty());
}

fn a_pod_in_the_nodes_own_namespace_is_refused() {
    let mut node = ready();
    let own = NetnsFd::current().unwrap();
    let before = node.snapshot();
    let error = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &own)).unwrap_err();
    assert!(error.message.contains("node's own"), "{error}");
    assert_eq!(node.snapshot(), before);
}

fn pods_wired_by_older_code_are_taken_down_too() {
    let mut node = ready();
    let pod = netns();
    // The classic way: a route in main, a rule to and rules from the pod, one of them twice over.
    let name = eni_prefix().host_name(&common::pod_ref("cart"), 0);
    let host = VethEnd { up: true, ..VethEnd::new(&name) };
    let peer = VethEnd { netns: Some(pod.clone()), ..VethEnd::new("eth0") };
    node.socket.request(add_veth(&host, &peer)).unwrap();
    let index = node.socket.link_by_name(&name).unwrap().unwrap().index;
    let dst = prefix("10.0.1.50/32");
    let before = node.socket.rules(true).unwrap();
    node.socket
        .run(&Batch::from_iter([
            Route::to(dst).dev(index).on_link().add(),
            Rule::lookup(512, MAIN_TABLE).to(dst).add(),
            Rule::lookup(1536, 2).from(dst).add(),
            Rule::lookup(1536, 3).from(dst).add(),
            Rule::lookup(1536, 2).from(prefix("10.0.1.51/32")).add(),
        ]))
        .unwrap();
    assert_eq!(node.datapath.leftovers(&eni_prefix(), &[]).unwrap().len(), 4 + 1);
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    assert_eq!(ways_to(&mut node, "10.0.1.50"), []);
    assert!(!node.socket.link_by_name(&name).unwrap().unwrap().up);
    let mut after = node.socket.rules(true).unwrap();
    after.retain(|r| !before.contains(r));
    let after: Vec<_> = after.iter().map(ToString::to_string).collect();
    assert_eq!(after, ["1536: from 10.0.1.51/32 lookup 2"]);
}

fn dead_links_are_swept_and_living_ones_kept() {
    let mut node = ready();
    let pods: Vec<_> = (0..5).map(|_| netns()).collect();
    let name = |n: usize| format!("cart-{n}");
    let address = |n: usize| format!("10.0.1.{}", 50 + n);
    for (n, pod) in pods.iter().enumerate() {
        node.datapath.set_up_pod(&pod_spec(&name(n), &address(n), pod)).unwrap();
    }
    // Up but without its routes, which somebody deleted: not dead.
    for table in [MAIN_TABLE, layout::POD_TABLE] {
        let way = Route::to(prefix(&format!("{}/32", address(4)))).on_link().table(table);
        node.socket.request(way.protocol(layout::PROTOCOL).delete()).unwrap();
    }
    assert_eq!(node.datapath.sweep_dead_links(&eni_prefix()).unwrap(), 0);
    let live: Vec<_> =
        (3..5).map(|n| eni_prefix().host_name(&common::pod_ref(&name(n)), 0)).collect();
    // Three without their DEL: what is left of them is told.
    let lost = node.datapath.leftovers(&eni_prefix(), &live).unwrap();
    assert_eq!((lost.veths.len(), lost.routes.len(), lost.rules.len()), (3, 6, 0));
    for n in 0..3 {
        node.datapath.tear_down_pod(&teardown(&name(n), &address(n))).unwrap();
    }
    assert_eq!(node.datapath.sweep_dead_links(&eni_prefix()).unwrap(), 3);
    let mut left = veths(&mut node);
    left.sort();
    let mut live = live;
    live.sort();
    assert_eq!(left, live);
    assert!(node.datapath.leftovers(&eni_prefix(), &live).unwrap().is_empty());
    assert!(node.socket.link_by_name("eth1").unwrap().is_some());
}

fn pods_come_and_go_in_parallel_without_a_trace() {
    let mut node = ready();
    let before = node.snapshot();
    let datapath = Arc::new(LinuxDatapath::open().unwrap());
    let workers: Vec<_> = (0..4u32)
        .map(|worker| {
            let datapath = Arc::clone(&datapath);
            std::thread::spawn(move || {
                for round in 0..12u32 {
                    let (name, address) =
                        (format!("w{worker}-{round}"), format!("10.0.{}.{}", 10 + worker, round));
                    let pod = netns();
                    datapath.set_up_pod(&pod_spec(&name, &address, &pod)).unwrap();
                    datapath.tear_down_pod(&teardown(&name, &address)).unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    eventually("the veths die with their namespaces", || veths(&mut node).is_empty());
    assert_eq!(node.snapshot(), before);
    assert_eq!(datapath.sends(), 4 * 12 * 3);
}

fn a_failure_with_a_taken_index_leaves_the_link_that_has_it_alone() {
    let mut node = ready();
    let (probe, pod) = (netns(), netns());
    let wiring = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &probe)).unwrap();
    let link = node.socket.link_by_name(&wiring.host_if).unwrap().unwrap();
    node.socket.request(delete_link(link.index)).unwrap();
    let squatter = VethEnd { index: Some(link.index), up: true, ..VethEnd::new("squatter") };
    node.socket.request(add_veth(&squatter, &VethEnd::new("squatted"))).unwrap();
    let clean = traces(&mut node, &pod);
    for nth in 0..9 {
        node.datapath.inject_fault(Some(nth));
        node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap_err();
        assert_eq!(traces(&mut node, &pod), clean, "message {nth}");
    }
}

fn the_sweep_spares_a_pod_that_got_the_index_of_a_dead_link() {
    let mut node = ready();
    let pods = [netns(), netns()];
    let living = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pods[0])).unwrap();
    node.datapath.set_up_pod(&pod_spec("gone", "10.0.1.51", &pods[1])).unwrap();
    node.datapath.tear_down_pod(&teardown("gone", "10.0.1.51")).unwrap();
    // Between the sweep's look at a dead link and its mark, the link's pod came again: the mark is on a
    // living link.
    let mark = LinkChange::of_name(&living.host_if).group(0x0056_5043);
    node.socket.request(mark.request()).unwrap();
    node.datapath.sweep_dead_links(&eni_prefix()).unwrap();
    assert_eq!(veths(&mut node), std::slice::from_ref(&living.host_if));
    assert_eq!(ways_to(&mut node, "10.0.1.50").len(), 2);
    assert_eq!(node.socket.link_by_name(&living.host_if).unwrap().unwrap().group, 0);
}

fn pods_come_and_go_while_what_their_eni_owns_changes() {
    let mut node = ready();
    let daemon = LinuxDatapath::open().unwrap();
    let done = AtomicBool::new(false);
    let whole: &[&str] = &["10.0.1.48/28"];
    let parts: &[&str] = &["10.0.1.50/32", "10.0.1.51/32"];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let changes = [whole, parts, &[]].into_iter().cycle();
            for sources in changes.take_while(|_| !done.load(Ordering::Relaxed)) {
                daemon.set_up_eni(&eni_spec(1, sources)).unwrap();
                daemon.set_up_node(&node_spec()).unwrap();
            }
        });
        let mut lost = Vec::new();
        for round in 0..60 {
            let pod = netns();
            node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
            lost.extend((ways_to(&mut node, "10.0.1.50").len() != 2).then_some(round));
            node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
            lost.extend((!ways_to(&mut node, "10.0.1.50").is_empty()).then_some(round));
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(lost, Vec::<i32>::new());
    });
    node.datapath.set_up_eni(&eni_spec(1, &[])).unwrap();
    assert_eq!(node.routes_in(layout::POD_TABLE), []);
}

fn main() -> ExitCode {
    harness::main(&cases![
        whichever_step_fails_nothing_of_the_pod_remains,
        what_is_in_the_way_is_named_and_left_alone,
        impossible_pods_are_refused_by_kind,
        a_pod_in_the_nodes_own_namespace_is_refused,
        pods_wired_by_older_code_are_taken_down_too,
        dead_links_are_swept_and_living_ones_kept,
        pods_come_and_go_in_parallel_without_a_trace,
        pods_come_and_go_while_what_their_eni_owns_changes,
        a_failure_with_a_taken_index_leaves_the_link_that_has_it_alone,
        the_sweep_spares_a_pod_that_got_the_index_of_a_dead_link,
    ])
}
