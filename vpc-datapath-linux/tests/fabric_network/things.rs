//! ENIs, nodes and pods of the VPC as they come and go.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use vpc_datapath_linux::{
    netlink::{
        Address, LinkChange, Neighbour, Route, RouteFilter, Rule, Socket, VethEnd, add_veth,
    },
    nft,
    testkit::{
        fabric::{EniPort, Fabric, FabricError},
        harness::Outcome,
        ns::{NodeNs, NodeOptions, PodNs},
        probe::{EchoServer, ProbeSpec, poll_until, refused_probe, tcp_probe},
    },
};
use vpc_ipam_core::addr::Prefix;

use crate::{ROLE, vpc::*};

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

pub(crate) fn a_detached_eni_is_gone_and_its_drops_stay() -> Outcome {
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

pub(crate) fn mistakes_are_refused_and_leave_nothing() -> Outcome {
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

pub(crate) fn nodes_have_files_and_links_of_their_own() -> Outcome {
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

pub(crate) fn pods_come_and_go_with_their_paths() -> Outcome {
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

pub(crate) fn namespaces() -> String {
    let own = |what: &str| fs::read_link(format!("/proc/thread-self/ns/{what}")).unwrap();
    format!("{} {}", own("net").display(), own("mnt").display())
}

pub(crate) fn programs_start_inside() -> Outcome {
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
