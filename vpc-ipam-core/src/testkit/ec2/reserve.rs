//! Addresses that something else in a subnet holds: fragmentation.

use std::net::Ipv4Addr;

use super::{error::WorldError, world::World};
use crate::id::SubnetId;

impl World {
    /// Sets an address aside, as if something else in the subnet held it.
    ///
    /// # Errors
    ///
    /// If there is no such subnet or the address is not free.
    pub fn reserve_address(&mut self, subnet: &SubnetId, ip: Ipv4Addr) -> Result<(), WorldError> {
        let taken = WorldError::AddressTaken { ip: ip.into(), subnet: subnet.clone() };
        if self.known_subnet(subnet)?.space.reserve(ip) { Ok(()) } else { Err(taken) }
    }

    /// Sets addresses aside so that no aligned /28 is free, and no more than `singles` addresses.
    /// A subnet with more blocks than `singles / 15` loses more than one address in each.
    /// Returns how many are still free; fewer than `singles` if the subnet had no more.
    ///
    /// # Errors
    ///
    /// If there is no such subnet.
    pub fn fragment_subnet(&mut self, subnet: &SubnetId, singles: u32) -> Result<u32, WorldError> {
        let space = &mut self.known_subnet(subnet)?.space;
        space.fragment(singles);
        Ok(space.free())
    }

    /// Gives back addresses that were set aside, block by block from the lowest, until so many
    /// aligned /28 more are free. Blocks that interfaces use are left as they are. Returns how many
    /// have become free.
    ///
    /// # Errors
    ///
    /// If there is no such subnet.
    pub fn defragment_subnet(
        &mut self,
        subnet: &SubnetId,
        blocks: usize,
    ) -> Result<usize, WorldError> {
        Ok(self.known_subnet(subnet)?.space.defragment(blocks))
    }

    fn known_subnet(
        &mut self,
        subnet: &SubnetId,
    ) -> Result<&mut super::network::Subnet, WorldError> {
        self.subnet_mut(subnet).ok_or_else(|| WorldError::NoSuchId { id: subnet.to_string() })
    }
}
