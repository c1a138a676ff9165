//! Neighbours: which link-layer address an address on a link has.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};
use vpc_ipam_core::id::MacAddr;

use super::{NetlinkError, Request, Socket, family};

/// An entry of the neighbour table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Neighbour {
    /// Index of the link.
    pub dev: u32,
    /// The address.
    pub ip: IpAddr,
    /// Its link-layer address; none for a proxy entry or one that is not resolved.
    pub mac: Option<MacAddr>,
    /// Stays until it is deleted.
    pub permanent: bool,
    /// This host answers for the address.
    pub proxy: bool,
}

impl Neighbour {
    /// An entry that stays.
    pub fn permanent(dev: u32, ip: IpAddr, mac: MacAddr) -> Self {
        Self { dev, ip, mac: Some(mac), permanent: true, proxy: false }
    }

    /// An address that this host answers for on the link.
    pub fn proxied(dev: u32, ip: IpAddr) -> Self {
        Self { dev, ip, mac: None, permanent: false, proxy: true }
    }

    fn message(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = family(self.ip.is_ipv4());
        message.header.ifindex = self.dev;
        if self.permanent {
            message.header.state = NeighbourState::Permanent;
        }
        if self.proxy {
            message.header.flags = NeighbourFlags::Proxy;
        }
        message.attributes.push(NeighbourAttribute::Destination(self.ip.into()));
        message
            .attributes
            .extend(self.mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())));
        message
    }

    /// Adds it or replaces the entry of the address.
    pub fn replace(&self) -> Request {
        let label = format!("set neighbour {} on link {}", self.ip, self.dev);
        let message = RouteNetlinkMessage::NewNeighbour(self.message());
        Request::new(label, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Deletes it; `ENOENT` if it is not there.
    pub fn delete(&self) -> Request {
        let label = format!("delete neighbour {} on link {}", self.ip, self.dev);
        Request::new(label, RouteNetlinkMessage::DelNeighbour(self.message()), 0)
    }
}

impl Socket {
    /// All neighbours of one family; proxy entries are listed by the kernel separately and not here.
    ///
    /// # Errors
    ///
    /// If the dump fails or cannot be read.
    pub fn neighbours(&mut self, v4: bool) -> Result<Vec<Neighbour>, NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(v4);
        self.dump("neighbours", &RouteNetlinkMessage::GetNeighbour(message), pick)
    }
}

fn pick(message: RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(msg) = message else { return None };
    let (mut ip, mut mac) = (None, None);
    for attribute in msg.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(v4.into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(v6.into()),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok().map(MacAddr),
            _ => {}
        }
    }
    Some(Neighbour {
        dev: msg.header.ifindex,
        ip: ip?,
        mac,
        permanent: msg.header.state == NeighbourState::Permanent,
        proxy: msg.header.flags.contains(NeighbourFlags::Proxy),
    })
}
