//! Blocking rtnetlink: links, addresses, routes, rules and neighbours as plain data, and a socket
//! that sends many changes at once and reads every answer.

mod address;
mod error;
mod link;
mod neighbour;
mod neighbour_table;
mod route;
mod rule;
mod socket;
mod veth;

pub use address::Address;
pub use error::{ErrorKind, NetlinkError, Refusal};
pub use link::{Link, LinkChange, delete_link, delete_link_group};
pub use neighbour::Neighbour;
pub use neighbour_table::set_proxy_delay;
pub use route::{Route, RouteFilter, RouteScope, RouteType};
pub use rule::{Rule, RuleAction};
pub use socket::{BATCH_MAX, Batch, Request, Socket};
pub use veth::{VethEnd, add_bridge, add_veth};

use netlink_packet_route::AddressFamily;

/// Address family of a message about `is_v4` addresses.
fn family(is_v4: bool) -> AddressFamily {
    if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
