//! The datastore as one would draw it on a whiteboard: lists, searched from one end to the other.
//!
//! Nothing here is kept for speed, no sum, no index, no queue by time, so that there is little that can
//! be wrong. What the pool is free to choose (when it grows, what it gives back) is not predicted: the
//! model is told, and says whether it was allowed. See `cloud_side`.

use std::{cmp::Reverse, net::IpAddr};

use vpc_ipam_core::{
    addr::Prefix,
    checkpoint::Checkpoint,
    config::{AllocationMode, PoolConfig},
    id::{EniId, OpId, SandboxKey},
    time::Time,
};

use crate::cloud_side::{Departing, Eni, Gone};

/// What has become of one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    Fresh,
    Leased(SandboxKey),
    /// Released then; nobody may have it yet.
    Resting(Time),
    /// Released then.
    Rested(Time),
}

/// A secondary address or a prefix that the pool holds, and all its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Cidr {
    pub(crate) eni: EniId,
    pub(crate) cidr: Prefix,
    /// EC2 shows it.
    pub(crate) confirmed: bool,
    /// The host knows by which ENI its packets leave.
    pub(crate) ready: bool,
    /// Since when it is in doubt whether EC2 shows what is there.
    pub(crate) doubted: Option<Time>,
    pub(crate) addresses: Vec<(IpAddr, Use)>,
}

/// `write`: number of the write of the state file that takes the step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Adding {
        op: OpId,
        write: u64,
    },
    Held,
    Releasing {
        op: OpId,
        write: u64,
    },
    /// Its release could not be written, but the file may have lost it all the same.
    Unsure {
        write: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) key: SandboxKey,
    pub(crate) ip: IpAddr,
    pub(crate) given: Time,
    pub(crate) phase: Phase,
    /// A pod may have used the address.
    pub(crate) told: bool,
    pub(crate) first_write: u64,
    /// The ADD that made it.
    pub(crate) made_by: Option<OpId>,
}

/// An ADD without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) op: OpId,
    pub(crate) key: SandboxKey,
    pub(crate) deadline: Time,
    /// Waits for an address that it owns.
    pub(crate) owner: bool,
}

/// A lease as the state file has it: who, which address, since when.
pub(crate) type Record = (SandboxKey, IpAddr, Time);

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) number: u64,
    pub(crate) content: Vec<Record>,
}

/// How a request must be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// With this address, which is on that ENI.
    Address(IpAddr, Option<EniId>),
    NoAddress,
    NotDurable,
    Released,
}

/// What an ADD or a DEL must return at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum AtOnce {
    Ready(IpAddr, Option<EniId>),
    Pending,
    /// The number of an earlier request.
    Same(OpId),
    Absent,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: PoolConfig,
    pub(crate) cidrs: Vec<Cidr>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) waiting: Vec<Waiter>,
    /// Released addresses, whether or not the pool holds them.
    pub(crate) resting: Vec<(IpAddr, Time)>,
    /// What a restart would find.
    pub(crate) file: Vec<Record>,
    pub(crate) write: Option<Write>,
    pub(crate) writes: u64,
    /// Answers that are due.
    pub(crate) answers: Vec<(OpId, Answer)>,
    pub(crate) enis: Vec<Eni>,
    pub(crate) departing: Vec<Departing>,
    pub(crate) gone: Vec<Gone>,
    pub(crate) creating: Vec<OpId>,
    /// What else is under way, for which ENI.
    pub(crate) ops: Vec<(OpId, EniId, Vec<Prefix>)>,
    /// Number of changes in the cloud that have ended, and which of them was the last new ENI.
    pub(crate) changes: u64,
    pub(crate) created: u64,
    /// Changes that had ended when a read of the cloud was asked for.
    pub(crate) reads: Vec<(OpId, u64)>,
    /// When the last read was asked for.
    pub(crate) read_at: Time,
    /// Until when what is new in a view is in doubt.
    pub(crate) doubtful_until: Time,
    pub(crate) last_release: Option<Time>,
    pub(crate) draining: bool,
    pub(crate) unexpected: u64,
}

impl Model {
    /// A daemon that starts on this state file.
    pub(crate) fn new(config: PoolConfig, file: Vec<Record>) -> Self {
        let lease = |(key, ip, given): &Record| Lease {
            key: key.clone(),
            ip: *ip,
            given: *given,
            phase: Phase::Held,
            told: true,
            first_write: 0,
            made_by: None,
        };
        Self {
            config,
            cidrs: Vec::new(),
            leases: file.iter().map(lease).collect(),
            waiting: Vec::new(),
            resting: Vec::new(),
            file,
            write: None,
            writes: 0,
            answers: Vec::new(),
            enis: Vec::new(),
            departing: Vec::new(),
            gone: Vec::new(),
            creating: Vec::new(),
            ops: Vec::new(),
            changes: 0,
            created: 0,
            reads: Vec::new(),
            read_at: Time::ZERO,
            doubtful_until: Time::ZERO,
            last_release: None,
            draining: false,
            unexpected: 0,
        }
    }

    /// What the state file should say: who has an address, or is about to be told so.
    pub(crate) fn records(&self) -> Vec<Record> {
        let stays = |lease: &&Lease| !matches!(lease.phase, Phase::Releasing { .. });
        let mut records: Vec<Record> = self
            .leases
            .iter()
            .filter(stays)
            .map(|lease| (lease.key.clone(), lease.ip, lease.given))
            .collect();
        records.sort_by_key(|(_, ip, _)| *ip);
        records
    }

    /// The address that the next pod gets: in a prefix rather than one that stands in for prefixes, on
    /// the ENI with most pods, there in the block with most pods, one that was never used, or else the
    /// one that was released first, or else the lowest.
    pub(crate) fn best(&self) -> Option<IpAddr> {
        let mut all = Vec::new();
        for cidr in self.cidrs.iter().filter(|cidr| self.serves(cidr)) {
            let eni = self.eni(&cidr.eni)?;
            let on_eni = self.cidrs.iter().filter(|c| c.eni == cidr.eni).map(pods).sum::<usize>();
            for (ip, state) in &cidr.addresses {
                let rank = match state {
                    Use::Fresh => None,
                    Use::Rested(at) => Some(*at),
                    Use::Leased(_) | Use::Resting(_) => continue,
                };
                let eni = (Reverse(on_eni), eni.device, eni.id.clone());
                let stands_in = self.stands_in(&cidr.cidr);
                all.push((stands_in, eni, Reverse(pods(cidr)), rank, cidr.cidr, *ip));
            }
        }
        all.into_iter().min().map(|(.., ip)| ip)
    }

    /// Pods may be given addresses of it.
    fn serves(&self, cidr: &Cidr) -> bool {
        let eni = self.eni(&cidr.eni);
        let usable = eni.is_some_and(|eni| !eni.missing && !eni.is_broken());
        let of_use = self.is_of_mode(&cidr.cidr) || self.stands_in(&cidr.cidr);
        usable && cidr.confirmed && cidr.doubted.is_none() && cidr.ready && of_use
    }

    /// A single address in prefix mode: for pods if no prefix has one.
    pub(crate) fn stands_in(&self, cidr: &Prefix) -> bool {
        cidr.is_host() && self.config.mode == AllocationMode::Prefix
    }

    pub(crate) fn is_of_mode(&self, cidr: &Prefix) -> bool {
        cidr.is_host() == (self.config.mode == AllocationMode::Secondary)
    }

    pub(crate) fn cidr_of(&self, ip: IpAddr) -> Option<&Cidr> {
        self.cidrs.iter().find(|cidr| cidr.cidr.contains(ip))
    }

    pub(crate) fn eni_of(&self, ip: IpAddr) -> Option<EniId> {
        self.cidr_of(ip).map(|cidr| cidr.eni.clone())
    }

    pub(crate) fn use_of(&self, ip: IpAddr) -> Option<&Use> {
        let addresses = &self.cidr_of(ip)?.addresses;
        addresses.iter().find(|(other, _)| *other == ip).map(|(_, state)| state)
    }

    pub(crate) fn set_use(&mut self, ip: IpAddr, new: Use) {
        for (other, state) in self.cidrs.iter_mut().flat_map(|cidr| &mut cidr.addresses) {
            if *other == ip {
                *state = new.clone();
            }
        }
    }

    pub(crate) fn lease_mut(&mut self, key: &SandboxKey) -> &mut Lease {
        self.leases.iter_mut().find(|lease| lease.key == *key).expect("a lease of that owner")
    }

    /// Requests without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        let open = |lease: &&Lease| lease.phase != Phase::Held;
        self.waiting.len() + self.leases.iter().filter(open).count()
    }
}

/// What a decoded state file says.
pub(crate) fn records_of(checkpoint: &Checkpoint) -> Vec<Record> {
    let at = |ns: i64| Time::from_millis(u64::try_from(ns / 1_000_000).unwrap());
    let leases = checkpoint.leases.iter();
    leases.map(|lease| (lease.key.clone(), lease.ip, at(lease.allocated_ns))).collect()
}

pub(crate) fn pods(cidr: &Cidr) -> usize {
    cidr.addresses.iter().filter(|(_, state)| matches!(state, Use::Leased(_))).count()
}

pub(crate) fn has_pods(cidr: &Cidr) -> bool {
    pods(cidr) > 0
}
