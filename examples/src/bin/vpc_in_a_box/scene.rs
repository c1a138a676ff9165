//! The VPC, its nodes and what is installed on them.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use nix::mount::{MsFlags, mount};
use vpc_datapath_linux::testkit::{
    fabric::{Fabric, FabricConfig},
    ns::{Namespace, NodeNs, NodeOptions},
    probe::EchoServer,
};
use vpc_eni_aws::emulator::wall_clock;
use vpc_ipam_core::{id::MacAddr, testkit::ec2::World};

use crate::{
    binaries::Binaries,
    cloud::{Cloud, ENI_MTU, primary_ip},
    cni::Plugin,
    node::{ECHO_PORT, Node, Place, echo_servers},
    setup::{INTERNET, Setup, VPC_CIDR, cidr},
};

/// The box's own files: logs and copies of the programs under test. On a tmpfs that dies with the
/// sandbox.
const RUN_DIR: &str = "/run/vpc-in-a-box";
/// A runtime's patience with a plugin. The plugin's own, with the daemon, is 60 s.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(90);
/// Where the plugin writes its log, in the node's mount namespace.
const PLUGIN_LOG: &str = "/var/log/aws-routed-eni/plugin.log";

/// Everything that runs beside the pods.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) cloud: Cloud,
    pub(crate) nodes: Vec<Node>,
    pub(crate) plugin: Plugin,
    pub(crate) vpc_host: VpcHost,
    pub(crate) internet: Namespace,
    _echo: [EchoServer; 2],
}

/// A host in the VPC that is no node.
#[derive(Debug)]
pub(crate) struct VpcHost {
    pub(crate) ip: Ipv4Addr,
    pub(crate) ns: NodeNs,
    _echo: [EchoServer; 2],
}

impl Scene {
    /// Builds it all; no daemon runs yet.
    pub(crate) fn build(setup: &Setup, binaries: &Binaries) -> anyhow::Result<Self> {
        let run_dir = run_dir()?;
        let world = setup.world(wall_clock()())?;
        let mut fabric = Fabric::new(&FabricConfig::new(&[cidr(VPC_CIDR)?], INTERNET))
            .context("make the VPC's router")?;
        for subnet in world.subnets() {
            fabric.add_subnet(subnet.cidr).context("add a subnet to the router")?;
        }
        let mut places = places(&world, &mut fabric, setup)?;
        let internet = fabric.internet().clone();
        let echo = echo_servers(&internet).context("start the internet host")?;
        let homes = places.iter().map(|p| (p.instance.clone(), p.ns.clone())).collect();
        let cloud = Cloud::new(world, fabric, homes)?;
        cloud.inject(&setup.faults);

        let Place { ip, ns, .. } = places.pop().ok_or_else(|| anyhow!("there is no VPC host"))?;
        let vpc_host = VpcHost { ip, _echo: echo_servers(&ns).context("start the VPC host")?, ns };
        let mut nodes = Vec::new();
        let mut servers = Vec::new();
        for (index, place) in places.into_iter().enumerate() {
            let node = Node::new(index, place, &run_dir, binaries.ipamd.clone(), setup)?;
            servers.extend(node.servers(&cloud)?);
            nodes.push(node);
        }
        cloud.serve(servers)?;
        let plugin = Plugin {
            path: binaries.plugin.display().to_string(),
            cni_version: setup.options.cni_version.as_str(),
            log_file: PLUGIN_LOG.to_owned(),
            mtu: ENI_MTU,
            deadline: PLUGIN_DEADLINE,
        };
        Ok(Self { cloud, nodes, plugin, vpc_host, internet, _echo: echo })
    }

    /// MACs of a node's secondary ENIs.
    pub(crate) fn secondary_macs(&self, node: &Node) -> Vec<MacAddr> {
        let world = self.cloud.world();
        let enis = world.enis_of(&node.instance);
        enis.into_iter().filter(|e| !e.is_primary()).map(|e| e.mac).collect()
    }

    /// An ENI in words: where it hangs.
    pub(crate) fn describe_eni(&self, id: &str) -> String {
        let world = self.cloud.world();
        let found = world.enis().find(|e| e.id.as_str() == id);
        let attachment = found.and_then(|e| e.attachment.as_ref());
        let node = attachment.and_then(|a| self.nodes.iter().find(|n| n.instance == a.instance));
        match (attachment, node) {
            (Some(a), Some(node)) => format!("{}: eth{} ({id})", node.name, a.device),
            _ => id.to_owned(),
        }
    }
}

/// Namespaces of all instances, in the world's order: the last one is no node.
fn places(world: &World, fabric: &mut Fabric, setup: &Setup) -> anyhow::Result<Vec<Place>> {
    let mut options = NodeOptions::default();
    options.rp_filter = setup.options.rp_filter;
    let mut places = Vec::new();
    for (i, instance) in world.instances().iter().enumerate() {
        let is_node = i < usize::from(setup.options.nodes);
        let name = if is_node { format!("node-{}", i + 1) } else { "vpc-host".to_owned() };
        let ns = fabric.add_node(&name, &options).with_context(|| format!("make {name}"))?;
        let ip = primary_ip(world, &instance.id).ok_or_else(|| anyhow!("{name} has no address"))?;
        places.push(Place { name, instance: instance.id.clone(), ip, ns });
    }
    Ok(places)
}

fn run_dir() -> anyhow::Result<PathBuf> {
    let none = None::<&str>;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none)
        .context("mount a private /run")?;
    fs::create_dir_all(RUN_DIR).with_context(|| format!("make {RUN_DIR}"))?;
    Ok(RUN_DIR.into())
}

/// An address and the echo port.
pub(crate) fn echo_at(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), ECHO_PORT)
}
