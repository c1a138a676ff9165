//! Pods: wired in two sends, taken down in one, and never anything left over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, process::ExitCode, time::Duration};

use common::{
    DEADLINE, eni_prefix, eventually, ip, netns, pod_spec, ready, teardown, veths, ways_to,
};
use vpc_datapath_linux::{
    cases, layout,
    netlink::{LinkChange, Neighbour, RouteFilter, Socket, VethEnd, add_bridge, add_veth},
    netns::run_in,
    testkit::harness,
};
use vpc_ipam_core::datapath::{Datapath, MAIN_TABLE};

fn a_pod_is_wired_in_two_sends_and_the_host_is_as_it_should_be() {
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
}

fn a_pod_finds_its_address_and_a_way_out() {
    let node = ready();
    let pod = netns();
    let wiring = node.datapath.set_up_pod(&pod_spec("cart", "10.0.1.50", &pod)).unwrap();
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

fn a_late_del_spares_the_pod_that_has_the_address_now() {
    let mut node = ready();
    let pod = netns();
    // Names whose hashes begin with the same 13 bits.
    let wiring = node.datapath.set_up_pod(&pod_spec("job-2869", "10.0.1.50", &pod)).unwrap();
    node.datapath.tear_down_pod(&teardown("job-0", "10.0.1.50")).unwrap();
    assert_eq!(ways_to(&mut node, "10.0.1.50").len(), 2);
    assert!(node.socket.link_by_name(&wiring.host_if).unwrap().unwrap().up);
}

fn main() -> ExitCode {
    harness::main(&cases![
        a_pod_is_wired_in_two_sends_and_the_host_is_as_it_should_be,
        a_pod_finds_its_address_and_a_way_out,
        host_and_pod_reach_each_other,
        a_pod_goes_in_one_send_and_again_in_two,
        adding_twice_leaves_one_of_each,
        a_pod_that_comes_again_replaces_the_link_of_its_name,
        an_address_given_to_another_pod_survives_the_first_ones_late_del,
        a_taken_index_is_no_obstacle,
        a_link_that_cannot_be_checked_by_its_name_goes_down_all_the_same,
        a_late_del_spares_the_pod_that_has_the_address_now,
    ])
}
