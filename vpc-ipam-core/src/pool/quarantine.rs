//! Addresses that the state file names without explaining who has them.
//!
//! Each is held by a lease of its own that belongs to nobody, so that it is neither given to a pod nor
//! back to the cloud. The entries themselves go into every new state file as they came.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Lease, Phase, Pool, Release};
use crate::{
    checkpoint::{Checkpoint, Kept, Lease as FileLease, Unknown},
    id::{PodRef, SandboxKey},
    time::Time,
};

/// Network name under which [`Stats`](crate::stats::Stats) show an address that is kept out of use
/// because the state file does not explain who has it. No ADD or DEL carries it.
pub const QUARANTINE_NETWORK: &str = "_quarantined";
/// Interface name of such an address.
const IF_NAME: &str = "unknown";
/// Entries that a sentence lists before it says "…".
const LISTED_MAX: usize = 3;

#[derive(Clone, Debug)]
struct Claim {
    entry: Kept,
    /// Generation of the write that leaves it out.
    releasing: Option<u64>,
}

/// Entries of the state file that are no leases.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    claims: Vec<Claim>,
    unknown: Unknown,
}

impl Quarantine {
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        let claims =
            checkpoint.kept.iter().map(|entry| Claim { entry: entry.clone(), releasing: None });
        Self { claims: claims.collect(), unknown: checkpoint.unknown.clone() }
    }

    /// Addresses that any entry names.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.claims.iter().flat_map(|claim| &claim.entry.addresses).copied().collect()
    }

    /// What keeps the addresses out of use.
    pub(super) fn leases(&self) -> Vec<(SandboxKey, Lease)> {
        let lease = |ip| Lease {
            pod: PodRef::default(),
            ip,
            allocated_ns: 0,
            interfaces: 1,
            place: None,
            phase: Phase::Held,
            told: true,
            first_generation: 0,
            made_by: None,
            unknown: Unknown::default(),
            quarantined: true,
        };
        self.addresses().into_iter().filter_map(|ip| Some((key(ip)?, lease(ip)))).collect()
    }

    /// The state file with these leases.
    pub(super) fn checkpoint(&self, leases: Vec<FileLease>) -> Checkpoint {
        let kept = self.claims.iter().filter(|claim| claim.releasing.is_none());
        let kept = kept.map(|claim| claim.entry.clone()).collect();
        Checkpoint { leases, kept, unknown: self.unknown.clone() }
    }

    fn has_claims(&self, owner: &SandboxKey) -> bool {
        let is_owner = |c: &Claim| c.releasing.is_none() && c.entry.owner.as_ref() == Some(owner);
        self.claims.iter().any(is_owner)
    }

    /// The write `generation` leaves out what `owner` claims.
    pub(super) fn release(&mut self, owner: &SandboxKey, generation: u64) {
        for claim in &mut self.claims {
            if claim.releasing.is_none() && claim.entry.owner.as_ref() == Some(owner) {
                claim.releasing = Some(generation);
            }
        }
    }

    /// After the write `generation`: the addresses that nobody claims any more.
    fn written(&mut self, generation: u64) -> Vec<IpAddr> {
        if self.claims.is_empty() {
            return Vec::new();
        }
        let ended = self.claims.extract_if(.., |claim| claim.releasing == Some(generation));
        let mut freed: BTreeSet<_> = ended.flat_map(|claim| claim.entry.addresses).collect();
        let claimed = self.addresses();
        freed.retain(|ip| !claimed.contains(ip));
        freed.into_iter().collect()
    }

    /// After the write `generation` failed: `again` says which write is to leave a claim out now.
    fn failed(&mut self, generation: u64, again: impl Fn(&SandboxKey) -> Option<u64>) {
        for claim in self.claims.iter_mut().filter(|c| c.releasing == Some(generation)) {
            claim.releasing = claim.entry.owner.as_ref().and_then(&again);
        }
    }

    /// What is kept, in one sentence.
    pub(super) fn text(&self) -> Option<String> {
        let count = self.claims.len();
        if count == 0 {
            return None;
        }
        let listed: Vec<String> =
            self.claims.iter().take(LISTED_MAX).map(|c| c.entry.to_string()).collect();
        let more = if count > LISTED_MAX { "; …" } else { "" };
        Some(format!(
            "{count} entries of the state file explain no lease; they are kept, and their addresses are \
             given to nobody: {}{more}",
            listed.join("; ")
        ))
    }
}

/// `None` for nothing that can be an address.
fn key(ip: IpAddr) -> Option<SandboxKey> {
    SandboxKey::new(QUARANTINE_NETWORK, &ip.to_string(), IF_NAME).ok()
}

impl Pool {
    /// Removes what a sandbox without a lease claims. The answer does not wait for that: it names no
    /// address, since others may be using it.
    pub(super) fn release_claims(&mut self, owner: &SandboxKey) -> Release {
        if self.quarantine.has_claims(owner) {
            let generation = self.journal.note(owner);
            self.quarantine.release(owner, generation);
        }
        Release::Absent
    }

    /// Draws the conclusions from the end of a write.
    pub(super) fn settle_claims(&mut self, generation: u64, written: bool, now: Time) {
        if !written {
            // A DEL that found a lease is repeated, because it failed; any other was answered.
            let next = self.journal.next_generation();
            let leases = &self.leases;
            self.quarantine.failed(generation, |owner| leases.get(owner).is_none().then_some(next));
            return;
        }
        for ip in self.quarantine.written(generation) {
            let Some(key) = key(ip) else { continue };
            if self.leases.get(&key).is_some_and(|lease| lease.quarantined) {
                self.end_lease(&key, Some(now));
            }
        }
    }
}
