//! One ENI's link: a veth pair between the router and a node.

use std::net::IpAddr;

use vpc_ipam_core::addr::Prefix;

use super::{EniPort, FabricError, VPC_MTU, config};
use crate::{
    netlink::{
        Address, LinkChange, Neighbour, Request, Route, Socket, VethEnd, add_veth, set_proxy_delay,
    },
    testkit::ns::NodeNs,
};

/// The router's side of an attached ENI.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Index of the router's link; unique for the life of the fabric.
    pub(super) index: u32,
    /// Name of the node at the other end.
    pub(super) node: String,
    pub(super) eni: EniPort,
}

impl Port {
    fn primary_ip(&self) -> IpAddr {
        IpAddr::V4(self.eni.primary_ip)
    }

    /// Its primary address, which it cannot lose.
    pub(super) fn primary(&self) -> Prefix {
        Prefix::host(self.primary_ip())
    }

    /// The router's route to an address or prefix that the ENI owns. By way of its primary address,
    /// since one neighbour entry is then enough: nobody at the other end answers ARP for pods.
    pub(super) fn route_to(&self, prefix: Prefix) -> Route {
        Route::to(prefix).via(self.primary_ip()).dev(self.index)
    }

    /// Makes the link and sets up both ends.
    pub(super) fn plug(&self, router: &mut Socket, node: &NodeNs) -> Result<(), FabricError> {
        let gateway = config::gateway(&self.eni.subnet)?;
        let end = VethEnd {
            index: Some(self.index),
            mtu: Some(VPC_MTU),
            up: true,
            ..VethEnd::new(&format!("port{}", self.index))
        };
        let peer = VethEnd {
            mac: Some(self.eni.mac),
            mtu: Some(self.eni.mtu),
            netns: Some(node.netns().clone()),
            ..VethEnd::new(&self.eni.if_name)
        };
        let primary = Route::to(Prefix::host(self.primary_ip())).dev(self.index).on_link();
        let changes = [
            add_veth(&end, &peer),
            LinkChange::of_index(self.index).proxy_arp().request(),
            set_proxy_delay(self.index, 0),
            Address::new(self.index, gateway, 32).add(),
            Neighbour::permanent(self.index, self.primary_ip(), self.eni.mac).replace(),
            primary.add(),
        ];
        router.run(&changes.into_iter().collect())?;
        if let Some(rp_filter) = self.eni.rp_filter {
            let path = format!("ipv4/conf/{}/rp_filter", self.eni.if_name);
            node.set_sysctl(&path, &rp_filter.to_string())?;
        }
        if self.eni.primary {
            self.configure_primary(node, gateway)?;
        }
        Ok(())
    }

    /// What the node's operating system does with the answer of DHCP.
    fn configure_primary(&self, node: &NodeNs, gateway: IpAddr) -> Result<(), FabricError> {
        let mut socket = Socket::open_in(node.netns())?;
        let name = &self.eni.if_name;
        socket.request(LinkChange::of_name(name).up().request())?;
        let Some(link) = socket.link_by_name(name)? else {
            return Err(FabricError::NotAttached { eni_id: self.eni.eni_id.clone() });
        };
        let address = Address::new(link.index, self.primary_ip(), self.eni.subnet.len());
        let default = Route::default_route(true).via(gateway).dev(link.index);
        let changes: [Request; 2] = [address.add(), default.add()];
        socket.run(&changes.into_iter().collect())?;
        Ok(())
    }
}
