//! Addresses of links.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
};

use super::{NetlinkError, Request, Socket, family};

/// An address on a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// Index of the link.
    pub dev: u32,
    /// The address itself.
    pub ip: IpAddr,
    /// Length of the on-link prefix.
    pub len: u8,
    /// True if the kernel makes a route to the prefix in the main table.
    pub prefix_route: bool,
    /// True unless the address means something on its link or host alone.
    pub global: bool,
}

impl Address {
    /// A global address with a prefix route, like `ip address add` makes.
    pub fn new(dev: u32, ip: IpAddr, len: u8) -> Self {
        Self { dev, ip, len, prefix_route: true, global: true }
    }

    /// Without the route to its prefix.
    #[must_use]
    pub fn without_prefix_route(mut self) -> Self {
        self.prefix_route = false;
        self
    }

    fn message(&self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = family(self.ip.is_ipv4());
        message.header.prefix_len = self.len;
        message.header.index = self.dev;
        message.header.scope =
            if self.global { AddressScope::Universe } else { AddressScope::Link };
        message.attributes.push(AddressAttribute::Local(self.ip));
        message.attributes.push(AddressAttribute::Address(self.ip));
        if !self.prefix_route {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        }
        message
    }

    fn label(&self, verb: &str) -> String {
        format!("{verb} address {}/{} on link {}", self.ip, self.len, self.dev)
    }

    /// Adds it; `EEXIST` if it is there.
    pub fn add(&self) -> Request {
        let message = RouteNetlinkMessage::NewAddress(self.message());
        Request::new(self.label("add"), message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds it or updates its flags.
    pub fn replace(&self) -> Request {
        let message = RouteNetlinkMessage::NewAddress(self.message());
        Request::new(self.label("replace"), message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Deletes it; `EADDRNOTAVAIL` if it is not there.
    pub fn delete(&self) -> Request {
        Request::new(self.label("delete"), RouteNetlinkMessage::DelAddress(self.message()), 0)
    }
}

impl Socket {
    /// All addresses of one family in the namespace.
    ///
    /// # Errors
    ///
    /// If the dump fails or cannot be read.
    pub fn addresses(&mut self, v4: bool) -> Result<Vec<Address>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.family = family(v4);
        self.dump("addresses", &RouteNetlinkMessage::GetAddress(message), pick)
    }
}

fn pick(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(msg) = message else { return None };
    if !matches!(msg.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let (mut local, mut address, mut prefix_route) = (None, None, true);
    for attribute in &msg.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(flags) => {
                prefix_route = !flags.contains(AddressFlags::Noprefixroute);
            }
            _ => {}
        }
    }
    Some(Address {
        dev: msg.header.index,
        // Point-to-point links put the other end into the address attribute.
        ip: local.or(address)?,
        len: msg.header.prefix_len,
        prefix_route,
        global: msg.header.scope == AddressScope::Universe,
    })
}
