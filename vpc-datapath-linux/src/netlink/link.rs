//! Links as the kernel shows them, and changes to them.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, LinkAttribute,
        LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
    },
};
use vpc_ipam_core::id::MacAddr;

use super::{NetlinkError, Request, Socket};
use crate::netns::NetnsFd;

/// A network device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// Index, unique in its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Link-layer address, if it has a 48-bit one.
    pub mac: Option<MacAddr>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier: for a veth, the other end is up too.
    pub carrier: bool,
    /// Driver kind such as `veth`, `vlan` or `macvlan`; `None` for hardware.
    pub kind: Option<String>,
    /// Index of the other end or of the parent.
    pub peer: Option<u32>,
    /// Index of the bridge or bond it is a port of.
    pub master: Option<u32>,
    /// Device group.
    pub group: u32,
    /// Reverse path filter of this device alone: 0 off, 1 strict, 2 loose.
    pub rp_filter: Option<i32>,
    /// Transmit queues.
    pub tx_queues: Option<u32>,
    /// Receive queues.
    pub rx_queues: Option<u32>,
}

impl Socket {
    /// All links of the namespace.
    ///
    /// # Errors
    ///
    /// If the dump fails or cannot be read.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut msg = LinkMessage::default();
        msg.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.dump("links", &RouteNetlinkMessage::GetLink(msg), pick)
    }

    /// The link called `name`.
    ///
    /// # Errors
    ///
    /// If the request fails for another reason than that there is no such link.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut msg = LinkMessage::default();
        msg.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.link(msg)
    }

    /// The link with `index`.
    ///
    /// # Errors
    ///
    /// If the request fails for another reason than that there is no such link.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let mut msg = LinkMessage::default();
        msg.header.index = index;
        self.link(msg)
    }

    /// The links with link-layer address `mac`; VLANs and the like share their parent's.
    ///
    /// # Errors
    ///
    /// If the dump fails or cannot be read.
    pub fn links_by_mac(&mut self, mac: MacAddr) -> Result<Vec<Link>, NetlinkError> {
        Ok(self.links()?.into_iter().filter(|l| l.mac == Some(mac)).collect())
    }

    fn link(&mut self, mut msg: LinkMessage) -> Result<Option<Link>, NetlinkError> {
        msg.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.one("links", &RouteNetlinkMessage::GetLink(msg), pick) {
            Err(e) if e.kind() == super::ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }
}

fn pick(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(msg) = message else { return None };
    let mut link = Link {
        index: msg.header.index,
        up: msg.header.flags.contains(LinkFlags::Up),
        carrier: msg.header.flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in msg.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Link(peer) => link.peer = Some(peer),
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::NumTxQueues(n) => link.tx_queues = Some(n),
            LinkAttribute::NumRxQueues(n) => link.rx_queues = Some(n),
            LinkAttribute::LinkInfo(infos) => link.kind = kind(&infos),
            LinkAttribute::AfSpecUnspec(specs) => link.rp_filter = rp_filter(&specs),
            _ => {}
        }
    }
    Some(link)
}

fn kind(infos: &[LinkInfo]) -> Option<String> {
    infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

fn rp_filter(specs: &[AfSpecUnspec]) -> Option<i32> {
    specs.iter().find_map(|spec| match spec {
        AfSpecUnspec::Inet(inet) => inet.iter().find_map(|i| match i {
            AfSpecInet::DevConf(conf) => Some(conf.rp_filter),
            _ => None,
        }),
        _ => None,
    })
}

/// A change to one existing link; collect what is to change, then [`request`](Self::request) it.
#[derive(Clone, Debug)]
pub struct LinkChange {
    message: LinkMessage,
    what: String,
    changes: Vec<String>,
    netns: Option<NetnsFd>,
}

impl LinkChange {
    /// A change to the link with `index`.
    pub fn of_index(index: u32) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Self { message, what: format!("link {index}"), changes: Vec::new(), netns: None }
    }

    /// A change to the link called `name`.
    pub fn of_name(name: &str) -> Self {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        Self { message, what: name.to_owned(), changes: Vec::new(), netns: None }
    }

    fn with(mut self, attribute: LinkAttribute, change: String) -> Self {
        self.message.attributes.push(attribute);
        self.changes.push(change);
        self
    }

    fn flag(mut self, up: bool) -> Self {
        self.message.header.change_mask |= LinkFlags::Up;
        self.message.header.flags.set(LinkFlags::Up, up);
        self.changes.push(if up { "up" } else { "down" }.to_owned());
        self
    }

    /// Administratively up.
    #[must_use]
    pub fn up(self) -> Self {
        self.flag(true)
    }

    /// Administratively down; its routes go with it.
    #[must_use]
    pub fn down(self) -> Self {
        self.flag(false)
    }

    /// Largest packet in bytes.
    #[must_use]
    pub fn mtu(self, mtu: u32) -> Self {
        self.with(LinkAttribute::Mtu(mtu), format!("mtu {mtu}"))
    }

    /// Link-layer address.
    #[must_use]
    pub fn mac(self, mac: MacAddr) -> Self {
        self.with(LinkAttribute::Address(mac.0.to_vec()), format!("address {mac}"))
    }

    /// Renames a link that is found by index.
    #[must_use]
    pub fn rename(self, name: &str) -> Self {
        self.with(LinkAttribute::IfName(name.to_owned()), format!("name {name}"))
    }

    /// Makes it a port of a bridge; 0 frees it.
    #[must_use]
    pub fn master(self, index: u32) -> Self {
        self.with(LinkAttribute::Controller(index), format!("master {index}"))
    }

    /// Device group.
    #[must_use]
    pub fn group(self, group: u32) -> Self {
        self.with(LinkAttribute::Group(group), format!("group {group}"))
    }

    /// Reverse path filter: 1 strict, 2 loose. Through netlink, since `/proc/sys` is read-only in most
    /// containers. 0 cannot be set this way.
    #[must_use]
    pub fn rp_filter(self, value: i32) -> Self {
        let mut conf = InetDevConf::default();
        conf.rp_filter = value;
        self.inet(conf, format!("rp_filter {value}"))
    }

    /// Answers ARP for addresses that are routed elsewhere.
    #[must_use]
    pub fn proxy_arp(self) -> Self {
        let mut conf = InetDevConf::default();
        conf.proxy_arp = 1;
        self.inet(conf, "proxy_arp 1".to_owned())
    }

    /// Forwards IPv4 packets that arrive here.
    #[must_use]
    pub fn forwarding(self) -> Self {
        let mut conf = InetDevConf::default();
        conf.forwarding = 1;
        self.inet(conf, "forwarding 1".to_owned())
    }

    /// No IPv6 link-local address of the kernel's own making.
    #[must_use]
    pub fn no_link_local(self) -> Self {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let spec = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
        self.with(spec, "addrgenmode none".to_owned())
    }

    fn inet(self, conf: InetDevConf, change: String) -> Self {
        let spec = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
        self.with(LinkAttribute::AfSpecUnspec(vec![spec]), change)
    }

    /// Moves the link to another namespace. Costs an RCU barrier with RTNL held (20-45 ms for the
    /// whole node): never on the path of a pod.
    #[must_use]
    pub fn netns(mut self, netns: &NetnsFd) -> Self {
        self.netns = Some(netns.clone());
        let change = format!("netns {}", netns.path().display());
        self.with(LinkAttribute::NetNsFd(netns.raw()), change)
    }

    /// The change as a request.
    pub fn request(self) -> Request {
        let label = format!("set {} {}", self.what, self.changes.join(" "));
        let mut request = Request::new(label, RouteNetlinkMessage::SetLink(self.message), 0);
        request._netns.extend(self.netns);
        request
    }
}

/// Deletes the link with `index`. Waits for an RCU barrier (about 24 ms): never on the path of a pod.
pub fn delete_link(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Request::new(format!("delete link {index}"), RouteNetlinkMessage::DelLink(message), 0)
}

/// Deletes all links of a device group at the price of one.
pub fn delete_link_group(group: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Request::new(format!("delete links of group {group}"), RouteNetlinkMessage::DelLink(message), 0)
}
