//! Invariants 1 to 7: what is true of the state after every call.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use proptest::prelude::*;
use vpc_ipam_core::{
    addr::Prefix,
    checkpoint,
    id::{EniId, OpId, SandboxKey},
    pool::{Assign, AssignError, Assignment, Event, Release, Reply},
    stats::{CidrStats, EniStats, Stats},
    testkit::check,
};

use crate::{
    cases,
    common::bench::{Input, Outcome, Seen, Watch, commands, nodes},
    holds,
};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_two_assigned_addresses_share_an_ip_and_each_lies_in_exactly_one_entry(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, OneOwner)?;
    }

    #[test]
    fn a_key_owns_at_most_one_address(node in nodes(), history in commands()) {
        holds(&node, &history, OneAddress)?;
    }

    #[test]
    fn no_primary_ip_of_an_eni_is_in_any_entry_or_assignment(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, OwnAddresses::default())?;
    }

    #[test]
    fn counters_are_the_sums_of_what_they_count(node in nodes(), history in commands()) {
        holds(&node, &history, Sums)?;
    }

    #[test]
    fn assigned_and_cooling_addresses_are_never_more_than_there_are(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, Bounds)?;
    }

    #[test]
    fn the_state_file_names_the_assigned_addresses_after_every_success(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, File::default())?;
    }

    #[test]
    fn the_statistics_that_gauges_are_made_of_are_sums_over_the_enis(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, Gauges::default())?;
    }
}

pub(crate) fn cidrs(stats: &Stats) -> impl Iterator<Item = (&EniStats, &CidrStats)> {
    stats.enis.iter().flat_map(|eni| eni.cidrs.iter().map(move |cidr| (eni, cidr)))
}

/// What changes with pods and blocks, and not with time alone.
pub(crate) type Counters = ([u64; 5], Vec<(SandboxKey, IpAddr)>);

pub(crate) fn counters(stats: &Stats) -> Counters {
    let Stats { total, assigned: in_use, orphaned, prefixes, waiting, .. } = *stats;
    ([total, in_use, orphaned, prefixes, waiting], assigned(stats))
}

/// Leases that were made and have not ended.
#[derive(Default)]
pub(crate) struct Leases(BTreeSet<(SandboxKey, IpAddr)>);

impl Leases {
    /// Those that are new in the pool, or in a new daemon.
    pub(crate) fn made(&mut self, seen: &Seen<'_>) -> Vec<(SandboxKey, IpAddr)> {
        let leases = seen.pool.checkpoint().leases;
        let leases = leases.into_iter().map(|lease| (lease.key, lease.ip));
        leases.filter(|lease| self.0.insert(lease.clone())).collect()
    }

    /// A DEL ends one, unless its sandbox has come back before.
    pub(crate) fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) {
        if let Ok(Assignment { key, ip, .. }) = &reply.result
            && !seen.pool.checkpoint().leases.iter().any(|lease| lease.key == *key)
        {
            self.0.remove(&(key.clone(), *ip));
        }
    }
}

/// Who has which address, as the entries list it.
pub(crate) fn assigned(stats: &Stats) -> Vec<(SandboxKey, IpAddr)> {
    let addresses = cidrs(stats).flat_map(|(_, cidr)| &cidr.addresses);
    addresses.filter_map(|a| Some((a.key.clone()?, a.ip))).collect()
}

struct OneOwner;

impl Watch for OneOwner {
    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let stats = seen.pool.stats();
        let assigned = assigned(&stats);
        for (key, ip) in &assigned {
            if let Some((other, _)) = assigned.iter().find(|(k, i)| i == ip && k != key) {
                return Err(format!("{ip} is assigned to {key} and to {other}"));
            }
            let entries = cidrs(&stats).filter(|(_, cidr)| cidr.cidr.contains(*ip)).count();
            if entries != 1 {
                return Err(format!("{ip} of {key} lies in {entries} entries"));
            }
        }
        Ok(())
    }
}

struct OneAddress;

impl Watch for OneAddress {
    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let mut owners: BTreeMap<SandboxKey, IpAddr> = BTreeMap::new();
        let leases = seen.pool.checkpoint().leases.into_iter().map(|lease| (lease.key, lease.ip));
        for (key, ip) in assigned(&seen.pool.stats()).into_iter().chain(leases) {
            if let Some(other) = owners.insert(key.clone(), ip).filter(|other| *other != ip) {
                return Err(format!("{key} owns {ip} and {other}"));
            }
        }
        Ok(())
    }
}

/// The addresses of the ENIs themselves, as EC2 has shown them last.
///
/// A pod whose ENI was taken from the node keeps its lease, even if EC2 gives the address to a new ENI
/// for itself. But no such address enters the pool, and none is given to a pod.
#[derive(Default)]
struct OwnAddresses {
    own: BTreeMap<EniId, IpAddr>,
    held: Vec<Prefix>,
    leases: Leases,
}

impl OwnAddresses {
    /// EC2 has given the address of an ENI away, which the pool keeps for the sake of its pods, knowing
    /// that it has gone.
    fn forget_given(&mut self, cidrs: &[Prefix], seen: &Seen<'_>) {
        let view = seen.pool.view();
        let here = |id: &EniId| view.enis.iter().any(|eni| eni.id == *id);
        self.own.retain(|id, ip| here(id) || !cidrs.iter().any(|cidr| cidr.contains(*ip)));
    }
}

impl Watch for OwnAddresses {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        match input {
            Input::Start(_) => drop(self.leases.made(seen)),
            Input::Event(Event::Described { result: Ok(view), .. }) => {
                self.own = view.enis.iter().map(|eni| (eni.id.clone(), eni.primary_ip)).collect();
            }
            Input::Event(Event::EniCreated { result: Ok(eni), .. }) => {
                self.forget_given(&eni.cidrs, seen);
                self.own.insert(eni.id.clone(), eni.primary_ip);
            }
            Input::Event(Event::AddressesAssigned { result: Ok(cidrs), .. }) => {
                self.forget_given(cidrs, seen);
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) -> Outcome {
        self.leases.answered(reply, seen);
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let stats = seen.pool.stats();
        let made = self.leases.made(seen);
        for eni in &stats.enis {
            let Some(ip) = self.own.get(&eni.id) else { continue };
            for (_, cidr) in cidrs(&stats).filter(|(_, cidr)| cidr.cidr.contains(*ip)) {
                let orphaned = self.held.contains(&cidr.cidr) && cidr.assigned() > 0;
                if !orphaned {
                    return Err(format!("{} contains {ip}, which is {}'s own", cidr.cidr, eni.id));
                }
            }
            if let Some((key, ip)) = made.iter().find(|(_, given)| given == ip) {
                return Err(format!("{key} has {ip}, which is {}'s own", eni.id));
            }
        }
        self.held = cidrs(&stats).map(|(_, cidr)| cidr.cidr).collect();
        Ok(())
    }
}

/// The sums that the pool keeps, those that it recounts, and those of the planner's view.
struct Sums;

impl Watch for Sums {
    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        check::sums(seen.pool).map_err(|e| e.to_string())?;
        let (stats, view) = (seen.pool.stats(), seen.pool.view());
        for eni in &view.enis {
            let listed = stats.enis.iter().find(|other| other.id == eni.id);
            let Some(listed) = listed else { return Err(format!("{} is not listed", eni.id)) };
            // The view leaves out what EC2 does not show, and what is of the other mode.
            let at_most = |what, some: u64, all: u64| {
                if some <= all {
                    Ok(())
                } else {
                    Err(format!("{}: {some} {what} of {all}", eni.id))
                }
            };
            at_most("entries", eni.entries, listed.cidrs.len() as u64)?;
            at_most("addresses", eni.total, listed.total())?;
            at_most("assigned", eni.assigned, listed.assigned())?;
            at_most("without a pod", eni.unleased, eni.entries)?;
            at_most("assigned and cooling", eni.assigned + eni.cooling, eni.total)?;
        }
        Ok(())
    }
}

struct Bounds;

impl Watch for Bounds {
    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let stats = seen.pool.stats();
        let Some(available) = stats.total.checked_sub(stats.assigned) else {
            return Err(format!("{} of {} are assigned", stats.assigned, stats.total));
        };
        if stats.cooling > available {
            return Err(format!("{} of {available} available ones are cooling", stats.cooling));
        }
        Ok(())
    }
}

/// Who was told to have which address, and who asked for what.
#[derive(Default)]
struct File {
    requests: BTreeMap<OpId, (SandboxKey, bool)>,
}

impl File {
    fn stored(seen: &Seen<'_>) -> Result<Vec<(SandboxKey, IpAddr)>, String> {
        let Some(content) = seen.store.content() else { return Ok(Vec::new()) };
        let file = checkpoint::decode(&content).map_err(|e| e.to_string())?;
        Ok(file.leases.into_iter().map(|lease| (lease.key, lease.ip)).collect())
    }
}

impl Watch for File {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        let (key, op, adds) = match input {
            Input::Add(key, Ok(Assign::Pending(op))) => (key, op, true),
            Input::Del(key, Ok(Release::Pending(op))) => (key, op, false),
            Input::Abandon(key, _, Release::Pending(op)) => (key, op, false),
            Input::Start(_) => {
                self.requests.clear();
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.requests.insert(*op, ((*key).clone(), adds));
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) -> Outcome {
        let Some((key, adds)) = self.requests.remove(&reply.op) else { return Ok(()) };
        let Ok(assignment) = &reply.result else { return Ok(()) };
        let named = Self::stored(seen)?.contains(&(key.clone(), assignment.ip));
        // A release that its own sandbox has taken back by another ADD is answered before its write.
        let taken_back = self.requests.values().any(|(other, adds)| *other == key && *adds);
        if named != adds && (adds || !taken_back) {
            return Err(format!("{key}, added: {adds}, but named by the file: {named}"));
        }
        Ok(())
    }

    fn rested(&mut self, seen: &Seen<'_>) -> Outcome {
        let (mut file, stats) = (Self::stored(seen)?, seen.pool.stats());
        let (listed, orphans) = (assigned(&stats), stats.orphaned as usize);
        file.retain(|lease| !listed.contains(lease));
        let unlisted = file.len();
        if unlisted > orphans {
            return Err(format!("{unlisted} leases of the file are not assigned: {file:?}"));
        }
        let stored = Self::stored(seen)?;
        match listed.iter().find(|lease| !stored.contains(lease)) {
            Some(lease) => Err(format!("{lease:?} is assigned, but not in the file")),
            None => Ok(()),
        }
    }
}

/// ADDs that have no address yet, counted by their answers.
#[derive(Default)]
struct Gauges {
    refused: u64,
}

impl Watch for Gauges {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        if let Input::Start(_) = input {
            self.refused = 0;
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, _seen: &Seen<'_>) -> Outcome {
        self.refused += u64::from(matches!(reply.result, Err(AssignError::NoAddress(_))));
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let stats = seen.pool.stats();
        let of_enis = |what: fn(&EniStats) -> u64| stats.enis.iter().map(what).sum::<u64>();
        let resting = |cidr: &CidrStats| cidr.addresses.iter().filter(|a| a.key.is_none()).count();
        let sums = [
            ("total", stats.total, of_enis(EniStats::total)),
            ("assigned", stats.assigned, of_enis(EniStats::assigned)),
            ("cooling", stats.cooling, cidrs(&stats).map(|(_, c)| resting(c) as u64).sum()),
            ("prefixes", stats.prefixes, cidrs(&stats).filter(|(_, c)| c.is_prefix).count() as u64),
            ("ADDs without an address", stats.no_address, self.refused),
        ];
        match sums.iter().find(|(_, gauge, sum)| gauge != sum) {
            Some((what, gauge, sum)) => Err(format!("{what} is {gauge}, the sum is {sum}")),
            None => Ok(()),
        }
    }
}
