//! Routes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol,
        RouteScope as RawScope, RouteType as RawType,
    },
};
use vpc_ipam_core::{addr::Prefix, datapath::MAIN_TABLE};

use super::{ErrorKind, NetlinkError, Request, Socket, family};

/// How far the destination is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum RouteScope {
    /// Beyond a gateway.
    #[default]
    Universe,
    /// On the link.
    Link,
    /// On this host.
    Host,
    /// Another value.
    Other(u8),
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum RouteType {
    /// Forwarded.
    #[default]
    Unicast,
    /// Delivered here.
    Local,
    /// Dropped without a word.
    Blackhole,
    /// Refused with ICMP.
    Unreachable,
    /// Another value.
    Other(u8),
}

/// A route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Destination; `/0` is the default route.
    pub dst: Prefix,
    /// Routing table.
    pub table: u32,
    /// Outgoing link.
    pub dev: Option<u32>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Source address that local sockets prefer.
    pub source: Option<IpAddr>,
    /// How far the destination is.
    pub scope: RouteScope,
    /// What happens to packets.
    pub kind: RouteType,
    /// Who made it: 2 the kernel, 3 `ip route`, 4 an administrator.
    pub protocol: u8,
    /// Priority among routes to the same destination; lower wins.
    pub metric: Option<u32>,
    /// The gateway is reachable on the link, whatever the tables say.
    pub onlink: bool,
}

/// `RTPROT_BOOT`, what `ip route` writes.
const PROTOCOL_BOOT: u8 = 3;

impl Route {
    /// A unicast route to `dst` in the main table, without link or gateway yet.
    pub fn to(dst: Prefix) -> Self {
        Self {
            dst,
            table: MAIN_TABLE,
            dev: None,
            gateway: None,
            source: None,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            protocol: PROTOCOL_BOOT,
            metric: None,
            onlink: false,
        }
    }

    /// The default route of a family.
    pub fn default_route(v4: bool) -> Self {
        let any: IpAddr =
            if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // Length 0 is valid in either family.
        Self::to(Prefix::new(any, 0).unwrap_or_else(|_| Prefix::host(any)))
    }

    /// In this table.
    #[must_use]
    pub fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// Out of this link.
    #[must_use]
    pub fn dev(mut self, index: u32) -> Self {
        self.dev = Some(index);
        self
    }

    /// By this next hop.
    #[must_use]
    pub fn via(mut self, gateway: IpAddr) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// Destination on the link.
    #[must_use]
    pub fn on_link(mut self) -> Self {
        self.scope = RouteScope::Link;
        self
    }

    /// Of another type; blackholes and the like have no link.
    #[must_use]
    pub fn kind(mut self, kind: RouteType) -> Self {
        self.kind = kind;
        if kind == RouteType::Local {
            self.scope = RouteScope::Host;
        }
        self
    }

    /// With this priority; lower wins.
    #[must_use]
    pub fn metric(mut self, metric: u32) -> Self {
        self.metric = Some(metric);
        self
    }

    /// Made by `protocol`.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = family(self.dst.is_v4());
        header.destination_prefix_length = self.dst.len();
        // Larger numbers travel in the attribute alone.
        header.table = u8::try_from(self.table).unwrap_or(0);
        header.protocol = RouteProtocol::from(self.protocol);
        header.scope = self.scope.into();
        header.kind = self.kind.into();
        if self.onlink {
            header.flags = RouteFlags::Onlink;
        }
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Destination(self.dst.base().into()));
        attributes.push(RouteAttribute::Table(self.table));
        attributes.extend(self.dev.map(RouteAttribute::Oif));
        attributes.extend(self.gateway.map(|ip| RouteAttribute::Gateway(ip.into())));
        attributes.extend(self.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        message
    }

    fn request(&self, verb: &str, flags: u16) -> Request {
        let message = RouteNetlinkMessage::NewRoute(self.message());
        Request::new(format!("{verb} route {self}"), message, flags)
    }

    /// Adds it; `EEXIST` if the table has a route to the destination.
    pub fn add(&self) -> Request {
        self.request("add", NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds it, or puts it in the place of the table's route to the destination.
    pub fn replace(&self) -> Request {
        self.request("replace", NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Deletes the first route that has all that is set here; `ESRCH` if there is none.
    pub fn delete(&self) -> Request {
        let message = RouteNetlinkMessage::DelRoute(self.message());
        Request::new(format!("delete route {self}"), message, 0)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteType::Unicast => {}
            kind => write!(f, "{} ", format!("{kind:?}").to_lowercase())?,
        }
        write!(f, "{}", self.dst)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(dev) = self.dev {
            write!(f, " dev {dev}")?;
        }
        if self.scope == RouteScope::Link {
            write!(f, " scope link")?;
        }
        write!(f, " table {}", self.table)?;
        match self.metric {
            Some(metric) => write!(f, " metric {metric}"),
            None => Ok(()),
        }
    }
}

/// Which routes to list; the kernel filters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RouteFilter {
    /// Of this table only.
    pub table: Option<u32>,
    /// Out of this link only.
    pub dev: Option<u32>,
}

impl Socket {
    /// The IPv4 or IPv6 routes that match `filter`. A table that does not exist has none.
    ///
    /// # Errors
    ///
    /// If the dump fails or cannot be read.
    pub fn routes(&mut self, v4: bool, filter: RouteFilter) -> Result<Vec<Route>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(v4);
        message.attributes.extend(filter.table.map(RouteAttribute::Table));
        message.attributes.extend(filter.dev.map(RouteAttribute::Oif));
        let wanted = |route: &Route| {
            filter.table.is_none_or(|t| t == route.table)
                && filter.dev.is_none_or(|d| route.dev == Some(d))
        };
        let pick = |message| pick(message).filter(wanted);
        match self.dump("routes", &RouteNetlinkMessage::GetRoute(message), pick) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }
}

fn pick(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(msg) = message else { return None };
    let header = &msg.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let v4 = header.address_family == family(true);
    let mut route = Route::default_route(v4);
    route.table = u32::from(header.table);
    route.protocol = u8::from(header.protocol);
    route.scope = header.scope.into();
    route.kind = header.kind.into();
    route.onlink = header.flags.contains(RouteFlags::Onlink);
    for attribute in &msg.attributes {
        match attribute {
            RouteAttribute::Destination(dst) => {
                route.dst = Prefix::new(ip(dst)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Oif(dev) => route.dev = Some(*dev),
            RouteAttribute::Gateway(gateway) => route.gateway = ip(gateway),
            RouteAttribute::PrefSource(source) => route.source = ip(source),
            RouteAttribute::Priority(metric) => route.metric = Some(*metric),
            _ => {}
        }
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

impl From<RawScope> for RouteScope {
    fn from(scope: RawScope) -> Self {
        match scope {
            RawScope::Universe => Self::Universe,
            RawScope::Link => Self::Link,
            RawScope::Host => Self::Host,
            other => Self::Other(other.into()),
        }
    }
}

impl From<RouteScope> for RawScope {
    fn from(scope: RouteScope) -> Self {
        match scope {
            RouteScope::Universe => Self::Universe,
            RouteScope::Link => Self::Link,
            RouteScope::Host => Self::Host,
            RouteScope::Other(n) => n.into(),
        }
    }
}

impl From<RawType> for RouteType {
    fn from(kind: RawType) -> Self {
        match kind {
            RawType::Unicast => Self::Unicast,
            RawType::Local => Self::Local,
            RawType::BlackHole => Self::Blackhole,
            RawType::Unreachable => Self::Unreachable,
            other => Self::Other(other.into()),
        }
    }
}

impl From<RouteType> for RawType {
    fn from(kind: RouteType) -> Self {
        match kind {
            RouteType::Unicast => Self::Unicast,
            RouteType::Local => Self::Local,
            RouteType::Blackhole => Self::BlackHole,
            RouteType::Unreachable => Self::Unreachable,
            RouteType::Other(n) => n.into(),
        }
    }
}
