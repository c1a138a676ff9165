//! The VPC fabric alone: nodes are wired by hand, so that nothing but the fabric is under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use vpc_datapath_linux::{
    cases,
    netlink::{
        Address, LinkChange, Neighbour, Route, RouteFilter, Rule, Socket, VethEnd, add_veth,
    },
    nft,
    testkit::{
        fabric::{DropCount, EniPort, Fabric, FabricConfig, FabricError},
        harness::{self, Outcome},
        ns::{Namespace, NodeNs, NodeOptions, PodNs},
        probe::{
            self, EchoServer, ProbeOutcome, ProbeSpec, poll_until, refused_probe, tcp_probe,
            udp_probe,
        },
    },
};
use vpc_ipam_core::{addr::Prefix, id::MacAddr};

const INTERNET: &str = "198.51.100.10";
/// How long a packet that must not arrive is waited for.
const SILENCE: Duration = Duration::from_millis(400);
const LIMIT: Duration = Duration::from_secs(5);

/// Makes this program report from a namespace instead of testing.
const ROLE: &str = "FABRIC_NETWORK_ROLE";

fn main() -> ExitCode {
    if std::env::var_os(ROLE).is_some() {
        print!("{}", namespaces());
        return ExitCode::SUCCESS;
    }
    harness::main(&cases![
        packets_flow_between_nodes,
        packets_flow_between_subnets,
        a_spoofed_source_is_dropped_counted_and_explained,
        a_moved_address_works_at_its_new_eni_and_not_at_the_old,
        a_prefix_is_owned_as_a_whole,
        only_primary_addresses_of_primary_enis_reach_the_internet,
        the_internet_reaches_primary_addresses_only,
        addresses_of_nobody_lead_nowhere,
        full_packets_cross_the_vpc_and_too_large_ones_are_told_of_the_internet,
        arp_finds_the_subnet_and_nothing_else,
        a_detached_eni_is_gone_and_its_drops_stay,
        mistakes_are_refused_and_leave_nothing,
        nodes_have_files_and_links_of_their_own,
        pods_come_and_go_with_their_paths,
        programs_start_inside,
    ])
}

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn prefix(s: &str) -> Prefix {
    s.parse().unwrap()
}

fn at(s: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(s), port)
}

fn mac(n: u8) -> MacAddr {
    MacAddr([0x02, 0, 0, 0, 0, n])
}

/// Two nodes with a primary ENI each in 10.0.0.0/24, and 10.0.1.0/24 for more.
struct Vpc {
    fabric: Fabric,
    a: NodeNs,
    b: NodeNs,
}

fn vpc() -> Result<Vpc, Outcome> {
    probe::nf_tables()?;
    let config = FabricConfig::new(&[prefix("10.0.0.0/16")], INTERNET.parse().unwrap());
    let mut fabric = Fabric::new(&config).unwrap();
    let subnet = prefix("10.0.0.0/24");
    fabric.add_subnet(subnet).unwrap();
    fabric.add_subnet(prefix("10.0.1.0/24")).unwrap();
    let a = fabric.add_node("node-a", &NodeOptions::default()).unwrap();
    let b = fabric.add_node("node-b", &NodeOptions::default()).unwrap();
    let eni_a = EniPort::new("eni-a0", mac(10), "eth0", [10, 0, 0, 10].into(), subnet).primary();
    let eni_b = EniPort::new("eni-b0", mac(11), "eth0", [10, 0, 0, 11].into(), subnet).primary();
    fabric.attach_eni(&a, &eni_a).unwrap();
    fabric.attach_eni(&b, &eni_b).unwrap();
    Ok(Vpc { fabric, a, b })
}

/// Gives the node an address as if a pod had it.
fn add_address(node: &NodeNs, if_name: &str, address: &str) {
    let mut socket = Socket::open_in(node.netns()).unwrap();
    let link = socket.link_by_name(if_name).unwrap().unwrap();
    socket.request(Address::new(link.index, ip(address), 32).add()).unwrap();
}

fn delete_address(node: &NodeNs, if_name: &str, address: &str) {
    let mut socket = Socket::open_in(node.netns()).unwrap();
    let link = socket.link_by_name(if_name).unwrap().unwrap();
    socket.request(Address::new(link.index, ip(address), 32).delete()).unwrap();
}

fn pass(outcome: ProbeOutcome) -> SocketAddr {
    outcome.into_result().unwrap()
}

/// Whether a datagram from `source` in `node` arrives at `to` in `there`. One way only: answers go
/// by other rules.
fn arrives(node: &NodeNs, source: &str, there: &Namespace, to: SocketAddr) -> bool {
    arrives_within(LIMIT, node, source, there, to)
}

fn stays_out(node: &NodeNs, source: &str, there: &Namespace, to: SocketAddr) -> bool {
    !arrives_within(SILENCE, node, source, there, to)
}

fn arrives_within(
    limit: Duration,
    node: &NodeNs,
    source: &str,
    there: &Namespace,
    to: SocketAddr,
) -> bool {
    let receiver = there.bind_udp(to).unwrap();
    receiver.set_read_timeout(Some(limit)).unwrap();
    let sender = node.bind_udp(at(source, 0)).unwrap();
    sender.send_to(b"hello", to).unwrap();
    let mut buffer = [0; 16];
    match receiver.recv_from(&mut buffer) {
        Ok((n, from)) => {
            assert_eq!((&buffer[..n], from.ip()), (&b"hello"[..], ip(source)));
            true
        }
        Err(_) => false,
    }
}

fn no_drops(fabric: &mut Fabric) {
    let explained: Vec<_> =
        fabric.dropped_sources().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(fabric.total_drops().unwrap(), DropCount::default(), "{explained:?}");
}

/// Runs a case that needs a [`Vpc`], or skips it.
macro_rules! with_vpc {
    ($vpc:ident) => {
        #[allow(unused_mut)]
        let mut $vpc = match vpc() {
            Ok(vpc) => vpc,
            Err(skip) => return skip,
        };
    };
}

fn packets_flow_between_nodes() -> Outcome {
    with_vpc!(v);
    let tcp = EchoServer::tcp(&v.b, at("10.0.0.11", 7)).unwrap();
    let udp = EchoServer::udp(&v.b, at("10.0.0.11", 7)).unwrap();
    let spec = ProbeSpec::new().round_trips(100).expect_peer(ip("10.0.0.10"));
    pass(tcp_probe(&v.a, None, tcp.addr(), &spec));
    pass(udp_probe(&v.a, None, udp.addr(), &spec));
    let wrong = spec.expect_peer(ip("10.0.0.99"));
    assert!(matches!(tcp_probe(&v.a, None, tcp.addr(), &wrong), ProbeOutcome::WrongPeer { .. }));
    no_drops(&mut v.fabric);
    Outcome::Pass
}

fn packets_flow_between_subnets() -> Outcome {
    with_vpc!(v);
    // Addresses of other nodes in the same subnet are looked for by ARP, others by the gateway.
    v.fabric.set_owned("eni-b0", &[prefix("10.0.0.50/32")]).unwrap();
    add_address(&v.b, "eth0", "10.0.0.50");
    let near = EchoServer::tcp(&v.b, at("10.0.0.50", 7)).unwrap();
    pass(tcp_probe(&v.a, None, near.addr(), &ProbeSpec::new()));

    let subnet = prefix("10.0.1.0/24");
    let eni = EniPort::new("eni-b1", mac(21), "eth1", [10, 0, 1, 11].into(), subnet).rp_filter(2);
    v.fabric.attach_eni(&v.b, &eni).unwrap();
    secondary(&mut v.fabric, &v.b, "eth1", "10.0.1.11", 2);
    let far = EchoServer::tcp(&v.b, at("10.0.1.11", 7)).unwrap();
    pass(tcp_probe(&v.a, None, far.addr(), &ProbeSpec::new().expect_peer(ip("10.0.0.10"))));
    no_drops(&mut v.fabric);
    Outcome::Pass
}

/// Sets up a secondary ENI as a CNI does.
fn secondary(fabric: &mut Fabric, node: &NodeNs, if_name: &str, address: &str, table: u32) {
    let mut socket = Socket::open_in(node.netns()).unwrap();
    let link = socket.link_by_name(if_name).unwrap().unwrap();
    assert!(!link.up, "a secondary ENI comes unconfigured");
    let gateway = ip("10.0.1.1");
    let changes = [
        LinkChange::of_index(link.index).up().request(),
        Address::new(link.index, ip(address), 24).without_prefix_route().add(),
        Route::to(Prefix::host(gateway)).dev(link.index).on_link().table(table).add(),
        Route::default_route(true).via(gateway).dev(link.index).table(table).add(),
        Rule::lookup(1536, table).from(Prefix::host(ip(address))).add(),
    ];
    socket.run(&changes.into_iter().collect()).unwrap();
    fabric.settle_links().unwrap();
}

fn a_spoofed_source_is_dropped_counted_and_explained() -> Outcome {
    with_vpc!(v);
    let server = EchoServer::tcp(&v.b, at("10.0.0.11", 7)).unwrap();
    add_address(&v.a, "eth0", "10.0.0.50");
    assert!(arrives(&v.a, "10.0.0.10", &v.b, at("10.0.0.11", 9)));
    no_drops(&mut v.fabric);
    assert!(stays_out(&v.a, "10.0.0.50", &v.b, at("10.0.0.11", 9)));
    let drops = v.fabric.drops().unwrap();
    // Headers of 28 bytes and a payload of 5.
    assert_eq!(drops["eni-a0"], DropCount { packets: 1, bytes: 33 });
    assert_eq!(drops["eni-b0"], DropCount::default());
    let sources = v.fabric.dropped_sources().unwrap();
    let texts: Vec<_> = sources.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["eth0 of node-a sent from 10.0.0.50, which eni-a0 does not own"]);

    refused_probe(&v.a, Some(ip("10.0.0.50")), server.addr(), SILENCE).unwrap();

    // Once it owns the address, the same packets pass, and nothing more is counted.
    v.fabric.set_owned("eni-a0", &[prefix("10.0.0.50/32")]).unwrap();
    let before = v.fabric.total_drops().unwrap();
    let spec = ProbeSpec::new().expect_peer(ip("10.0.0.50"));
    pass(tcp_probe(&v.a, Some(ip("10.0.0.50")), server.addr(), &spec));
    assert_eq!(v.fabric.total_drops().unwrap(), before);

    // Addresses of nobody's VPC are martians here.
    add_address(&v.a, "eth0", "169.254.7.7");
    assert!(stays_out(&v.a, "169.254.7.7", &v.b, at("10.0.0.11", 9)));
    assert!(v.fabric.total_drops().unwrap().packets > before.packets);
    Outcome::Pass
}

fn a_moved_address_works_at_its_new_eni_and_not_at_the_old() -> Outcome {
    with_vpc!(v);
    let pod = prefix("10.0.0.50/32");
    let target = EchoServer::tcp(&v.b, at("10.0.0.11", 7)).unwrap();
    // By UDP: the closing segments of a connection would be dropped, and counted, after the move.
    let datagrams = EchoServer::udp(&v.b, at("10.0.0.11", 7)).unwrap();
    let spec = ProbeSpec::new().expect_peer(ip("10.0.0.50"));
    add_address(&v.a, "eth0", "10.0.0.50");
    v.fabric.set_owned("eni-a0", &[pod]).unwrap();
    pass(udp_probe(&v.a, Some(ip("10.0.0.50")), datagrams.addr(), &spec));

    // Taken by another ENI without being given up first, as after a lost release.
    v.fabric.set_owned("eni-b0", &[pod]).unwrap();
    add_address(&v.b, "eth0", "10.0.0.50");
    let back = EchoServer::tcp(&v.a, at("10.0.0.10", 7)).unwrap();
    delete_address(&v.a, "eth0", "10.0.0.50");
    pass(tcp_probe(&v.b, Some(ip("10.0.0.50")), back.addr(), &spec));
    no_drops(&mut v.fabric);
    add_address(&v.a, "eth0", "10.0.0.50");
    refused_probe(&v.a, Some(ip("10.0.0.50")), target.addr(), SILENCE).unwrap();
    let dropped = v.fabric.dropped_sources().unwrap();
    assert!(dropped[0].to_string().ends_with("(eni-b0 does)"), "{dropped:?}");

    // Given up, it goes nowhere.
    v.fabric.set_owned("eni-b0", &[]).unwrap();
    refused_probe(&v.b, Some(ip("10.0.0.50")), back.addr(), SILENCE).unwrap();
    assert!(v.fabric.drops().unwrap()["eni-b0"].packets > 0);
    Outcome::Pass
}

fn a_prefix_is_owned_as_a_whole() -> Outcome {
    with_vpc!(v);
    let target = EchoServer::udp(&v.b, at("10.0.0.11", 7)).unwrap();
    // Neighbouring intervals, and one that ends where the next begins.
    let owned = [prefix("10.0.0.64/28"), prefix("10.0.0.80/28"), prefix("10.0.0.96/32")];
    v.fabric.set_owned("eni-a0", &owned).unwrap();
    for address in ["10.0.0.64", "10.0.0.79", "10.0.0.80", "10.0.0.95", "10.0.0.96"] {
        add_address(&v.a, "eth0", address);
        pass(udp_probe(&v.a, Some(ip(address)), target.addr(), &ProbeSpec::new()));
    }
    no_drops(&mut v.fabric);
    v.fabric.set_owned("eni-a0", &[prefix("10.0.0.80/28")]).unwrap();
    for (address, works) in
        [("10.0.0.79", false), ("10.0.0.80", true), ("10.0.0.95", true), ("10.0.0.96", false)]
    {
        let timeout = if works { LIMIT } else { SILENCE };
        let spec = ProbeSpec::new().timeout(timeout);
        let outcome = udp_probe(&v.a, Some(ip(address)), target.addr(), &spec);
        assert_eq!(outcome.is_ok(), works, "{address}: {outcome}");
    }
    // A prefix gives way to one of its addresses, and comes back.
    for (owned, works) in [("10.0.0.80/32", false), ("10.0.0.80/28", true)] {
        v.fabric.set_owned("eni-a0", &[prefix(owned)]).unwrap();
        assert!(arrives(&v.a, "10.0.0.80", &v.b, at("10.0.0.11", 9)));
        let within = if works { LIMIT } else { SILENCE };
        let arrived = arrives_within(within, &v.a, "10.0.0.95", &v.b, at("10.0.0.11", 9));
        assert_eq!(arrived, works, "{owned}");
    }
    Outcome::Pass
}

fn only_primary_addresses_of_primary_enis_reach_the_internet() -> Outcome {
    with_vpc!(v);
    let server = EchoServer::tcp(v.fabric.internet(), at(INTERNET, 80)).unwrap();
    let spec = ProbeSpec::new().expect_peer(ip("10.0.0.10"));
    pass(tcp_probe(&v.a, None, server.addr(), &spec));
    assert_eq!(v.fabric.internet_refused().unwrap().outbound, DropCount::default());

    // A pod's address is the ENI's own, but has no public one.
    v.fabric.set_owned("eni-a0", &[prefix("10.0.0.50/32")]).unwrap();
    add_address(&v.a, "eth0", "10.0.0.50");
    let internet = v.fabric.internet().clone();
    assert!(arrives(&v.a, "10.0.0.10", &internet, at(INTERNET, 9)));
    assert!(stays_out(&v.a, "10.0.0.50", &internet, at(INTERNET, 9)));
    let one = DropCount { packets: 1, bytes: 33 };
    assert_eq!(v.fabric.internet_refused().unwrap().outbound, one);
    // Nor has a secondary ENI's primary address.
    let eni = EniPort::new("eni-a1", mac(20), "eth1", [10, 0, 1, 10].into(), prefix("10.0.1.0/24"));
    v.fabric.attach_eni(&v.a, &eni).unwrap();
    secondary(&mut v.fabric, &v.a, "eth1", "10.0.1.10", 2);
    assert!(arrives(&v.a, "10.0.1.10", &v.b, at("10.0.0.11", 9)));
    assert!(stays_out(&v.a, "10.0.1.10", &internet, at(INTERNET, 9)));
    assert_eq!(v.fabric.internet_refused().unwrap().outbound.packets, 2);
    no_drops(&mut v.fabric);
    Outcome::Pass
}

fn the_internet_reaches_primary_addresses_only() -> Outcome {
    with_vpc!(v);
    v.fabric.set_owned("eni-a0", &[prefix("10.0.0.50/32")]).unwrap();
    add_address(&v.a, "eth0", "10.0.0.50");
    let node = EchoServer::tcp(&v.a, at("10.0.0.10", 7)).unwrap();
    let pod = EchoServer::tcp(&v.a, at("10.0.0.50", 7)).unwrap();
    let spec = ProbeSpec::new().expect_peer(ip(INTERNET));
    pass(tcp_probe(v.fabric.internet(), None, node.addr(), &spec));
    refused_probe(v.fabric.internet(), None, pod.addr(), SILENCE).unwrap();
    let refused = v.fabric.internet_refused().unwrap();
    assert!(refused.inbound.packets >= 1, "{refused:?}");
    assert_eq!(refused.outbound, DropCount::default());
    Outcome::Pass
}

fn addresses_of_nobody_lead_nowhere() -> Outcome {
    with_vpc!(v);
    // Even if somebody on the internet uses them.
    let internet = v.fabric.internet().clone();
    let mut socket = Socket::open_in(internet.netns()).unwrap();
    socket.request(Address::new(1, ip("10.0.77.1"), 32).add()).unwrap();
    socket.request(Address::new(1, ip("192.0.2.1"), 32).add()).unwrap();
    assert!(arrives(&v.a, "10.0.0.10", &internet, at("192.0.2.1", 9)));
    assert!(stays_out(&v.a, "10.0.0.10", &internet, at("10.0.77.1", 9)));
    Outcome::Pass
}

fn full_packets_cross_the_vpc_and_too_large_ones_are_told_of_the_internet() -> Outcome {
    with_vpc!(v);
    let udp = EchoServer::udp(&v.b, at("10.0.0.11", 7)).unwrap();
    pass(udp_probe(&v.a, None, udp.addr(), &ProbeSpec::new().fill_mtu(9001).round_trips(3)));
    let tcp = EchoServer::tcp(&v.b, at("10.0.0.11", 7)).unwrap();
    pass(tcp_probe(&v.a, None, tcp.addr(), &ProbeSpec::new().size(1 << 20)));

    let internet = EchoServer::udp(v.fabric.internet(), at(INTERNET, 7)).unwrap();
    let full = ProbeSpec::new().fill_mtu(9001).timeout(SILENCE);
    let outcome = udp_probe(&v.a, None, internet.addr(), &full);
    assert!(!outcome.is_ok(), "{outcome}");
    // The router has said so by now: the kernel knows what the path carries.
    let outcome = poll_until(LIMIT, || match udp_probe(&v.a, None, internet.addr(), &full) {
        ProbeOutcome::PathMtu { mtu, .. } => Ok(mtu),
        other => Err(other.to_string()),
    });
    assert_eq!(outcome, Ok(1500));
    pass(udp_probe(&v.a, None, internet.addr(), &ProbeSpec::new().fill_mtu(1500)));
    let tcp = EchoServer::tcp(v.fabric.internet(), at(INTERNET, 80)).unwrap();
    pass(tcp_probe(&v.a, None, tcp.addr(), &ProbeSpec::new().size(1 << 20)));
    no_drops(&mut v.fabric);
    Outcome::Pass
}

fn arp_finds_the_subnet_and_nothing_else() -> Outcome {
    with_vpc!(v);
    let server = EchoServer::tcp(v.fabric.internet(), at(INTERNET, 80)).unwrap();
    pass(tcp_probe(&v.a, None, server.addr(), &ProbeSpec::new()));
    // A route without a gateway works where everyone answers for everything, but not in a VPC.
    let mut socket = Socket::open_in(v.a.netns()).unwrap();
    let link = socket.link_by_name("eth0").unwrap().unwrap();
    let on_link = Route::to(Prefix::host(ip(INTERNET))).dev(link.index).on_link();
    socket.request(on_link.add()).unwrap();
    refused_probe(&v.a, None, server.addr(), SILENCE).unwrap();
    socket.request(on_link.delete()).unwrap();
    pass(tcp_probe(&v.a, None, server.addr(), &ProbeSpec::new()));
    Outcome::Pass
}

/// Names of everything in the router.
fn inventory(fabric: &Fabric) -> Vec<String> {
    let list = || {
        let mut nft = nft::Socket::open().unwrap();
        let mut names = Vec::new();
        for table in nft.tables().unwrap() {
            names.extend(nft.sets(&table).unwrap());
            names.extend(nft.chains(&table).unwrap().into_iter().map(|c| c.name));
            names.extend(nft.counters(&table).unwrap().into_iter().map(|c| c.0));
        }
        assert!(names.len() > 8, "{names:?}");
        let mut socket = Socket::open().unwrap();
        names.extend(socket.links().unwrap().into_iter().map(|l| l.name));
        let all = RouteFilter::default();
        names.extend(socket.routes(true, all).unwrap().iter().map(ToString::to_string));
        names
    };
    fabric.router().run(list).unwrap()
}

fn a_detached_eni_is_gone_and_its_drops_stay() -> Outcome {
    with_vpc!(v);
    let subnet = prefix("10.0.1.0/24");
    let eni = EniPort::new("eni-a1", mac(20), "eth1", [10, 0, 1, 10].into(), subnet);
    let before = inventory(&v.fabric);
    v.fabric.attach_eni(&v.a, &eni).unwrap();
    secondary(&mut v.fabric, &v.a, "eth1", "10.0.1.10", 2);
    v.fabric.set_owned("eni-a1", &[prefix("10.0.1.16/28")]).unwrap();
    let server = EchoServer::tcp(&v.b, at("10.0.0.11", 7)).unwrap();
    pass(tcp_probe(&v.a, Some(ip("10.0.1.10")), server.addr(), &ProbeSpec::new()));
    add_address(&v.a, "eth1", "10.0.1.99");
    let mut socket = Socket::open_in(v.a.netns()).unwrap();
    socket.request(Rule::lookup(1536, 2).from(prefix("10.0.1.99/32")).add()).unwrap();
    refused_probe(&v.a, Some(ip("10.0.1.99")), server.addr(), SILENCE).unwrap();
    let dropped = v.fabric.drops().unwrap()["eni-a1"];
    assert!(dropped.packets >= 1);

    v.fabric.detach_eni("eni-a1").unwrap();
    assert!(socket.link_by_name("eth1").unwrap().is_none());
    assert_eq!(inventory(&v.fabric), before);
    assert_eq!(v.fabric.drops().unwrap()["eni-a1"], dropped);
    let sources = v.fabric.dropped_sources().unwrap();
    assert_eq!(
        sources[0].to_string(),
        "eth1 of node-a sent from 10.0.1.99, which eni-a1 does not own"
    );
    // It comes back elsewhere with the same addresses.
    v.fabric.attach_eni(&v.b, &eni).unwrap();
    secondary(&mut v.fabric, &v.b, "eth1", "10.0.1.10", 2);
    let server = EchoServer::tcp(&v.a, at("10.0.0.10", 7)).unwrap();
    pass(tcp_probe(&v.b, Some(ip("10.0.1.10")), server.addr(), &ProbeSpec::new()));
    assert_eq!(v.fabric.drops().unwrap()["eni-a1"], dropped);
    Outcome::Pass
}

fn mistakes_are_refused_and_leave_nothing() -> Outcome {
    with_vpc!(v);
    let subnet = prefix("10.0.0.0/24");
    let eni = |id: &str, n: u8| EniPort::new(id, mac(n), "eth9", [10, 0, 0, n].into(), subnet);
    assert!(matches!(
        v.fabric.attach_eni(&v.a, &eni("eni-a0", 30)),
        Err(FabricError::Attached { .. })
    ));
    assert!(matches!(v.fabric.attach_eni(&v.a, &eni("eni-x", 11)), Err(FabricError::Owned { .. })));
    let mut foreign = eni("eni-x", 30);
    foreign.subnet = prefix("10.9.0.0/24");
    assert!(matches!(v.fabric.attach_eni(&v.a, &foreign), Err(FabricError::NoSubnet { .. })));
    let mut outside = eni("eni-x", 30);
    outside.subnet = prefix("10.0.1.0/24");
    assert!(matches!(v.fabric.attach_eni(&v.a, &outside), Err(FabricError::OutsideSubnet { .. })));
    // The node has a link of that name, so half of the work is undone.
    let mut twice = eni("eni-x", 30);
    twice.if_name = "eth0".to_owned();
    assert!(matches!(v.fabric.attach_eni(&v.a, &twice), Err(FabricError::Netlink(_))));
    v.fabric.attach_eni(&v.a, &eni("eni-x", 30)).unwrap();

    for bad in ["10.0.0.11/32", "10.0.0.0/28", "10.0.1.5/32"] {
        assert!(v.fabric.set_owned("eni-a0", &[prefix(bad)]).is_err(), "{bad}");
    }
    v.fabric.set_owned("eni-a0", &[prefix("10.0.0.64/28")]).unwrap();
    assert!(v.fabric.set_owned("eni-b0", &[prefix("10.0.0.65/32")]).is_err());
    assert!(
        v.fabric.set_owned("eni-a0", &[prefix("10.0.0.64/28"), prefix("10.0.0.65/32")]).is_err()
    );
    assert!(v.fabric.set_owned("eni-none", &[]).is_err());
    assert!(v.fabric.detach_eni("eni-none").is_err());
    assert!(v.fabric.add_subnet(prefix("10.0.0.128/25")).is_err());
    assert!(v.fabric.add_subnet(prefix("10.0.5.0/31")).is_err());
    Outcome::Pass
}

fn nodes_have_files_and_links_of_their_own() -> Outcome {
    with_vpc!(v);
    let list = |node: &NodeNs| {
        let names = node.run(|| {
            fs::read_dir("/sys/class/net")
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect::<Vec<_>>()
        });
        let mut names = names.unwrap();
        names.sort();
        names
    };
    assert_eq!(list(&v.a), ["eth0", "lo"]);
    for dir in NodeOptions::default().private_dirs {
        let file = dir.join("mine");
        v.a.run(|| {
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "{}", dir.display());
            fs::write(&file, "a").unwrap();
        })
        .unwrap();
        assert!(!v.b.run(|| file.exists()).unwrap(), "{}", file.display());
        assert!(!file.exists(), "{}", file.display());
    }
    // The rest of the directory is as it was.
    assert!(v.a.run(|| Path::new("/etc/passwd").exists()).unwrap());
    let hosts = fs::read("/etc/hosts").ok();
    assert_eq!(v.a.run(|| fs::read("/etc/hosts").ok()).unwrap(), hosts);
    v.a.run(|| fs::write("/run/x", "x").unwrap()).unwrap();
    assert_eq!(v.a.run(|| fs::read_to_string("/var/run/x").unwrap()).unwrap(), "x");
    let socket = v.a.try_run("listen", || {
        std::os::unix::net::UnixListener::bind("/var/run/aws-node/ipamd.sock")
    });
    assert!(socket.is_ok());
    let other = v.b.run(|| std::os::unix::net::UnixStream::connect("/run/aws-node/ipamd.sock"));
    assert!(other.unwrap().is_err());
    Outcome::Pass
}

fn pods_come_and_go_with_their_paths() -> Outcome {
    with_vpc!(v);
    let path = Path::new("/run/netns/cni-1");
    let pod = PodNs::new(&v.a, path).unwrap();
    assert!(PodNs::new(&v.a, path).is_err());
    assert!(!path.exists() && !v.b.run(|| path.exists()).unwrap());
    wire_pod(&v.a, &pod, "10.0.0.50");
    v.fabric.set_owned("eni-a0", &[prefix("10.0.0.50/32")]).unwrap();
    let server = EchoServer::tcp(&pod, at("10.0.0.50", 7)).unwrap();
    pass(tcp_probe(&v.b, None, server.addr(), &ProbeSpec::new().round_trips(100)));
    drop(server);
    let opened = v.a.run(|| vpc_datapath_linux::netns::NetnsFd::open(path).map(|_| ()));
    assert!(opened.unwrap().is_ok());
    drop(pod);
    assert!(!v.a.run(|| path.exists()).unwrap());
    // Its link goes some time after it.
    let gone = poll_until(LIMIT, || {
        let mut socket = Socket::open_in(v.a.netns()).unwrap();
        socket.link_by_name("pod0").unwrap().map_or(Ok(()), |link| Err(link.name))
    });
    assert_eq!(gone, Ok(()));
    no_drops(&mut v.fabric);
    Outcome::Pass
}

/// Wires a pod by hand, as plainly as possible.
fn wire_pod(node: &NodeNs, pod: &PodNs, address: &str) {
    let mut socket = Socket::open_in(node.netns()).unwrap();
    let host = VethEnd { mac: Some(mac(1)), index: Some(500), up: true, ..VethEnd::new("pod0") };
    let netns = Some(pod.netns().clone());
    let peer = VethEnd { index: Some(501), netns, ..VethEnd::new("eth0") };
    let route = Route::to(Prefix::host(ip(address))).dev(500).on_link();
    socket.run(&[add_veth(&host, &peer), route.add()].into_iter().collect()).unwrap();
    let gateway = ip("169.254.1.1");
    let inside = [
        LinkChange::of_index(501).up().request(),
        Address::new(501, ip(address), 32).add(),
        Route::to(Prefix::host(gateway)).dev(501).on_link().add(),
        Route::default_route(true).via(gateway).dev(501).add(),
        Neighbour::permanent(501, gateway, mac(1)).replace(),
    ];
    Socket::open_in(pod.netns()).unwrap().run(&inside.into_iter().collect()).unwrap();
}

fn namespaces() -> String {
    let own = |what: &str| fs::read_link(format!("/proc/thread-self/ns/{what}")).unwrap();
    format!("{} {}", own("net").display(), own("mnt").display())
}

fn programs_start_inside() -> Outcome {
    with_vpc!(v);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, "1").stdout(Stdio::piped());
    let output = v.a.spawn(command).unwrap().wait_with_output().unwrap();
    let there = String::from_utf8(output.stdout).unwrap();
    assert_eq!(there, v.a.run(namespaces).unwrap());
    assert_ne!(there, v.b.run(namespaces).unwrap());
    assert_ne!(there, namespaces());
    Outcome::Pass
}
