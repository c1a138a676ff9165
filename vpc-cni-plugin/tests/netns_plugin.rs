//! The program itself, wiring real pods in private namespaces.
//!
//! It runs in a root directory that holds nothing else that could be run: no shell, no `ip`, no
//! `iptables`. What works there runs no other program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{chdir, chroot},
};
use serde_json::{Value, json};
use vpc_cni_plugin::rpc::{AddNetworkReply, DelNetworkReply, IpAllocationMetadata};
use vpc_datapath_linux::{
    cases,
    netlink::{Address, Link, LinkChange, Neighbour, Route, RouteFilter, Socket},
    netns::{NetnsFd, run_in},
    testkit::harness,
};
use vpc_ipam_core::addr::Prefix;

mod support;
use support::{Daemon, Script};

fn main() -> ExitCode {
    harness::main(&cases![
        add_wires_and_del_unwires_and_nothing_is_run,
        packets_flow_between_pod_and_node,
        del_needs_neither_daemon_nor_namespace,
        failed_wiring_leaves_nothing_and_gives_the_address_back,
        many_pods_at_once,
    ])
}

/// An address that the test's node has.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

/// How long a packet may take before it counts as lost.
const PACKET_WAIT: Duration = Duration::from_secs(5);

/// A node: this process's own network namespace, and a root directory with the plugin alone.
struct Node {
    root: PathBuf,
}

/// What the plugin did.
struct Ran {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Node {
    fn new() -> Self {
        // Read before anything is mounted over.
        let plugin = fs::read(env!("CARGO_BIN_EXE_aws-cni")).unwrap();
        let libraries: Vec<_> =
            shared_libraries().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
        let root = PathBuf::from("/run");
        mount(Some("tmpfs"), &root, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let node = Self { root };
        node.install("/aws-cni", &plugin);
        for (bytes, path) in libraries {
            node.install(path.to_str().unwrap(), &bytes);
        }
        let proc = node.path("/proc");
        fs::create_dir(&proc).unwrap();
        mount(Some("/proc"), &proc, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .unwrap();
        fs::create_dir_all(node.path("/ns")).unwrap();
        node
    }

    /// Where a path of the plugin's root is in ours.
    fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    fn install(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a pod's namespace, as a container runtime does.
    fn pod(&self, name: &str) -> NetnsFd {
        let path = self.path(&format!("/ns/{name}"));
        fs::write(&path, "").unwrap();
        let bound = path.clone();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let own = Path::new("/proc/thread-self/ns/net");
            mount(Some(own), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        })
        .join()
        .unwrap();
        NetnsFd::open(&path).unwrap()
    }

    /// Runs the plugin for `pod` with that root directory and no other environment.
    fn run(&self, command: &str, pod: &str, prev_result: Option<&Value>) -> Ran {
        let mut conf = json!({"cniVersion": "0.4.0", "name": "aws-cni", "type": "aws-cni",
            "mtu": "1500", "ipamdSocket": "/ipamd.sock", "pluginLogLevel": "warn"});
        if let Some(result) = prev_result {
            conf["prevResult"] = result.clone();
        }
        let mut plugin = Command::new("/aws-cni");
        plugin
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("id-{pod}"))
            .env("CNI_NETNS", format!("/ns/{pod}"))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/nowhere")
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let root = self.root.clone();
        // A thread may have a root directory of its own, which its children then have too.
        let output = thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS).unwrap();
            chroot(&root).unwrap();
            chdir("/").unwrap();
            let mut child = plugin.spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(conf.to_string().as_bytes());
            child.wait_with_output().unwrap()
        })
        .join()
        .unwrap();
        Ran {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs ADD, which must succeed, and gives its result.
    fn add(&self, pod: &str) -> Value {
        let ran = self.run("ADD", pod, None);
        assert!(ran.success, "{} {}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// A daemon that gives every pod an address made of the last number in its sandbox's id, and
    /// takes all of them back.
    fn daemon(&self) -> Daemon {
        let allocation = |container: &str| {
            let number = container.rsplit('-').next().and_then(|n| n.parse::<u8>().ok());
            vec![IpAllocationMetadata {
                ipv4_addr: Ipv4Addr::new(10, 0, 50, number.unwrap_or(5)).to_string(),
                ipv6_addr: String::new(),
                device_number: 2,
                route_table_id: 3,
            }]
        };
        Daemon::start(
            &self.path("/ipamd.sock"),
            Script {
                add: Box::new(move |request| {
                    Ok(AddNetworkReply {
                        success: true,
                        ip_allocation_metadata: allocation(&request.container_id),
                        ..AddNetworkReply::default()
                    })
                }),
                del: Box::new(move |request| {
                    Ok(DelNetworkReply {
                        success: true,
                        ip_allocation_metadata: allocation(&request.container_id),
                        ..DelNetworkReply::default()
                    })
                }),
            },
        )
    }
}

/// What this program's loader has loaded, which is what the plugin's needs if it is not static.
fn shared_libraries() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_once('/').map(|(_, path)| path));
    let libraries = paths.filter(|path| path.contains(".so"));
    let mut all: BTreeSet<_> = libraries.map(|path| PathBuf::from(format!("/{path}"))).collect();
    // The interpreter is named by its usual path, which may be a link to the one that is mapped.
    let usual = Path::new("/lib64/ld-linux-x86-64.so.2");
    if usual.exists() {
        all.insert(usual.to_owned());
    }
    all
}

/// Everything in a namespace that wiring a pod may touch, but for the links' counters.
#[derive(Debug, PartialEq)]
struct Kernel {
    links: Vec<Link>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
}

fn kernel(mut socket: Socket) -> Kernel {
    Kernel {
        links: socket.links().unwrap(),
        addresses: socket.addresses(true).unwrap(),
        routes: socket.routes(true, RouteFilter::default()).unwrap(),
        neighbours: socket.neighbours(true).unwrap(),
    }
}

fn host() -> Kernel {
    kernel(Socket::open().unwrap())
}

fn inside(pod: &NetnsFd) -> Kernel {
    kernel(Socket::open_in(pod).unwrap())
}

fn routes_to(kernel: &Kernel, ip: &str) -> Vec<(u32, Option<u32>)> {
    let dst = Prefix::host(ip.parse().unwrap());
    kernel.routes.iter().filter(|r| r.dst == dst).map(|r| (r.table, r.dev)).collect()
}

fn add_wires_and_del_unwires_and_nothing_is_run() {
    let node = Node::new();
    let daemon = node.daemon();
    let pod = node.pod("sample-pod");
    let before = host();

    let result = node.add("sample-pod");
    assert_eq!(
        result,
        json!({
            "cniVersion": "0.4.0",
            "interfaces": [
                {"name": "enicc21c2d7785"},
                {"name": "eth0", "mac": "3", "sandbox": "/ns/sample-pod"},
                {"name": "dummycc21c2d7785", "mac": "0", "sandbox": "2"}
            ],
            "ips": [{"version": "4", "interface": 1, "address": "10.0.50.5/32"}],
            "dns": {}
        })
    );
    let wired = host();
    let veth = wired.links.iter().find(|l| l.name == "enicc21c2d7785").expect("a host veth");
    assert!(veth.up && veth.mtu == 1500, "{veth:?}");
    let routes = routes_to(&wired, "10.0.50.5");
    assert!(!routes.is_empty() && routes.iter().all(|(_, dev)| *dev == Some(veth.index)));
    let inner = inside(&pod);
    let eth0 = inner.links.iter().find(|l| l.name == "eth0").expect("the pod's interface");
    assert!(eth0.up && eth0.mtu == 1500, "{eth0:?}");
    let addresses: Vec<_> = inner.addresses.iter().filter(|a| a.dev == eth0.index).collect();
    assert_eq!((addresses.len(), addresses[0].ip.to_string().as_str()), (1, "10.0.50.5"));
    let gateway = inner.neighbours.iter().find(|n| n.ip.to_string() == "169.254.1.1");
    assert_eq!(gateway.and_then(|n| n.mac), veth.mac, "the gateway is the host veth");

    let ran = node.run("DEL", "sample-pod", Some(&result));
    assert!(ran.success && ran.stdout.is_empty(), "{} {}", ran.stdout, ran.stderr);
    let after = host();
    assert_eq!(after.routes, before.routes);
    assert!(after.links.iter().filter(|l| l.name.starts_with("eni")).all(|l| !l.up));
    assert!(node.run("DEL", "sample-pod", Some(&result)).success, "a second DEL");

    let asked = daemon.asked.lock().unwrap();
    assert_eq!(asked.adds.len(), 1);
    assert_eq!(asked.adds[0].netns, "/ns/sample-pod");
    assert!(asked.dels.iter().all(|d| d.reason == "PodDeleted") && asked.dels.len() == 2);
}

fn packets_flow_between_pod_and_node() {
    let node = Node::new();
    let _daemon = node.daemon();
    let pod = node.pod("cart-7");
    let mut socket = Socket::open().unwrap();
    let lo = socket.link_by_name("lo").unwrap().unwrap().index;
    socket.request(LinkChange::of_index(lo).up().request()).unwrap();
    socket.request(Address::new(lo, NODE.into(), 32).add()).unwrap();
    node.add("cart-7");

    let server = UdpSocket::bind((NODE, 0)).unwrap();
    server.set_read_timeout(Some(PACKET_WAIT)).unwrap();
    let at = server.local_addr().unwrap();
    let client = run_in(&pod, move || {
        let client = UdpSocket::bind("10.0.50.7:0").unwrap();
        client.set_read_timeout(Some(PACKET_WAIT)).unwrap();
        client.send_to(b"from the pod", at).unwrap();
        client
    })
    .unwrap();
    let mut bytes = [0; 64];
    let (len, from) = server.recv_from(&mut bytes).expect("the node hears the pod");
    assert_eq!(&bytes[..len], b"from the pod");
    assert_eq!(from, SocketAddr::new("10.0.50.7".parse().unwrap(), from.port()));
    server.send_to(b"from the node", from).unwrap();
    let (len, _) = client.recv_from(&mut bytes).expect("the pod hears the node");
    assert_eq!(&bytes[..len], b"from the node");
}

fn del_needs_neither_daemon_nor_namespace() {
    let node = Node::new();
    let daemon = node.daemon();
    let pod = node.pod("sample-pod");
    let before = host();
    let result = node.add("sample-pod");
    assert!(!routes_to(&host(), "10.0.50.5").is_empty());
    drop(daemon);
    // The runtime has removed its path; the namespace lives on through `pod`, and its veth with it.
    umount2(&node.path("/ns/sample-pod"), MntFlags::MNT_DETACH).unwrap();
    fs::remove_file(node.path("/ns/sample-pod")).unwrap();
    let ran = node.run("DEL", "sample-pod", Some(&result));
    assert!(ran.success, "{} {}", ran.stdout, ran.stderr);
    assert_eq!(host().routes, before.routes);
    drop(pod);
}

fn failed_wiring_leaves_nothing_and_gives_the_address_back() {
    let node = Node::new();
    let daemon = node.daemon();
    fs::write(node.path("/ns/sample-pod"), "not a namespace").unwrap();
    let before = host();
    let ran = node.run("ADD", "sample-pod", None);
    assert!(!ran.success);
    let error: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(error["code"], 999);
    assert!(ran.stdout.contains("/ns/sample-pod"), "{error}");
    assert_eq!(host(), before);
    let asked = daemon.asked.lock().unwrap();
    assert_eq!(asked.dels.len(), 1);
    assert_eq!(asked.dels[0].reason, "SetupNSFailed");
}

fn many_pods_at_once() {
    let node = Node::new();
    let daemon = node.daemon();
    let names: Vec<_> = (1..=16).map(|n| format!("cart-{n}")).collect();
    let pods: Vec<_> = names.iter().map(|name| node.pod(name)).collect();
    let results: Vec<_> = thread::scope(|scope| {
        let adds: Vec<_> = names.iter().map(|name| scope.spawn(|| node.add(name))).collect();
        adds.into_iter().map(|add| add.join().unwrap()).collect()
    });
    let wired = host();
    for (n, pod) in (1..).zip(&pods) {
        let ip = format!("10.0.50.{n}");
        assert!(!routes_to(&wired, &ip).is_empty(), "{ip}");
        assert!(inside(pod).addresses.iter().any(|a| a.ip.to_string() == ip), "{ip}");
    }
    thread::scope(|scope| {
        for (name, result) in names.iter().zip(&results) {
            scope.spawn(|| assert!(node.run("DEL", name, Some(result)).success));
        }
    });
    let after = host();
    assert!(!after.routes.iter().any(|r| r.dst.to_string().starts_with("10.0.50.")));
    let asked = daemon.asked.lock().unwrap();
    assert_eq!((asked.adds.len(), asked.dels.len()), (16, 16));
}
