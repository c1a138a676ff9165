//! Addresses for pods without any cloud: a fixed block from a configuration, and the pool driven by
//! hand. No backend, no driver, no async.
//!
//! `static_pool [CONFIG.json]` gives the block's addresses to pods until there are none, with a restart
//! in between, and gives one back. Without a file it uses a configuration of its own.

#![forbid(unsafe_code)]

use std::{env, fs, net::IpAddr, time::Duration};

use anyhow::Context as _;
use vpc_ipam_core::{
    addr::Prefix,
    checkpoint,
    cloud::{Authority, CloudEni, CloudView, EniKind},
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{MacAddr, PodRef, SandboxKey},
    pool::{Action, Assign, Event, Pool, Reply},
    time::Time,
};

const CONFIG: &str = r#"{"interface": "02:00:00:00:00:01", "node": "192.168.7.2",
    "subnet": "192.168.7.0/24", "pods": "192.168.7.64/30"}"#;
/// More than any node runs pods.
const PODS_MAX: u32 = 1024;

#[derive(serde::Deserialize)]
struct Config {
    interface: MacAddr,
    node: IpAddr,
    subnet: Prefix,
    pods: Prefix,
}

impl Config {
    fn pool(&self) -> anyhow::Result<PoolConfig> {
        let addresses = u32::try_from(self.pods.size()).ok().filter(|size| *size <= PODS_MAX);
        let slots = addresses.with_context(|| format!("{} is too large for a node", self.pods))?;
        let mode = AllocationMode::Secondary;
        let mut pool = PoolConfig::new(mode, WarmTargets::default(), 1, slots)?;
        // There is nothing to grow into, and so nothing that a pod could wait for.
        pool.provisioning = false;
        pool.add_wait = Duration::ZERO;
        Ok(pool)
    }

    /// The node as a cloud would describe it: one interface, which holds all addresses.
    fn view(&self) -> anyhow::Result<CloudView> {
        let ips = (0..self.pods.size()).filter_map(|n| self.pods.nth(n));
        let interface = CloudEni {
            id: "eni-static".parse()?,
            mac: self.interface,
            device: 0,
            card: 0,
            kind: EniKind::Interface,
            primary: true,
            excluded: false,
            subnet: "subnet-static".parse()?,
            subnet_cidr: self.subnet,
            primary_ip: self.node,
            cidrs: ips.map(Prefix::host).collect(),
            tags: [].into(),
        };
        // Nobody knows better: what is not in the configuration does not exist.
        Ok(CloudView { enis: vec![interface], authority: Authority::Ec2 })
    }
}

struct Ipam {
    pool: Pool,
    view: CloudView,
    /// The state file. Yours is on a disk: write a new one, sync it, rename it over the old one.
    saved: Vec<u8>,
    now: Time,
}

impl Ipam {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let pool = Pool::new(config.pool()?, Time::ZERO);
        let mut ipam = Self { pool, view: config.view()?, saved: Vec::new(), now: Time::ZERO };
        ipam.work()?;
        Ok(ipam)
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        let leases = checkpoint::decode(&self.saved)?;
        self.pool = Pool::restore(self.pool.config().clone(), &leases, self.now);
        self.work().map(drop)
    }

    /// Does what the pool wants done now. Returns its answer to what was asked, if there is one.
    fn work(&mut self) -> anyhow::Result<Option<Reply>> {
        self.pool.handle(Event::Timeout, self.now);
        while let Some(action) = self.pool.poll_action(self.now) {
            let event = match action {
                Action::Describe { op, .. } => {
                    Event::Described { op, result: Ok(self.view.clone()) }
                }
                // The operating system has set up the interface.
                Action::SetUpEni { op, .. } => Event::EniSetUp { op, result: Ok(()) },
                Action::Persist { op, .. } => {
                    self.saved = checkpoint::encode(&self.pool.checkpoint());
                    Event::Persisted { op, result: Ok(()) }
                }
                other => anyhow::bail!("there is no cloud to do this in: {other:?}"),
            };
            self.pool.handle(event, self.now);
        }
        Ok(self.pool.poll_reply())
    }

    fn add(&mut self, name: &str) -> anyhow::Result<()> {
        let pod = PodRef { namespace: "demo".to_owned(), name: name.to_owned() };
        let answer = match self.pool.assign(key(name)?, pod, self.now)? {
            Assign::Ready(answer) => Ok(answer),
            Assign::Pending(_) => self.work()?.context("the pool owes an answer")?.result,
        };
        match answer {
            Ok(answer) => println!("ADD {name}: {}", answer.ip),
            Err(error) => println!("ADD {name}: {error}"),
        }
        Ok(())
    }
}

fn key(name: &str) -> anyhow::Result<SandboxKey> {
    Ok(SandboxKey::new("static-net", name, "eth0")?)
}

fn main() -> anyhow::Result<()> {
    let text = env::args().nth(1).map_or(Ok(CONFIG.to_owned()), fs::read_to_string)?;
    let config: Config = serde_json::from_str(&text).context("understand the configuration")?;
    let mut ipam = Ipam::new(&config)?;
    for n in 1..=config.pods.size() {
        ipam.add(&format!("pod-{n}"))?;
    }
    println!("restart");
    ipam.restart()?;
    // The same sandbox gets the same address, however often it asks; another one gets none.
    ipam.add("pod-1")?;
    ipam.add("one-more")?;
    ipam.pool.release(&key("pod-2")?, ipam.now)?;
    println!("DEL pod-2; its address rests");
    ipam.work()?;
    ipam.add("one-more")?;
    ipam.now = ipam.now + ipam.pool.config().cooldown + Duration::from_millis(1);
    ipam.add("one-more")?;
    Ok(())
}
