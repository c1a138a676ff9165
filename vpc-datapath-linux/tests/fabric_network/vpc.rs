//! A VPC with two nodes, and what is asked of it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use vpc_datapath_linux::{
    netlink::{Address, LinkChange, Route, Rule, Socket},
    testkit::{
        fabric::{DropCount, EniPort, Fabric, FabricConfig},
        harness::Outcome,
        ns::{Namespace, NodeNs, NodeOptions},
        probe::{self, ProbeOutcome},
    },
};
use vpc_ipam_core::{addr::Prefix, id::MacAddr};

pub(crate) const INTERNET: &str = "198.51.100.10";
/// How long a packet that must not arrive is waited for.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

pub(crate) fn prefix(s: &str) -> Prefix {
    s.parse().unwrap()
}

pub(crate) fn at(s: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(s), port)
}

pub(crate) fn mac(n: u8) -> MacAddr {
    MacAddr([0x02, 0, 0, 0, 0, n])
}

/// Two nodes with a primary ENI each in 10.0.0.0/24, and 10.0.1.0/24 for more.
pub(crate) struct Vpc {
    pub(crate) fabric: Fabric,
    pub(crate) a: NodeNs,
    pub(crate) b: NodeNs,
}

pub(crate) fn vpc() -> Result<Vpc, Outcome> {
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
pub(crate) fn add_address(node: &NodeNs, if_name: &str, address: &str) {
    let mut socket = Socket::open_in(node.netns()).unwrap();
    let link = socket.link_by_name(if_name).unwrap().unwrap();
    socket.request(Address::new(link.index, ip(address), 32).add()).unwrap();
}

pub(crate) fn delete_address(node: &NodeNs, if_name: &str, address: &str) {
    let mut socket = Socket::open_in(node.netns()).unwrap();
    let link = socket.link_by_name(if_name).unwrap().unwrap();
    socket.request(Address::new(link.index, ip(address), 32).delete()).unwrap();
}

pub(crate) fn pass(outcome: ProbeOutcome) -> SocketAddr {
    outcome.into_result().unwrap()
}

/// Whether a datagram from `source` in `node` arrives at `to` in `there`. One way only: answers go
/// by other rules.
pub(crate) fn arrives(node: &NodeNs, source: &str, there: &Namespace, to: SocketAddr) -> bool {
    arrives_within(LIMIT, node, source, there, to)
}

pub(crate) fn stays_out(node: &NodeNs, source: &str, there: &Namespace, to: SocketAddr) -> bool {
    !arrives_within(SILENCE, node, source, there, to)
}

pub(crate) fn arrives_within(
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

pub(crate) fn no_drops(fabric: &mut Fabric) {
    let explained: Vec<_> =
        fabric.dropped_sources().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(fabric.total_drops().unwrap(), DropCount::default(), "{explained:?}");
}

/// Sets up a secondary ENI as a CNI does.
pub(crate) fn secondary(
    fabric: &mut Fabric,
    node: &NodeNs,
    if_name: &str,
    address: &str,
    table: u32,
) {
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
