//! A node with ENIs for tests of the datapath alone: veths whose other ends are in a namespace that
//! stands for the VPC.
#![allow(
    unreachable_pub,
    unused_macros,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[macro_use]
pub mod lab;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use vpc_datapath_linux::{
    LinuxDatapath,
    names::VethPrefix,
    netlink::{
        Address, Batch, Link, LinkChange, Neighbour, Route, RouteFilter, RouteType, Rule, Socket,
        VethEnd, add_veth,
    },
    netns::NetnsFd,
    nft,
};
use vpc_ipam_core::{
    addr::Prefix,
    datapath::{
        Datapath, EniSpec, NodeSpec, PodAddress, PodSpec, PodTeardown, Snat, SnatPorts, route_table,
    },
    id::{EniId, MacAddr, PodRef},
};

pub fn prefix(s: &str) -> Prefix {
    s.parse().unwrap()
}

pub fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

pub fn eni_prefix() -> VethPrefix {
    VethPrefix::new("eni").unwrap()
}

/// A network namespace that lives as long as its descriptor.
pub fn netns() -> NetnsFd {
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        NetnsFd::current().unwrap()
    })
    .join()
    .unwrap()
}

/// The path by which this process can open a namespace that it holds.
pub fn path_of(netns: &NetnsFd) -> std::path::PathBuf {
    use std::os::fd::{AsFd, AsRawFd};
    format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd()).into()
}

pub fn mac_of_device(device: u32) -> MacAddr {
    MacAddr([0x02, 0xee, 0, 0, 0, u8::try_from(device).unwrap()])
}

/// Gives the node a link for the ENI of `device`, named `eth<device>`; its other end is in `vpc`.
pub fn plug(socket: &mut Socket, vpc: &NetnsFd, device: u32) -> Link {
    let name = format!("eth{device}");
    let end = VethEnd { mac: Some(mac_of_device(device)), ..VethEnd::new(&name) };
    let port = VethEnd { netns: Some(vpc.clone()), ..VethEnd::new(&format!("port{device}")) };
    socket.request(add_veth(&end, &port)).unwrap();
    let mut vpc = Socket::open_in(vpc).unwrap();
    vpc.request(LinkChange::of_name(&port.name).up().mtu(9001).request()).unwrap();
    socket.link_by_name(&name).unwrap().unwrap()
}

pub fn node_ip() -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10)
}

/// What the operating system does before anybody else: primary link, address, default route.
pub fn boot(socket: &mut Socket, vpc: &NetnsFd) -> Link {
    let link = plug(socket, vpc, 0);
    let up = LinkChange::of_index(link.index).up().mtu(9001).request();
    let lo = LinkChange::of_name("lo").up().request();
    let address = Address::new(link.index, node_ip().into(), 24).add();
    let default = Route::default_route(true).via(ip("10.0.0.1")).dev(link.index).add();
    socket.run(&Batch::from_iter([lo, up, address, default])).unwrap();
    link
}

pub fn node_spec() -> NodeSpec {
    NodeSpec {
        primary_mac: mac_of_device(0),
        primary_ip: node_ip(),
        vpc_cidrs: vec![prefix("10.0.0.0/16")],
        snat: Snat::Node { ports: SnatPorts::Prng, exclude: vec![prefix("198.51.100.0/24")] },
        node_port: true,
        veth_prefix: "eni".to_owned(),
        connmark: 0x80,
        mtu: 9001,
        external_service_cidrs: Vec::new(),
    }
}

pub fn eni_spec(device: u32, sources: &[&str]) -> EniSpec {
    EniSpec {
        id: EniId::new(&format!("eni-{device:017x}")).unwrap(),
        mac: mac_of_device(device),
        device,
        card: 0,
        primary: device == 0,
        primary_ip: ip(&format!("10.0.{device}.10")),
        subnet_cidr: prefix(&format!("10.0.{device}.0/24")),
        table: route_table(0, device),
        sources: sources.iter().map(|s| prefix(s)).collect(),
    }
}

pub fn pod_ref(name: &str) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: name.to_owned() }
}

pub fn pod_address(address: &str) -> PodAddress {
    PodAddress { ip: ip(address), table: 2, device: 1 }
}

pub fn pod_spec(name: &str, address: &str, netns: &NetnsFd) -> PodSpec {
    PodSpec {
        pod: pod_ref(name),
        netns: path_of(netns),
        if_name: "eth0".to_owned(),
        veth_prefix: "eni".to_owned(),
        addresses: vec![pod_address(address)],
        mtu: 9001,
    }
}

pub fn teardown(name: &str, address: &str) -> PodTeardown {
    PodTeardown {
        pod: pod_ref(name),
        veth_prefix: "eni".to_owned(),
        addresses: vec![pod_address(address)],
    }
}

/// Everything in a namespace that set-up touches, for comparison.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    pub links: Vec<Link>,
    pub addresses: Vec<Address>,
    pub rules: Vec<Rule>,
    pub routes: Vec<Route>,
    pub neighbours: Vec<Neighbour>,
    pub chains: Vec<nft::Chain>,
    pub nft_rules: Vec<nft::ListedRule>,
    pub elements: Vec<Vec<nft::Element>>,
    pub generation: u32,
}

pub fn snapshot(socket: &mut Socket, nft: &mut nft::Socket) -> Snapshot {
    let table = nft::Table::ipv4("vpc-cni");
    // Link-local addresses come by themselves, whenever the kernel gets to it.
    let mut neighbours = socket.neighbours(true).unwrap();
    neighbours.retain(|n| n.permanent);
    Snapshot {
        links: socket.links().unwrap(),
        addresses: socket.addresses(true).unwrap(),
        rules: socket.rules(true).unwrap(),
        routes: socket.routes(true, RouteFilter::default()).unwrap(),
        neighbours,
        chains: nft.chains(&table).unwrap(),
        nft_rules: nft.rules(&table).unwrap(),
        elements: ["exempt4", "pod-src4"].map(|set| nft.elements(&table, set).unwrap()).to_vec(),
        generation: nft.generation().unwrap(),
    }
}

/// A booted node with its datapath set up and the ENIs of `devices` plugged in.
pub struct Node {
    pub socket: Socket,
    pub nft: nft::Socket,
    pub vpc: NetnsFd,
    pub datapath: LinuxDatapath,
}

pub fn node(devices: &[u32]) -> Node {
    let vpc = netns();
    let mut socket = Socket::open().unwrap();
    boot(&mut socket, &vpc);
    for device in devices {
        plug(&mut socket, &vpc, *device);
    }
    Node {
        socket,
        nft: nft::Socket::open().unwrap(),
        vpc,
        datapath: LinuxDatapath::open().unwrap(),
    }
}

impl Node {
    pub fn snapshot(&mut self) -> Snapshot {
        snapshot(&mut self.socket, &mut self.nft)
    }

    pub fn routes_in(&mut self, table: u32) -> Vec<Route> {
        self.socket.routes(true, RouteFilter { table: Some(table), dev: None }).unwrap()
    }

    /// Sources and verdicts of the map, in order.
    pub fn sources(&mut self) -> Vec<(String, String)> {
        let table = nft::Table::ipv4("vpc-cni");
        nft::Interval::of_elements(&self.nft.elements(&table, "pod-src4").unwrap())
            .into_iter()
            .map(|i| (i.prefix().unwrap().to_string(), i.verdict.unwrap().to_string()))
            .collect()
    }
}

/// How long a condition that the kernel brings about by itself is waited for.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node with its datapath and one ENI that owns the addresses used here.
pub fn ready() -> Node {
    let node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.48/28"])).unwrap();
    node
}

/// Routes to `address` anywhere, as table and link name.
pub fn ways_to(node: &mut Node, address: &str) -> Vec<(u32, String)> {
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

pub fn veths(node: &mut Node) -> Vec<String> {
    node.datapath.inventory(&eni_prefix()).unwrap().veths
}
