//! Making links: veth pairs born with all their properties, and bridges.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use vpc_ipam_core::id::MacAddr;

use super::Request;
use crate::netns::NetnsFd;

/// One end of a veth pair to be.
///
/// Both ends always get one queue: the kernel's default is one per CPU, which costs 5 times more on
/// a 96-core node and an RCU wait everywhere.
#[derive(Clone, Debug, Default)]
pub struct VethEnd {
    /// Name.
    pub name: String,
    /// Link-layer address; the kernel picks one if none is given.
    pub mac: Option<MacAddr>,
    /// Largest packet in bytes; 1500 if none is given.
    pub mtu: Option<u32>,
    /// Index; the kernel picks one if none is given.
    pub index: Option<u32>,
    /// Up from the start. The kernel refuses it for the second end of a pair.
    pub up: bool,
    /// Born in this namespace; the socket's if none is given.
    pub netns: Option<NetnsFd>,
}

impl VethEnd {
    /// An end called `name`, everything else left to the kernel.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = self.index.unwrap_or(0);
        if self.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        let attributes = &mut message.attributes;
        attributes.push(LinkAttribute::IfName(self.name.clone()));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.push(LinkAttribute::NumTxQueues(1));
        attributes.push(LinkAttribute::NumRxQueues(1));
        attributes.extend(self.netns.as_ref().map(|ns| LinkAttribute::NetNsFd(ns.raw())));
        message
    }
}

/// Makes a veth pair. Fails with `EEXIST` if a name or an index of either end is taken.
pub fn add_veth(end: &VethEnd, peer: &VethEnd) -> Request {
    let mut message = end.message();
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer.message()))),
    ]));
    let label = format!("add veth {} with peer {}", end.name, peer.name);
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let mut request = Request::new(label, RouteNetlinkMessage::NewLink(message), flags);
    request._netns = [&end.netns, &peer.netns].into_iter().flatten().cloned().collect();
    request
}

/// Makes a bridge.
pub fn add_bridge(name: &str, up: bool) -> Request {
    let mut message = LinkMessage::default();
    if up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Request::new(format!("add bridge {name}"), RouteNetlinkMessage::NewLink(message), flags)
}
