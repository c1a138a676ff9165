//! What the VPC carries, and what it drops.

use vpc_datapath_linux::{
    netlink::{Address, Route, Socket},
    testkit::{
        fabric::{DropCount, EniPort},
        harness::Outcome,
        probe::{
            EchoServer, ProbeOutcome, ProbeSpec, poll_until, refused_probe, tcp_probe, udp_probe,
        },
    },
};
use vpc_ipam_core::addr::Prefix;

use crate::vpc::*;

pub(crate) fn packets_flow_between_nodes() -> Outcome {
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

pub(crate) fn packets_flow_between_subnets() -> Outcome {
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

pub(crate) fn a_spoofed_source_is_dropped_counted_and_explained() -> Outcome {
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

pub(crate) fn a_moved_address_works_at_its_new_eni_and_not_at_the_old() -> Outcome {
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

pub(crate) fn a_prefix_is_owned_as_a_whole() -> Outcome {
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

pub(crate) fn only_primary_addresses_of_primary_enis_reach_the_internet() -> Outcome {
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

pub(crate) fn the_internet_reaches_primary_addresses_only() -> Outcome {
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

pub(crate) fn addresses_of_nobody_lead_nowhere() -> Outcome {
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

pub(crate) fn full_packets_cross_the_vpc_and_too_large_ones_are_told_of_the_internet() -> Outcome {
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

pub(crate) fn arp_finds_the_subnet_and_nothing_else() -> Outcome {
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
