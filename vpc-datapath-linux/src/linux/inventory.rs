//! What of ours is on a node, and removing it.

use std::collections::BTreeMap;

use vpc_ipam_core::datapath::{DatapathError, MAIN_TABLE};

use super::{LinuxDatapath, failed, failed_all, lock};
use crate::{
    desired::nft_table,
    layout::{POD_TABLE, PRIORITY_CLASSIC_FROM_POD, PRIORITY_CLASSIC_TO_POD, PROTOCOL},
    names::VethPrefix,
    netlink::{
        Batch, ErrorKind, Link, LinkChange, NetlinkError, Route, RouteFilter, RouteType, Rule,
        Socket, delete_link_group,
    },
    nft::Transaction,
};

/// Device group of links that are about to be deleted together: "VPC" in ASCII.
const GROUP_DEAD: u32 = 0x0056_5043;
/// Links deleted in one call: 120 take about 40 ms, almost all of it one wait for all of them.
const SWEEP_MAX: usize = 120;

/// What of ours is in a node's kernel.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Inventory {
    /// Rules of the node, of ENIs, and classic ones of pods.
    pub rules: Vec<Rule>,
    /// Routes to pods and of ENI tables.
    pub routes: Vec<Route>,
    /// Names of host veths.
    pub veths: Vec<String>,
    /// Names of nftables tables.
    pub nft_tables: Vec<String>,
}

impl Inventory {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.rules.len() + self.routes.len() + self.veths.len() + self.nft_tables.len()
    }

    /// True if nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One line per object.
    pub fn lines(&self) -> Vec<String> {
        let rules = self.rules.iter().map(|r| format!("rule {r}"));
        let routes = self.routes.iter().map(|r| format!("route {r}"));
        let veths = self.veths.iter().map(|v| format!("link {v}"));
        let tables = self.nft_tables.iter().map(|t| format!("nftables table {t}"));
        rules.chain(routes).chain(veths).chain(tables).collect()
    }
}

fn is_ours(rule: &Rule) -> bool {
    let is_host = |p: Option<vpc_ipam_core::addr::Prefix>| p.is_some_and(|p| p.is_host());
    rule.protocol == PROTOCOL
        || (rule.priority == PRIORITY_CLASSIC_TO_POD && is_host(rule.dst))
        || (rule.priority == PRIORITY_CLASSIC_FROM_POD && is_host(rule.src))
}

fn is_pod_route(route: &Route) -> bool {
    route.kind == RouteType::Unicast
        && route.dst.is_host()
        && (route.table == POD_TABLE || (route.table == MAIN_TABLE && route.protocol == PROTOCOL))
}

fn host_veths(socket: &mut Socket, prefix: &VethPrefix) -> Result<Vec<Link>, NetlinkError> {
    let mut links = socket.links()?;
    links.retain(|l| l.kind.as_deref() == Some("veth") && prefix.is_host_name(&l.name));
    Ok(links)
}

impl LinuxDatapath {
    /// Everything of ours on the node.
    ///
    /// # Errors
    ///
    /// If a dump fails.
    pub fn inventory(&self, prefix: &VethPrefix) -> Result<Inventory, DatapathError> {
        self.take_inventory(prefix).map_err(|e| failed("node", &e))
    }

    fn take_inventory(&self, prefix: &VethPrefix) -> Result<Inventory, NetlinkError> {
        let mut inventory = {
            let mut socket = lock(&self.route);
            let mut inventory = Inventory {
                rules: socket.rules(true)?,
                routes: socket.routes(true, RouteFilter::default())?,
                veths: host_veths(&mut socket, prefix)?.into_iter().map(|l| l.name).collect(),
                nft_tables: Vec::new(),
            };
            inventory.rules.retain(is_ours);
            inventory.routes.retain(|r| r.protocol == PROTOCOL || r.table == POD_TABLE);
            inventory
        };
        let mut tables = self.with_nft(|nft| nft.tables())?;
        tables.retain(|t| *t == nft_table());
        inventory.nft_tables = tables.into_iter().map(|t| t.name).collect();
        Ok(inventory)
    }

    /// What of single pods is on the node: routes, classic rules and host veths whose pod is not among
    /// `live`, given by names of host veths. For finding what a crash or a lost DEL left behind.
    ///
    /// # Errors
    ///
    /// If a dump fails.
    pub fn leftovers(
        &self,
        prefix: &VethPrefix,
        live: &[String],
    ) -> Result<Inventory, DatapathError> {
        let find = || -> Result<Inventory, NetlinkError> {
            let mut socket = lock(&self.route);
            let names: BTreeMap<u32, String> =
                socket.links()?.into_iter().map(|l| (l.index, l.name)).collect();
            let is_live = |r: &Route| {
                r.dev.and_then(|dev| names.get(&dev)).is_some_and(|name| live.contains(name))
            };
            let (kept, mut routes): (Vec<_>, Vec<_>) = socket
                .routes(true, RouteFilter::default())?
                .into_iter()
                .filter(is_pod_route)
                .partition(is_live);
            routes.retain(|r| !is_live(r));
            let of_live = |rule: &Rule| {
                kept.iter().any(|r| Some(r.dst) == rule.dst || Some(r.dst) == rule.src)
            };
            let mut rules = socket.rules(true)?;
            rules.retain(|r| r.protocol != PROTOCOL && is_ours(r) && !of_live(r));
            let mut veths: Vec<_> =
                host_veths(&mut socket, prefix)?.into_iter().map(|l| l.name).collect();
            veths.retain(|name| !live.contains(name));
            Ok(Inventory { rules, routes, veths, nft_tables: Vec::new() })
        };
        find().map_err(|e| failed("node", &e))
    }

    /// Deletes host veths that are down and have no route: ends of pods that DEL has taken down. Returns
    /// how many. Deletes them in groups, since each call waits for the kernel; not on the path of a pod.
    ///
    /// # Errors
    ///
    /// If a dump or a deletion fails.
    pub fn sweep_dead_links(&self, prefix: &VethPrefix) -> Result<usize, DatapathError> {
        let sweep = || -> Result<usize, NetlinkError> {
            let mut socket = lock(&self.route);
            let mut dead = host_veths(&mut socket, prefix)?;
            let routes = socket.routes(true, RouteFilter::default())?;
            dead.retain(|l| !l.up && !routes.iter().any(|r| r.dev == Some(l.index)));
            let mut swept = 0;
            for chunk in dead.chunks(SWEEP_MAX) {
                mark_dead(&mut socket, chunk)?;
                swept += chunk.len().saturating_sub(spare_living(&mut socket)?);
                found(socket.request(delete_link_group(GROUP_DEAD)))?;
            }
            Ok(swept)
        };
        sweep().map_err(|e| failed("node", &e))
    }

    /// Removes everything of ours from the node; pods lose their network. The links of ENIs keep their
    /// addresses and settings.
    ///
    /// # Errors
    ///
    /// After trying everything, the failures together.
    pub fn clean_node(&self, prefix: &VethPrefix) -> Result<(), DatapathError> {
        let inventory = self.inventory(prefix)?;
        let mut errors = Vec::new();
        if !inventory.nft_tables.is_empty() {
            let mut tx = Transaction::new();
            tx.delete_table(&nft_table());
            errors.extend(self.with_nft(|nft| nft.commit(&tx)).err());
        }
        let mut socket = lock(&self.route);
        let rules = inventory.rules.iter().map(Rule::delete);
        let batch: Batch = rules.chain(inventory.routes.iter().map(Route::delete)).collect();
        errors.extend(found(socket.run(&batch)).err());
        let deleted =
            host_veths(&mut socket, prefix).and_then(|links| delete_links(&mut socket, &links));
        errors.extend(deleted.err());
        if errors.is_empty() { Ok(()) } else { Err(failed_all("node", &errors)) }
    }
}

/// Deletes links by way of a device group. Those that vanish meanwhile count too.
fn delete_links(socket: &mut Socket, links: &[Link]) -> Result<usize, NetlinkError> {
    for chunk in links.chunks(SWEEP_MAX) {
        mark_dead(socket, chunk)?;
        found(socket.request(delete_link_group(GROUP_DEAD)))?;
    }
    Ok(links.len())
}

fn mark_dead(socket: &mut Socket, links: &[Link]) -> Result<(), NetlinkError> {
    let marked = links.iter().map(|l| LinkChange::of_index(l.index).group(GROUP_DEAD).request());
    found(socket.run(&marked.collect()))
}

/// Takes links that are up out of the group again, and tells how many: a pod that came again with its
/// old name and address, after its dead link was looked at and before it was marked, has the same index.
fn spare_living(socket: &mut Socket) -> Result<usize, NetlinkError> {
    let mut living = socket.links()?;
    living.retain(|l| l.up && l.group == GROUP_DEAD);
    let spared = living.iter().map(|l| LinkChange::of_index(l.index).group(0).request());
    found(socket.run(&spared.collect()))?;
    Ok(living.len())
}

/// What is gone already is fine.
fn found(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(NetlinkError::Refused(mut refusals)) => {
            refusals.retain(|r| r.kind() != ErrorKind::NotFound);
            if refusals.is_empty() { Ok(()) } else { Err(NetlinkError::Refused(refusals)) }
        }
        other => other,
    }
}
