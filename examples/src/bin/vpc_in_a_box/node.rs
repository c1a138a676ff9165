//! A node: namespaces, the servers it reaches, its daemon and the pods' homes.

use std::{
    ffi::OsString,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use vpc_datapath_linux::{
    netlink::{self, Address, NetlinkError},
    testkit::{
        ns::{Namespace, NodeNs, NsError, PodNs},
        probe::EchoServer,
    },
};
use vpc_ipam_core::id::InstanceId;

use crate::{
    cloud::{Cloud, ENI_MTU, Server},
    daemon::{Daemon, DaemonError},
    introspect::{self, Health, Pool},
    options::{Mode, Options},
    setup::Setup,
};

/// Where EC2 answers, in each node.
const EC2_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4_566));
/// Where metadata answers, in each node.
const IMDS_ADDRESS: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80));
/// `lo` is the first link of every network namespace.
const LOOPBACK_INDEX: u32 = 1;
/// Port of every echo server, on pods, nodes and the internet host.
pub(crate) const ECHO_PORT: u16 = 7_007;
/// Where containerd binds pods' namespaces.
const NETNS_DIR: &str = "/var/run/netns";
/// Where the daemon keeps its leases, in the node's mount namespace.
const STATE_FILE: &str = "/var/run/aws-node/ipam.json";
/// A daemon that is not ready by then will not be.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a daemon that is starting.
const READY_POLL: Duration = Duration::from_millis(20);

/// Settings of the daemon that the user may set in the box's own environment.
const PASSED_THROUGH: [&str; 8] = [
    "AWS_VPC_CNI_NODE_PORT_SUPPORT",
    "AWS_VPC_K8S_CNI_LOGLEVEL",
    "IP_COOLDOWN_PERIOD",
    "MAX_ENI",
    "MINIMUM_IP_TARGET",
    "WARM_ENI_TARGET",
    "WARM_IP_TARGET",
    "WARM_PREFIX_TARGET",
];

/// A node of the box.
pub(crate) struct Node {
    /// Position among the nodes.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) instance: InstanceId,
    pub(crate) ip: Ipv4Addr,
    ns: NodeNs,
    ipamd: PathBuf,
    log: PathBuf,
    env: Vec<(&'static str, OsString)>,
    daemon: Mutex<Option<Daemon>>,
    _echo: [EchoServer; 2],
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What makes a node of an instance.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) instance: InstanceId,
    pub(crate) ip: Ipv4Addr,
    pub(crate) ns: NodeNs,
}

/// Where a pod lives: its network namespace, with echo servers in it.
#[derive(Debug)]
pub(crate) struct PodHome {
    pub(crate) ns: PodNs,
    _echo: [EchoServer; 2],
}

impl PodHome {
    /// Path of the namespace as the plugin sees it.
    pub(crate) fn path(&self) -> String {
        self.ns.path().display().to_string()
    }
}

impl Node {
    /// A node whose primary ENI is plugged; nothing runs on it yet.
    pub(crate) fn new(
        index: usize,
        place: Place,
        run_dir: &Path,
        ipamd: PathBuf,
        setup: &Setup,
    ) -> anyhow::Result<Self> {
        let Place { name, instance, ip, ns } = place;
        let echo = echo_servers(&ns).with_context(|| format!("start echo servers on {name}"))?;
        let log = run_dir.join(format!("{name}-ipamd.log"));
        let env = environment(&name, setup);
        let daemon = Mutex::new(None);
        Ok(Self { index, name, instance, ip, ns, ipamd, log, env, daemon, _echo: echo })
    }

    /// The servers that this node reaches.
    pub(crate) fn servers(&self, cloud: &Cloud) -> anyhow::Result<[Server; 2]> {
        self.inside(|| give_loopback(IMDS_ADDRESS.ip()))?
            .with_context(|| format!("give {} the address of metadata", self.name))?;
        let bind = |address| {
            self.ns
                .bind_tcp(address)
                .with_context(|| format!("listen on {address} in {}", self.name))
        };
        Ok([
            Server { listener: bind(EC2_ADDRESS)?, service: cloud.ec2() },
            Server { listener: bind(IMDS_ADDRESS)?, service: cloud.imds(&self.instance) },
        ])
    }

    /// Starts a process in the node's namespaces.
    pub(crate) fn spawn(&self, command: Command) -> io::Result<Child> {
        self.ns.spawn(command).map_err(io::Error::other)
    }

    /// Does `work` in the node's namespaces.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        self.ns.run(work).with_context(|| format!("enter {}", self.name))
    }

    /// A new pod's namespace.
    pub(crate) fn pod_home(&self, name: &str) -> Result<PodHome, String> {
        let home = || -> anyhow::Result<PodHome> {
            let ns = PodNs::new(&self.ns, &Path::new(NETNS_DIR).join(name))?;
            let echo = echo_servers(&ns)?;
            Ok(PodHome { ns, _echo: echo })
        };
        home().map_err(|e| format!("no namespace for a pod on {}: {e:#}", self.name))
    }

    /// Starts the daemon; it is not ready yet.
    pub(crate) fn start_daemon(&self) -> Result<(), DaemonError> {
        let spawn = |command| self.spawn(command);
        let daemon = Daemon::start(&self.name, &self.ipamd, &self.env, &self.log, spawn)?;
        *self.daemon() = Some(daemon);
        Ok(())
    }

    /// Waits until the daemon serves.
    pub(crate) fn await_daemon(&self) -> Result<(), DaemonError> {
        let started = Instant::now();
        loop {
            let health = self.health();
            if health.as_ref().is_ok_and(|h| h.ready) {
                return Ok(());
            }
            self.check_daemon()?;
            if started.elapsed() >= READY_DEADLINE {
                let why = match health {
                    Ok(Health { degraded, .. }) => degraded.join("; "),
                    Err(e) => format!("{e:#}"),
                };
                return match &*self.daemon() {
                    Some(daemon) => Err(daemon.not_ready(READY_DEADLINE, why)),
                    None => Ok(()),
                };
            }
            thread::sleep(READY_POLL);
        }
    }

    /// An error, with its last words, if the daemon is not running.
    pub(crate) fn check_daemon(&self) -> Result<(), DaemonError> {
        self.daemon().as_mut().map_or(Ok(()), Daemon::check)
    }

    /// SIGKILL, and a new daemon at once.
    pub(crate) fn restart_daemon(&self) -> Result<(), DaemonError> {
        if let Some(daemon) = self.daemon().as_mut() {
            daemon.kill()?;
        }
        self.start_daemon()
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop_daemon(&self) -> Result<(), DaemonError> {
        self.daemon().take().map_or(Ok(()), |mut daemon| daemon.stop())
    }

    pub(crate) fn daemon_rss_kb(&self) -> u64 {
        self.daemon().as_ref().map_or(0, Daemon::rss_kb)
    }

    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        self.daemon().as_ref().map(Daemon::pid)
    }

    /// What the daemon says of its pool.
    pub(crate) fn pool(&self) -> anyhow::Result<Pool> {
        self.inside(introspect::pool)?.with_context(|| format!("ipamd of {}", self.name))
    }

    /// The daemon's state file; empty if there is none.
    pub(crate) fn state_file(&self) -> anyhow::Result<String> {
        match self.inside(|| std::fs::read_to_string(STATE_FILE))? {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.with_context(|| format!("read {STATE_FILE} of {}", self.name)),
        }
    }

    /// Where the daemon's log is, in the box's mount namespace.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Its namespaces, for the probes.
    pub(crate) fn namespace(&self) -> &Namespace {
        self.ns.namespace()
    }

    fn health(&self) -> anyhow::Result<Health> {
        self.inside(introspect::health)?.map_err(|e| anyhow!(e))
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Echo servers by TCP and UDP that answer on every address of a namespace.
pub(crate) fn echo_servers(ns: impl AsRef<Namespace>) -> Result<[EchoServer; 2], NsError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, ECHO_PORT));
    Ok([EchoServer::tcp(ns.as_ref(), any)?, EchoServer::udp(ns.as_ref(), any)?])
}

/// Of link scope, or the kernel would choose it as the source of the node's packets to pods. To be
/// called in a node's network namespace.
fn give_loopback(ip: IpAddr) -> Result<(), NetlinkError> {
    let address = Address { global: false, ..Address::new(LOOPBACK_INDEX, ip, 32) };
    netlink::Socket::open()?.request(address.add())
}

fn environment(name: &str, setup: &Setup) -> Vec<(&'static str, OsString)> {
    let prefixes = setup.options.mode == Mode::Prefix;
    let text = |text: &str| OsString::from(text);
    let mut env = vec![
        ("AWS_ACCESS_KEY_ID", text("AKIAIOSFODNN7EXAMPLE")),
        ("AWS_SECRET_ACCESS_KEY", text("the-emulator-checks-no-signature")),
        ("AWS_EC2_ENDPOINT", format!("http://{EC2_ADDRESS}").into()),
        ("AWS_VPC_ENI_MTU", ENI_MTU.to_string().into()),
        ("AWS_VPC_K8S_CNI_LOG_FILE", text("stderr")),
        ("CLUSTER_NAME", text("box")),
        ("ENABLE_IPv4", text("true")),
        ("ENABLE_IPv6", text("false")),
        ("ENABLE_PREFIX_DELEGATION", text(if prefixes { "true" } else { "false" })),
        ("MAX_PODS", setup.max_pods.to_string().into()),
        ("MY_NODE_NAME", text(name)),
    ];
    if prefixes {
        env.push(("WARM_PREFIX_TARGET", text("1")));
    }
    for setting in PASSED_THROUGH {
        if let Some(value) = Options::passed_through(setting) {
            env.retain(|(name, _)| *name != setting);
            env.push((setting, value));
        }
    }
    env
}
