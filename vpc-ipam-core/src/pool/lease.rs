//! Who has which address, and how durable that is.

use std::net::IpAddr;

use crate::{
    addr::Prefix,
    address_map::AddressMap,
    checkpoint,
    id::{EniId, OpId, PodRef, SandboxKey},
    lookup::Lookup,
    time::Time,
};

/// Where an address lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) eni: EniId,
    pub(super) cidr: Prefix,
}

/// How far a lease is on its way into or out of the state file. `generation` is the write that
/// takes the step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Adding {
        op: OpId,
        generation: u64,
    },
    Held,
    Releasing {
        op: OpId,
        generation: u64,
    },
    /// Its release could not be written, but the file may have lost it all the same.
    Unsure {
        generation: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) pod: PodRef,
    pub(super) ip: IpAddr,
    pub(super) allocated_ns: i64,
    pub(super) interfaces: u32,
    /// `None` while no ENI of the pool holds the address.
    pub(super) place: Option<Place>,
    pub(super) phase: Phase,
    /// A pod may be using the address, so it must rest afterwards.
    pub(super) told: bool,
    /// The first write that contains it.
    pub(super) first_generation: u64,
    /// The ADD that made it; `None` if an earlier life did.
    pub(super) made_by: Option<OpId>,
    /// What else its entry in the state file says.
    pub(super) unknown: checkpoint::Unknown,
    /// Nobody's lease: it keeps an address out of use that the state file does not explain.
    pub(super) quarantined: bool,
}

impl Lease {
    /// What the state file should say of it; nothing if it is being released.
    pub(super) fn in_file(&self, key: &SandboxKey) -> Option<checkpoint::Lease> {
        if self.quarantined || matches!(self.phase, Phase::Releasing { .. }) {
            return None;
        }
        Some(checkpoint::Lease {
            key: key.clone(),
            ip: self.ip,
            allocated_ns: self.allocated_ns,
            pod: self.pod.clone(),
            interfaces: self.interfaces,
            unknown: self.unknown.clone(),
        })
    }

    pub(super) fn assigned_at(&self) -> Time {
        Time::from_millis(u64::try_from(self.allocated_ns / NS_PER_MS).unwrap_or(0))
    }
}

const NS_PER_MS: i64 = 1_000_000;

pub(super) fn nanoseconds(now: Time) -> i64 {
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS)
}

/// All leases, by owner and by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    by_key: Lookup<SandboxKey, Lease>,
    by_ip: AddressMap<SandboxKey>,
}

impl Leases {
    pub(super) fn get(&self, key: &SandboxKey) -> Option<&Lease> {
        self.by_key.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &SandboxKey) -> Option<&mut Lease> {
        self.by_key.get_mut(key)
    }

    /// Adds a lease; false if its owner or its address has one.
    pub(super) fn insert(&mut self, key: SandboxKey, lease: Lease) -> bool {
        let new = !self.by_key.contains_key(&key) && self.by_ip.insert(lease.ip, key.clone());
        if new {
            self.by_key.insert(key, lease);
        }
        new
    }

    pub(super) fn remove(&mut self, key: &SandboxKey) -> Option<Lease> {
        let lease = self.by_key.remove(key)?;
        self.by_ip.remove(lease.ip);
        Some(lease)
    }

    /// Owners of addresses in `cidr`.
    pub(super) fn owners_in(&self, cidr: &Prefix) -> Vec<SandboxKey> {
        self.by_ip.within(cidr).cloned().collect()
    }

    /// Leases without a place, in order of address.
    pub(super) fn unplaced(&self) -> impl Iterator<Item = &Lease> {
        self.iter().map(|(_, lease)| lease).filter(|lease| lease.place.is_none())
    }

    /// All leases, in order of address.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SandboxKey, &Lease)> {
        self.by_ip.values().filter_map(|key| Some((key, self.by_key.get(key)?)))
    }

    /// What the state file should say of leases: those that are being released are gone already.
    pub(super) fn in_file(&self) -> Vec<checkpoint::Lease> {
        self.iter().filter_map(|(key, lease)| lease.in_file(key)).collect()
    }
}
