//! The baseline: a pool that keeps no index and no sums, and looks through all of its addresses for
//! everything that it wants to know.

use std::{net::IpAddr, time::Duration};

use vpc_ipam_core::{
    addr::Prefix,
    id::{PodRef, SandboxKey},
    time::Time,
};

use super::{Size, eni, key, pod};

struct Address {
    ip: IpAddr,
    owner: Option<(SandboxKey, PodRef)>,
    released: Option<Time>,
}

struct Block {
    addresses: Vec<Address>,
}

/// Serves the same requests by the same rules: the same address for the same sandbox, a rest after
/// use, prefixes with most pods first, and a warm target that is looked at after each request.
pub(crate) struct ScanPool {
    enis: Vec<Vec<Block>>,
    cooldown: Duration,
    warm: usize,
}

impl ScanPool {
    /// A pool that is full but for `free` addresses.
    pub(crate) fn new(size: Size, free: u32, warm: usize) -> Self {
        let block = |prefix: &Prefix| {
            let address = |n| Address { ip: prefix.nth(n).unwrap(), owner: None, released: None };
            Block { addresses: (0..prefix.size()).map(address).collect() }
        };
        let enis = (0..size.enis).map(|n| eni(n, size.prefixes).cidrs.iter().map(block).collect());
        let mut pool = Self { enis: enis.collect(), cooldown: Duration::ZERO, warm };
        let mut left = size.addresses() - free;
        for address in pool.addresses_mut() {
            if left == 0 {
                break;
            }
            left -= 1;
            address.owner = Some((key(left), pod(left)));
        }
        pool
    }

    fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.enis.iter().flatten().flat_map(|block| &block.addresses)
    }

    fn addresses_mut(&mut self) -> impl Iterator<Item = &mut Address> {
        self.enis.iter_mut().flatten().flat_map(|block| &mut block.addresses)
    }

    /// The sandbox's address, and whether the pool has to grow.
    pub(crate) fn assign(
        &mut self,
        key: &SandboxKey,
        pod: PodRef,
        now: Time,
    ) -> (Option<IpAddr>, bool) {
        let owned = |address: &&Address| address.owner.as_ref().is_some_and(|(k, _)| k == key);
        if let Some(address) = self.addresses().find(owned) {
            return (Some(address.ip), self.is_short(now));
        }
        let cooldown = self.cooldown;
        let free = |a: &Address| {
            a.owner.is_none() && a.released.is_none_or(|at| now.since(at) >= cooldown)
        };
        let pods = |block: &Block| block.addresses.iter().filter(|a| a.owner.is_some()).count();
        let block = self
            .enis
            .iter_mut()
            .flatten()
            .filter(|block| block.addresses.iter().any(free))
            .max_by_key(|block| pods(block));
        let address = block.and_then(|block| block.addresses.iter_mut().find(|a| free(a)));
        let ip = address.map(|address| {
            address.owner = Some((key.clone(), pod));
            address.ip
        });
        (ip, self.is_short(now))
    }

    /// The address that the sandbox had, and whether the pool has to grow.
    pub(crate) fn release(&mut self, key: &SandboxKey, now: Time) -> (Option<IpAddr>, bool) {
        let owned = |address: &&mut Address| address.owner.as_ref().is_some_and(|(k, _)| k == key);
        let address = self.addresses_mut().find(owned);
        let ip = address.map(|address| {
            address.owner = None;
            address.released = Some(now);
            address.ip
        });
        (ip, self.is_short(now))
    }

    fn is_short(&self, now: Time) -> bool {
        let cooling = |at: Time| now.since(at) < self.cooldown;
        let free = |a: &&Address| a.owner.is_none() && !a.released.is_some_and(cooling);
        self.addresses().filter(free).count() < self.warm
    }
}
