//! What remains on a node after all its pods are gone: everything that neither the operating system
//! nor an ENI that EC2 still has attached accounts for. Judged by an own list of what may be there,
//! not by the datapath's idea of what it made.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use vpc_datapath_linux::{
    layout::POD_TABLE,
    netlink::{Link, Route, RouteFilter, RouteType, Rule, Socket},
    nft::{self, Interval, Table},
};
use vpc_ipam_core::{
    addr::Prefix,
    checkpoint,
    datapath::{MAIN_TABLE, route_table},
    id::MacAddr,
    testkit::ec2::Eni,
};

use crate::{node::Node, scene::Scene};

/// Links die about 50 ms after their namespace, on a busy machine later.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// The kernel's own tables beside main.
const KERNEL_TABLES: [u32; 2] = [253, 255];
/// Rules that each namespace is born with, and the node's own: pods' table, connection mark,
/// external services.
const NODE_PRIORITIES: [u32; 6] = [0, 32_766, 32_767, 513, 1_024, 1_535];
/// Rules by an ENI's number, counted from this.
const ENI_MARK_PRIORITY: u32 = 1_536;
/// Largest ENI number.
const ENI_NUMBER_MAX: u32 = 127;
/// Rules by an ENI's primary address.
const ENI_ADDRESS_PRIORITY: u32 = 32_765;
/// Where the daemon sorts packets by source.
const SOURCE_MAP: &str = "pod-src4";
const TABLE: &str = "vpc-cni";
/// Chains that exist once on a node.
const NODE_CHAINS: [&str; 4] = ["nodeport", "connmark", "classify", "egress"];

/// Looks until nothing is left or the deadline has passed; what is left then, in words.
pub(crate) fn find(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut left = Vec::new();
        for node in &scene.nodes {
            let enis: Vec<Eni> =
                scene.cloud.world().enis_of(&node.instance).into_iter().cloned().collect();
            let found = on_node(node, &enis)?;
            left.extend(found.into_iter().map(|object| format!("{}: {object}", node.name)));
        }
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        thread::sleep(POLL);
    }
}

fn on_node(node: &Node, enis: &[Eni]) -> anyhow::Result<Vec<String>> {
    let kernel = node.inside(Kernel::read)?.context("list kernel objects")?;
    let mut left = kernel.leftovers(enis);
    let assigned = node.pool()?.assigned_addresses();
    left.extend(assigned.into_iter().map(|ip| format!("lease of {ip} in the daemon")));
    let state = node.state_file()?;
    if !state.trim().is_empty() {
        let checkpoint = checkpoint::decode(state.as_bytes()).context("read the state file")?;
        let leases = checkpoint.leases.iter();
        left.extend(leases.map(|l| format!("lease of {} to {} in the state file", l.ip, l.key)));
    }
    Ok(left)
}

/// A node's kernel objects.
#[derive(Debug, Default)]
struct Kernel {
    links: Vec<Link>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
    tables: Vec<Table>,
    chains: Vec<String>,
    sources: Vec<Interval>,
}

impl Kernel {
    /// To be called in the node's network namespace.
    fn read() -> anyhow::Result<Self> {
        let (mut route, mut nft) = (Socket::open()?, nft::Socket::open()?);
        let table = Table::ipv4(TABLE);
        Ok(Self {
            links: route.links()?,
            routes: route.routes(true, RouteFilter::default())?,
            rules: route.rules(true)?,
            tables: nft.tables()?,
            chains: nft.chains(&table)?.into_iter().map(|c| c.name).collect(),
            sources: Interval::of_elements(&nft.elements(&table, SOURCE_MAP)?),
        })
    }

    fn leftovers(&self, enis: &[Eni]) -> Vec<String> {
        let allowed = Allowed::new(enis);
        let mut left = Vec::new();
        let links = self.links.iter().filter(|l| !allowed.link(l));
        left.extend(links.map(|l| format!("link {}", l.name)));
        let rules = self.rules.iter().filter(|r| !allowed.rule(r));
        left.extend(rules.map(|r| format!("rule {}: {r:?}", r.priority)));
        let names: BTreeMap<u32, &str> =
            self.links.iter().map(|l| (l.index, l.name.as_str())).collect();
        for route in self.routes.iter().filter(|r| !allowed.route(r)) {
            let dev = route.dev.and_then(|d| names.get(&d)).copied().unwrap_or("none");
            left.push(format!("route to {} dev {dev} in table {}", route.dst, route.table));
        }
        for table in self.tables.iter().filter(|t| t.name != TABLE) {
            left.push(format!("nft table {}", table.name));
        }
        let chains = self.chains.iter().filter(|c| !NODE_CHAINS.contains(&c.as_str()));
        let eni_chains: Vec<_> = chains.collect();
        if eni_chains.len() > allowed.secondary {
            left.push(format!(
                "nft chains {eni_chains:?} for {} secondary ENI(s)",
                allowed.secondary
            ));
        }
        for source in self.sources.iter().filter(|s| !allowed.source(s)) {
            left.push(format!("nft element {}-{}", source.first, source.last));
        }
        left
    }
}

/// What the attached ENIs account for.
struct Allowed {
    macs: BTreeSet<MacAddr>,
    primary_ips: BTreeSet<IpAddr>,
    tables: BTreeSet<u32>,
    /// What all ENIs own for pods.
    owned: Vec<Prefix>,
    /// What the secondary ones own: the primary one has no sources.
    sources: Vec<Prefix>,
    secondary: usize,
}

impl Allowed {
    fn new(enis: &[Eni]) -> Self {
        let tables = enis.iter().filter_map(|e| e.attachment.as_ref());
        Self {
            macs: enis.iter().map(|e| e.mac).collect(),
            primary_ips: enis.iter().filter_map(|e| e.primary_ip).map(IpAddr::V4).collect(),
            tables: tables.map(|a| route_table(a.card, a.device)).collect(),
            owned: enis.iter().flat_map(Eni::owned).collect(),
            sources: enis.iter().filter(|e| !e.is_primary()).flat_map(Eni::owned).collect(),
            secondary: enis.iter().filter(|e| !e.is_primary()).count(),
        }
    }

    fn link(&self, link: &Link) -> bool {
        link.name == "lo" || link.mac.is_some_and(|mac| self.macs.contains(&mac))
    }

    fn rule(&self, rule: &Rule) -> bool {
        let table = self.tables.contains(&rule.table) && rule.table != MAIN_TABLE;
        match rule.priority {
            ENI_ADDRESS_PRIORITY => {
                table && rule.src.is_some_and(|src| self.primary_ips.contains(&src.base()))
            }
            p if NODE_PRIORITIES.contains(&p) => rule.src.is_none(),
            p => table && (ENI_MARK_PRIORITY + 1..=ENI_MARK_PRIORITY + ENI_NUMBER_MAX).contains(&p),
        }
    }

    /// The operating system's routes in main are none of ours, but none of them leads to a pod. In
    /// the pods' table, addresses without a pod lead nowhere.
    fn route(&self, route: &Route) -> bool {
        match route.table {
            MAIN_TABLE => !(route.dst.is_host() && self.is_pods(route.dst.base())),
            POD_TABLE => route.kind == RouteType::Blackhole && self.owns_all(&route.dst),
            table => KERNEL_TABLES.contains(&table) || self.tables.contains(&table),
        }
    }

    /// An address that only a pod can have.
    fn is_pods(&self, ip: IpAddr) -> bool {
        !self.primary_ips.contains(&ip) && matches!(ip, IpAddr::V4(ip) if is_vpc(ip))
    }

    fn owns_all(&self, block: &Prefix) -> bool {
        (0..block.size())
            .map_while(|n| block.nth(n))
            .all(|ip| self.owned.iter().any(|cidr| cidr.contains(ip)))
    }

    fn source(&self, source: &Interval) -> bool {
        let owned = |ip: Ipv4Addr| self.sources.iter().any(|cidr| cidr.contains(ip.into()));
        owned(source.first) && owned(source.last)
    }
}

fn is_vpc(ip: Ipv4Addr) -> bool {
    ip.octets().starts_with(&[10])
}

#[cfg(test)]
#[path = "leftovers_tests.rs"]
mod tests;
