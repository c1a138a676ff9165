//! A VPC made of network namespaces: a router with AWS's source check, an internet host, and nodes
//! whose ENIs are plugged into the router.
//!
//! Each ENI is a veth pair, born with one end in its node. The router owns the gateway address of
//! every subnet on every port, answers ARP for all of the ENI's subnet that lies behind other ports,
//! and forwards a packet only if the ENI that it came by owns the packet's source address, as EC2's source check
//! does. What it drops it counts, per ENI, and remembers for a while.
//!
//! Not modelled: security groups and network ACLs, public addresses (a primary address is its own
//! public one), bandwidth, IPv6, and more than one VPC.

mod config;
mod drops;
mod error;
mod port;
mod ruleset;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use vpc_ipam_core::addr::Prefix;

pub use self::{
    config::{EniPort, FabricConfig, VPC_MTU},
    drops::{DropCount, DroppedSource, InternetRefused},
    error::FabricError,
};
use self::{port::Port, ruleset::INTERNET_IF};
use super::ns::{Namespace, NodeNs, NodeOptions};
use crate::{
    netlink::{
        Address, Batch, ErrorKind, LinkChange, Route, RouteType, Socket, VethEnd, add_veth,
        delete_link,
    },
    nft,
};

/// The router's end of the link to the internet host. Only the two of them ever see it.
const INTERNET_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 1);
/// Index of the router's link to the internet host.
const INTERNET_INDEX: u32 = 900;
/// Index of the first ENI's port. They count up and are never used twice, so that what is remembered
/// of a port stays true after it is gone.
const PORT_INDEX: u32 = 1000;

/// The VPC. Nodes, made by [`add_node`](Self::add_node), belong to the caller.
#[derive(Debug)]
pub struct Fabric {
    router: Namespace,
    internet: Namespace,
    internet_ip: Ipv4Addr,
    route: Socket,
    nft: nft::Socket,
    subnets: Vec<Prefix>,
    ports: BTreeMap<String, Port>,
    /// Ports of ENIs that are detached: by index, for what the router remembers of them.
    retired: BTreeMap<u32, Port>,
    /// What detached ENIs had dropped.
    retired_drops: BTreeMap<String, DropCount>,
    owners: BTreeMap<Prefix, String>,
    /// The kernel has nf_tables for ARP. Without, the router answers for too much.
    filters_arp: bool,
    next_index: u32,
}

impl Fabric {
    /// A VPC without subnets, nodes and ENIs: its router, and one host on the internet.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a step; outside a sandbox it does.
    pub fn new(config: &FabricConfig) -> Result<Self, FabricError> {
        let router_sysctls = [
            ("ipv4/ip_forward", "1"),
            // The source check is nftables' business here, and it counts.
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
        ];
        let router = Namespace::new("vpc-router", &router_sysctls)?;
        let host_sysctls = [("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0")];
        let internet = Namespace::new("internet", &host_sysctls)?;
        let mut fabric = Self {
            route: Socket::open_in(router.netns())?,
            nft: nft::Socket::open_in(router.netns())?,
            router,
            internet,
            internet_ip: config.internet,
            subnets: Vec::new(),
            ports: BTreeMap::new(),
            retired: BTreeMap::new(),
            retired_drops: BTreeMap::new(),
            owners: BTreeMap::new(),
            filters_arp: false,
            next_index: PORT_INDEX,
        };
        fabric.nft.commit(&ruleset::base())?;
        fabric.filters_arp = match fabric.nft.commit(&ruleset::base_arp()) {
            Ok(()) => true,
            Err(e) if e.kind() == ErrorKind::NotSupported => false,
            Err(e) => return Err(e.into()),
        };
        // What nobody owns goes nowhere, rather than to the internet.
        let holes: Batch = config
            .vpc_cidrs
            .iter()
            .map(|cidr| Route::to(*cidr).kind(RouteType::Blackhole).add())
            .collect();
        fabric.route.run(&holes)?;
        fabric.plug_internet(config)?;
        Ok(fabric)
    }

    fn plug_internet(&mut self, config: &FabricConfig) -> Result<(), FabricError> {
        let mtu = Some(config.internet_mtu);
        let end =
            VethEnd { index: Some(INTERNET_INDEX), mtu, up: true, ..VethEnd::new(INTERNET_IF) };
        let netns = Some(self.internet.netns().clone());
        let peer = VethEnd { index: Some(INTERNET_INDEX), mtu, netns, ..VethEnd::new("eth0") };
        let (host, gateway) = (IpAddr::V4(config.internet), IpAddr::V4(INTERNET_GATEWAY));
        let inside = [
            LinkChange::of_index(INTERNET_INDEX).up().request(),
            Address::new(INTERNET_INDEX, host, 32).add(),
            Route::to(Prefix::host(gateway)).dev(INTERNET_INDEX).on_link().add(),
            Route::default_route(true).via(gateway).dev(INTERNET_INDEX).add(),
        ];
        let outside = [
            add_veth(&end, &peer),
            Address::new(INTERNET_INDEX, gateway, 32).add(),
            Route::to(Prefix::host(host)).dev(INTERNET_INDEX).on_link().add(),
            Route::default_route(true).via(host).dev(INTERNET_INDEX).add(),
        ];
        self.route.run(&outside.into_iter().collect())?;
        Socket::open_in(self.internet.netns())?.run(&inside.into_iter().collect())?;
        self.settle_links()
    }

    /// The router's namespace, for looking inside.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// The internet host's namespace.
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// The internet host's address.
    pub fn internet_ip(&self) -> Ipv4Addr {
        self.internet_ip
    }

    /// Adds a subnet, whose gateway is its first address.
    ///
    /// # Errors
    ///
    /// If it is no IPv4 subnet with room for a gateway, or overlaps another one.
    pub fn add_subnet(&mut self, cidr: Prefix) -> Result<(), FabricError> {
        config::gateway(&cidr)?;
        if let Some(other) = self.subnets.iter().find(|s| s.covers(&cidr) || cidr.covers(s)) {
            return Err(FabricError::SubnetOverlap { subnet: cidr, other: *other });
        }
        self.subnets.push(cidr);
        Ok(())
    }

    /// Makes a node. It has no link yet; attach its primary ENI next.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a step.
    pub fn add_node(&mut self, name: &str, options: &NodeOptions) -> Result<NodeNs, FabricError> {
        Ok(NodeNs::new(name, options)?)
    }

    /// Plugs an ENI into `node`. A primary one is set up as the operating system does from DHCP: up,
    /// with its address and the default route; any other is down and without address.
    ///
    /// # Errors
    ///
    /// If the ENI is attached, its subnet is unknown, its address outside or owned, or the kernel
    /// refuses a step; nothing of it remains then.
    pub fn attach_eni(&mut self, node: &NodeNs, eni: &EniPort) -> Result<(), FabricError> {
        if self.ports.contains_key(&eni.eni_id) {
            return Err(FabricError::Attached { eni_id: eni.eni_id.clone() });
        }
        if !self.subnets.contains(&eni.subnet) {
            return Err(FabricError::NoSubnet { subnet: eni.subnet });
        }
        let primary = Prefix::host(IpAddr::V4(eni.primary_ip));
        if !eni.subnet.covers(&primary) {
            return Err(FabricError::OutsideSubnet { prefix: primary, subnet: eni.subnet });
        }
        if let Some(owner) = self.owner_of(&primary) {
            return Err(FabricError::Owned { prefix: primary, eni_id: owner });
        }
        let port = Port { index: self.next_index, node: node.name().to_owned(), eni: eni.clone() };
        self.next_index += 1;
        let attached = self
            .nft
            .commit(&self.port_rules(&port))
            .map_err(FabricError::from)
            .and_then(|()| port.plug(&mut self.route, node));
        if let Err(error) = attached {
            // Both may be half done or not at all.
            let _ = self.route.request(delete_link(port.index));
            let _ = self.nft.commit(&self.port_rules_gone(&port));
            return Err(error);
        }
        self.owners.insert(primary, eni.eni_id.clone());
        self.ports.insert(eni.eni_id.clone(), port);
        self.settle_links()
    }

    fn port_rules(&self, port: &Port) -> nft::Transaction {
        let mut t = ruleset::add_port(port);
        if self.filters_arp {
            ruleset::add_port_arp(&mut t, port);
        }
        t
    }

    fn port_rules_gone(&self, port: &Port) -> nft::Transaction {
        let mut t = ruleset::remove_port(port);
        if self.filters_arp {
            ruleset::remove_port_arp(&mut t, port);
        }
        t
    }

    /// Makes every port whose ENI is up carry packets at once.
    ///
    /// When a node brings an ENI up, the kernel activates the router's end in the background, and
    /// what the router sends until then is lost, the answer to the first ARP request for example.
    /// Asking for a single link makes the kernel catch up. For who must not lose a packet.
    ///
    /// # Errors
    ///
    /// If the kernel does not answer.
    pub fn settle_links(&mut self) -> Result<(), FabricError> {
        let ports = self.ports.values().map(|port| port.index);
        for index in ports.chain([INTERNET_INDEX]) {
            self.route.link_by_index(index)?;
        }
        Ok(())
    }

    /// Unplugs an ENI. Its addresses are free afterwards; what it had dropped stays on record.
    ///
    /// # Errors
    ///
    /// If it is not attached, or the kernel refuses a step.
    pub fn detach_eni(&mut self, eni_id: &str) -> Result<(), FabricError> {
        let port = self.port(eni_id)?.clone();
        let dropped = self.drops()?.remove(eni_id).unwrap_or_default();
        match self.route.request(delete_link(port.index)) {
            // The node's namespace may be gone, and the link with it.
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        self.nft.commit(&self.port_rules_gone(&port))?;
        self.owners.retain(|_, owner| owner != eni_id);
        self.ports.remove(eni_id);
        self.retired_drops.insert(eni_id.to_owned(), dropped);
        self.retired.insert(port.index, port);
        Ok(())
    }

    /// Says which secondary addresses and prefixes an ENI owns, instead of those that it owned. One
    /// that another ENI owned as a secondary is moved.
    ///
    /// # Errors
    ///
    /// If the ENI is not attached, a prefix lies outside its subnet, overlaps another in part or is
    /// somebody's primary address, or the kernel refuses a step.
    pub fn set_owned(&mut self, eni_id: &str, owned: &[Prefix]) -> Result<(), FabricError> {
        let port = self.port(eni_id)?.clone();
        let wanted: BTreeSet<Prefix> = owned.iter().copied().collect();
        for prefix in &wanted {
            self.check_ownable(&port, &wanted, prefix)?;
        }
        let mut changes = nft::Transaction::new();
        let mut routes = Batch::new();
        let lost: Vec<Prefix> = self
            .owners
            .iter()
            .filter(|(p, owner)| *owner == eni_id && **p != port.primary() && !wanted.contains(p))
            .map(|(p, _)| *p)
            .collect();
        for prefix in &lost {
            ruleset::disown(&mut changes, &port, prefix);
            routes.push(port.route_to(*prefix).delete());
        }
        let gained: Vec<Prefix> = wanted
            .iter()
            .filter(|p| self.owners.get(p).is_none_or(|owner| owner != eni_id))
            .copied()
            .collect();
        for prefix in &gained {
            if let Some(previous) = self.owners.get(prefix).and_then(|id| self.ports.get(id)) {
                ruleset::disown(&mut changes, previous, prefix);
            }
            ruleset::own(&mut changes, &port, prefix);
            routes.push(port.route_to(*prefix).replace());
        }
        self.nft.commit(&changes)?;
        self.route.run(&routes)?;
        for prefix in lost {
            self.owners.remove(&prefix);
        }
        for prefix in gained {
            self.owners.insert(prefix, eni_id.to_owned());
        }
        Ok(())
    }

    fn check_ownable(
        &self,
        port: &Port,
        wanted: &BTreeSet<Prefix>,
        prefix: &Prefix,
    ) -> Result<(), FabricError> {
        if !port.eni.subnet.covers(prefix) {
            return Err(FabricError::OutsideSubnet { prefix: *prefix, subnet: port.eni.subnet });
        }
        let movable = |other: &Prefix, owner: &str| {
            // What the ENI itself owned and no longer does is given up before.
            (owner == port.eni.eni_id && *other != port.primary() && !wanted.contains(other))
                || (other == prefix && !self.is_primary(owner, prefix))
        };
        let overlaps = |p: &Prefix| p.covers(prefix) || prefix.covers(p);
        let owner =
            self.owners.iter().find(|(p, owner)| overlaps(p) && !movable(p, owner)).map(|(_, o)| o);
        let twice = wanted.iter().any(|p| p != prefix && overlaps(p)).then_some(&port.eni.eni_id);
        match owner.or(twice) {
            Some(owner) => Err(FabricError::Owned { prefix: *prefix, eni_id: owner.clone() }),
            None => Ok(()),
        }
    }

    fn is_primary(&self, eni_id: &str, prefix: &Prefix) -> bool {
        self.ports.get(eni_id).is_some_and(|port| port.primary() == *prefix)
    }

    fn owner_of(&self, prefix: &Prefix) -> Option<String> {
        self.owners
            .iter()
            .find(|(p, _)| p.covers(prefix) || prefix.covers(p))
            .map(|(_, owner)| owner.clone())
    }

    fn port(&self, eni_id: &str) -> Result<&Port, FabricError> {
        self.ports.get(eni_id).ok_or_else(|| FabricError::NotAttached { eni_id: eni_id.to_owned() })
    }
}
