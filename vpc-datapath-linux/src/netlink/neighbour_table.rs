//! Parameters of the neighbour table.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour_table::{NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter},
};

use super::Request;

/// Sets how long a link waits, up to `ms` milliseconds, before it answers ARP for others.
///
/// By netlink, since `/proc/sys` does not show these parameters inside a user namespace. The kernel's
/// default is a random delay of up to 800 ms.
pub fn set_proxy_delay(dev: u32, ms: u64) -> Request {
    let mut message = NeighbourTableMessage::default();
    message.header.family = AddressFamily::Inet;
    message.attributes = vec![
        NeighbourTableAttribute::Name("arp_cache".to_owned()),
        NeighbourTableAttribute::Parms(vec![
            NeighbourTableParameter::Ifindex(dev),
            NeighbourTableParameter::ProxyDelay(ms),
        ]),
    ];
    let label = format!("set proxy delay of link {dev} to {ms} ms");
    Request::new(label, RouteNetlinkMessage::SetNeighbourTable(message), 0)
}
