//! Pods: wired in two sends, taken down in one, and never anything left over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    Node, eni_prefix, eni_spec, ip, netns, node, node_spec, pod_spec, prefix, snapshot, teardown,
};
use vpc_datapath_linux::{
    LinuxDatapath, cases, layout,
    netlink::{
        Batch, LinkChange, Neighbour, Route, RouteFilter, RouteType, Rule, Socket, VethEnd,
        add_bridge, add_veth,
    },
    netns::{NetnsFd, run_in},
    nft,
    testkit::harness,
};
use vpc_ipam_core::datapath::{Datapath, DatapathErrorKind, MAIN_TABLE};

/// How long a condition that the kernel brings about by itself is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node with its datapath and one ENI that owns the addresses used here.
fn ready() -> Node {
    let node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.48/28"])).unwrap();
    node
}

/// Routes to `address` anywhere, as table and link name.
fn ways_to(node: &mut Node, address: &str) -> Vec<(u32, String)> {
    let dst = prefix(&format!("{address}/32"));
    let links = node.socket.links().unwrap();
    let name = |dev: Option<u32>| {
        links.iter().find(|l| Some(l.index) == dev).map(|l| l.name.clone()).unwrap_or_default()
    };
    let mut routes = node.socket.routes(true, RouteFilter::default()).unwrap();
    routes.retain(|r| r.dst == dst && r.kind == RouteType::Unicast);
    let mut ways: Vec<_> = routes.iter().map(|r| (r.table, name(r.dev))).collect();
    ways.sort();
    ways
}

fn veths(node: &mut Node) -> Vec<String> {
    node.datapath.inventory(&eni_prefix()).unwrap().veths
}

fn a_pod_is_wired_in_two_sends_and_looks_as_it_should() {
    let mut node = ready();
    let pod = netns();
    let before = node.datapath.sends();
    let wiring = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    assert_eq!(node.datapath.sends() - before, 2);
    assert_eq!(wiring.host_if, eni_prefix().host_name(&common::pod_ref("cart"), 0));

    let host = node.socket.link_by_name(&wiring.host_if).unwrap().unwrap();
    assert_eq!((host.mac, host.mtu, host.up), (Some(wiring.host_mac), 9001, true));
    assert_eq!((host.tx_queues, host.rx_queues), (Some(1), Some(1)));
    assert_eq!(wiring.host_mac.0[0] & 3, 2, "locally administered and unicast");
    // A fresh sysfs, so that it shows this namespace.
    nix::mount::mount(
        Some("sysfs"),
        "/sys",
        Some("sysfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    let assigned =
        fs::read_to_string(format!("/sys/class/net/{}/addr_assign_type", host.name)).unwrap();
    assert_eq!(assigned.trim(), "3", "set by us, so that udev leaves it alone");
    for (key, value) in [("accept_ra", "0"), ("accept_redirects", "1"), ("forwarding", "0")] {
        let path = format!("/proc/sys/net/ipv6/conf/{}/{key}", host.name);
        if let Ok(text) = fs::read_to_string(path) {
            assert_eq!(text.trim(), value, "{key}");
        }
    }
    assert_eq!(
        ways_to(&mut node, "10.0.1.50"),
        [(MAIN_TABLE, host.name.clone()), (layout::POD_TABLE, host.name.clone())]
    );
    // Not one rule for the pod.
    assert_eq!(node.socket.rules(true).unwrap().len(), 3 + 4);

    let mut inside = Socket::open_in(&pod).unwrap();
    let links = inside.links().unwrap();
    let eth0 = links.iter().find(|l| l.name == "eth0").unwrap();
    let lo = links.iter().find(|l| l.name == "lo").unwrap();
    assert!(lo.up && eth0.up && links.len() == 2);
    assert_eq!((eth0.mac, eth0.mtu), (Some(wiring.container_mac), 9001));
    assert_eq!((eth0.tx_queues, eth0.rx_queues), (Some(1), Some(1)));
    let addresses = inside.addresses(true).unwrap();
    let addresses: Vec<_> = addresses.iter().filter(|a| a.dev == eth0.index).collect();
    assert_eq!(addresses.len(), 1);
    assert_eq!((addresses[0].ip, addresses[0].len), (ip("10.0.1.50"), 32));
    let main = RouteFilter { table: Some(MAIN_TABLE), dev: None };
    let routes: Vec<_> =
        inside.routes(true, main).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            format!("0.0.0.0/0 via 169.254.1.1 dev {} table 254", eth0.index),
            format!("169.254.1.1/32 dev {} scope link table 254", eth0.index)
        ]
    );
    let neighbours = inside.neighbours(true).unwrap();
    let gateway = Neighbour::permanent(eth0.index, ip("169.254.1.1"), wiring.host_mac);
    assert!(neighbours.contains(&gateway), "{neighbours:?}");
    assert_eq!(neighbours.iter().filter(|n| n.permanent).count(), 1);
}

fn host_and_pod_reach_each_other() {
    let node = ready();
    let pod = netns();
    node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    let echo = run_in(&pod, || std::net::UdpSocket::bind("10.0.1.50:7").unwrap()).unwrap();
    let here = std::net::UdpSocket::bind("10.0.0.10:0").unwrap();
    echo.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    here.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buf = [0; 16];
    let mut arrived = None;
    // The kernel starts the links' queues in the background; what comes before that is lost.
    eventually("a packet reaches the pod", || {
        here.send_to(b"ping", "10.0.1.50:7").unwrap();
        arrived = echo.recv_from(&mut buf).ok();
        arrived.is_some()
    });
    let (len, from) = arrived.unwrap();
    assert_eq!(&buf[..len], b"ping");
    echo.send_to(b"pong", from).unwrap();
    let (len, from) = here.recv_from(&mut buf).unwrap();
    assert_eq!((&buf[..len], from), (&b"pong"[..], "10.0.1.50:7".parse().unwrap()));
}

fn a_pod_goes_in_one_send_and_again_in_two() {
    let mut node = ready();
    let empty = node.snapshot();
    let pod = netns();
    node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    let before = node.datapath.sends();
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    assert_eq!(node.datapath.sends() - before, 1);
    assert_eq!(ways_to(&mut node, "10.0.1.50"), []);
    let left = veths(&mut node);
    assert_eq!(left.len(), 1);
    assert!(!node.socket.link_by_name(&left[0]).unwrap().unwrap().up);

    // Again, and for a pod that never was; both find nothing.
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    node.datapath.tear_down_pod(&teardown("ghost", "10.0.1.51")).unwrap();
    // The link goes with the namespace.
    drop(pod);
    eventually("the veth dies with its namespace", || veths(&mut node).is_empty());
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    let after = node.snapshot();
    assert_eq!(after.rules, empty.rules);
    assert_eq!(after.routes, empty.routes);
    assert_eq!(after.links, empty.links);
    assert_eq!(after.generation, empty.generation, "the plugin never writes nftables");
}

fn adding_twice_leaves_one_of_each() {
    let mut node = ready();
    let pod = netns();
    let spec = pod_spec("cart", "10.0.1.50", &pod);
    let first = node.datapath.set_up_pod(&spec).unwrap();
    let second = node.datapath.set_up_pod(&spec).unwrap();
    assert_eq!(veths(&mut node), std::slice::from_ref(&second.host_if));
    assert_eq!(ways_to(&mut node, "10.0.1.50").len(), 2);
    let host = node.socket.link_by_name(&second.host_if).unwrap().unwrap();
    assert_eq!(host.mac, Some(second.host_mac));
    assert_ne!(first.host_mac, second.host_mac);
    let mut inside = Socket::open_in(&pod).unwrap();
    assert_eq!(inside.links().unwrap().len(), 2);
    assert_eq!(inside.neighbours(true).unwrap().iter().filter(|n| n.permanent).count(), 1);
}

fn a_pod_that_comes_again_replaces_the_link_of_its_name() {
    let mut node = ready();
    let (old, new) = (netns(), netns());
    node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &old)).unwrap();
    // Same name, other sandbox and address; the old one's DEL never came.
    node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.51", &new)).unwrap();
    assert_eq!(veths(&mut node).len(), 1);
    assert_eq!(ways_to(&mut node, "10.0.1.50"), []);
    assert_eq!(ways_to(&mut node, "10.0.1.51").len(), 2);
    assert_eq!(Socket::open_in(&old).unwrap().links().unwrap().len(), 1);

    // Now the old one's DEL comes, twice.
    for _ in 0..2 {
        node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    }
    assert_eq!(ways_to(&mut node, "10.0.1.51").len(), 2);
    let name = veths(&mut node).remove(0);
    let link = node.socket.link_by_name(&name).unwrap().unwrap();
    assert!(link.up && link.carrier);
}

fn an_address_given_to_another_pod_survives_the_first_ones_late_del() {
    let mut node = ready();
    let (first, second) = (netns(), netns());
    node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &first)).unwrap();
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    let wiring = node.datapath.set_up_pod(&pod_spec("shop", "10.0.1.50", &second)).unwrap();
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    let ways = ways_to(&mut node, "10.0.1.50");
    assert_eq!(ways.len(), 2);
    assert!(ways.iter().all(|(_, name)| *name == wiring.host_if), "{ways:?}");
    assert!(node.socket.link_by_name(&wiring.host_if).unwrap().unwrap().up);
}

fn a_taken_index_is_no_obstacle() {
    let mut node = ready();
    let (probe, pod) = (netns(), netns());
    // Find out which index the pod's link would get, and give it to something else.
    let wiring = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &probe)).unwrap();
    let link = node.socket.link_by_name(&wiring.host_if).unwrap().unwrap();
    node.socket.request(vpc_datapath_linux::netlink::delete_link(link.index)).unwrap();
    let squatter = VethEnd { index: Some(link.index), up: true, ..VethEnd::new("squatter") };
    node.socket.request(add_veth(&squatter, &VethEnd::new("squatted"))).unwrap();

    let wiring = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    let ways = ways_to(&mut node, "10.0.1.50");
    assert!(ways.len() == 2 && ways.iter().all(|(_, name)| *name == wiring.host_if), "{ways:?}");
    // DEL finds it by its name and its route, and leaves the other one alone.
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    assert_eq!(ways_to(&mut node, "10.0.1.50"), []);
    assert!(!node.socket.link_by_name(&wiring.host_if).unwrap().unwrap().up);
    assert!(node.socket.link_by_name("squatter").unwrap().unwrap().up);
}

fn a_link_that_cannot_be_checked_by_its_name_goes_down_all_the_same() {
    let mut node = ready();
    let pod = netns();
    let wiring = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    // Kernels before 6.2 refuse a name for a link that is up; here another link has it.
    let index = node.socket.link_by_name(&wiring.host_if).unwrap().unwrap().index;
    node.socket.request(LinkChange::of_index(index).rename("moved").request()).unwrap();
    node.socket.request(add_bridge(&wiring.host_if, true)).unwrap();
    node.datapath.tear_down_pod(&teardown("cart", "10.0.1.50")).unwrap();
    assert_eq!(ways_to(&mut node, "10.0.1.50"), []);
    assert!(!node.socket.link_by_name("moved").unwrap().unwrap().up);
    assert!(node.socket.link_by_name(&wiring.host_if).unwrap().unwrap().up);
}

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

fn main() -> ExitCode {
    harness::main(&cases![
        a_pod_is_wired_in_two_sends_and_looks_as_it_should,
        host_and_pod_reach_each_other,
        a_pod_goes_in_one_send_and_again_in_two,
        adding_twice_leaves_one_of_each,
        a_pod_that_comes_again_replaces_the_link_of_its_name,
        an_address_given_to_another_pod_survives_the_first_ones_late_del,
        a_taken_index_is_no_obstacle,
        a_link_that_cannot_be_checked_by_its_name_goes_down_all_the_same,
        whichever_step_fails_nothing_of_the_pod_remains,
        what_is_in_the_way_is_named_and_left_alone,
        impossible_pods_are_refused_by_kind,
        a_pod_in_the_nodes_own_namespace_is_refused,
        pods_wired_by_older_code_are_taken_down_too,
        dead_links_are_swept_and_living_ones_kept,
        pods_come_and_go_in_parallel_without_a_trace,
    ])
}
