//! Invariants 9, 12 and 13: which address a pod gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use proptest::prelude::*;
use vpc_ipam_core::{
    addr::Prefix,
    config::{
        AllocationMode::{self, Secondary},
        PoolConfig, WarmTargets,
    },
    id::{OpId, SandboxKey},
    pool::{Assign, Release, Reply},
    time::Time,
};

use crate::{
    common::bench::{Bench, Input, Outcome, Seen, Watch},
    state::{Leases, assigned, cidrs},
};

/// When each address was given back, and by whom.
#[derive(Default)]
pub(super) struct Rests {
    adds: BTreeMap<OpId, SandboxKey>,
    dels: BTreeSet<OpId>,
    running: BTreeMap<SandboxKey, IpAddr>,
    released: BTreeMap<IpAddr, Time>,
}

impl Watch for Rests {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        match input {
            // The cooldown is not stored.
            Input::Start(_) => *self = Self::default(),
            Input::Add(key, Ok(Assign::Pending(op))) => {
                self.adds.insert(*op, (*key).clone());
            }
            Input::Del(_, Ok(Release::Pending(op)))
            | Input::Abandon(_, _, Release::Pending(op)) => {
                self.dels.insert(*op);
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) -> Outcome {
        let Ok(assignment) = &reply.result else { return Ok(()) };
        let ip = assignment.ip;
        if let Some(key) = self.adds.remove(&reply.op) {
            let rest = self.released.remove(&ip).map(|at| seen.now.since(at));
            let cooldown = seen.pool.config().cooldown;
            if rest.is_some_and(|rest| rest <= cooldown && !cooldown.is_zero()) {
                return Err(format!("{ip} is given to {key} after {rest:?} of {cooldown:?}"));
            }
            self.running.insert(key, ip);
        } else if self.dels.remove(&reply.op)
            && let Some(ip) = self.running.remove(&assignment.key)
        {
            // A sandbox that comes back before its release is written keeps its address.
            let back = self.adds.values().any(|key| *key == assignment.key);
            if !back {
                self.released.insert(ip, seen.now);
            }
        }
        Ok(())
    }
}

struct Silent;

impl Watch for Silent {}

/// A node full of pods, one of which goes: the next one gets its address, but not too early.
pub(super) fn given_again(
    slots: u32,
    prefix: bool,
    gone: u32,
    cooldown_s: u64,
) -> Result<(), TestCaseError> {
    let mode = if prefix { AllocationMode::Prefix } else { Secondary };
    let targets = WarmTargets { enis: 1, prefixes: 1, ..WarmTargets::default() };
    let mut config = PoolConfig::new(mode, targets, 1, slots).unwrap();
    config.cooldown = Duration::from_secs(cooldown_s);
    config.add_wait = Duration::from_secs(1);
    let pods = slots * config.addresses_per_slot();
    config.max_pods = pods;
    let mut bench = Bench::new(&config, 256, Silent).map_err(TestCaseError::fail)?;
    let mut step = |what: &dyn Fn(&mut Bench<Silent>) -> Outcome| {
        what(&mut bench).and_then(|()| bench.flow()).map_err(TestCaseError::fail)?;
        Ok::<_, TestCaseError>(assigned(&bench.driver.pool().stats()))
    };
    let full = step(&|bench| (0..pods).try_for_each(|n| bench.add(n)))?;
    prop_assert_eq!(full.len() as u32, pods);
    step(&|bench| bench.del(gone % pods))?;
    let early = step(&|bench| {
        bench.pass(Duration::from_secs(cooldown_s).saturating_sub(Duration::from_secs(2)))?;
        bench.add(1000)
    })?;
    prop_assert_eq!(early.len() as u32, pods - u32::from(cooldown_s > 0));
    step(&|bench| bench.del(1000))?;
    step(&|bench| bench.pass(Duration::from_secs(cooldown_s + 3)))?;
    let mut after = step(&|bench| bench.add(1001))?;
    prop_assert_eq!(after.len() as u32, pods);
    let mut full: Vec<IpAddr> = full.into_iter().map(|(_, ip)| ip).collect();
    let mut again: Vec<IpAddr> = after.drain(..).map(|(_, ip)| ip).collect();
    full.sort();
    again.sort();
    prop_assert_eq!(full, again);
    Ok(())
}

#[derive(Default)]
pub(super) struct OwnMode(Leases);

impl Watch for OwnMode {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        if let Input::Start(_) = input {
            self.0.made(seen);
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, seen: &Seen<'_>) -> Outcome {
        self.0.answered(reply, seen);
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let (mode, stats) = (seen.pool.config().mode, seen.pool.stats());
        for (key, ip) in self.0.made(seen) {
            let host = cidrs(&stats).any(|(_, c)| c.cidr.is_host() && c.cidr.contains(ip));
            // Single addresses stand in for prefixes, but only if no prefix has an address.
            let spared = || {
                let mut enis = seen.pool.view().enis.into_iter().filter(|e| e.usable && e.settled);
                enis.find(|eni| eni.total > eni.assigned + eni.cooling)
            };
            match (mode, host) {
                (Secondary, false) => {
                    return Err(format!("{key} was given {ip} of a prefix in {mode:?} mode"));
                }
                (AllocationMode::Prefix, true) if let Some(eni) = spared() => {
                    return Err(format!("{key} was given {ip}, but a prefix has one: {eni:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The addresses of each entry that were ever in use while the pool has held it.
#[derive(Default)]
pub(super) struct Lowest {
    leases: Leases,
    used: BTreeMap<Prefix, BTreeSet<IpAddr>>,
}

impl Watch for Lowest {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        if let Input::Start(_) = input {
            self.leases.made(seen);
            self.used.clear();
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
        for (_, cidr) in cidrs(&stats) {
            let used = self.used.entry(cidr.cidr).or_default();
            let in_use: BTreeSet<IpAddr> = cidr.addresses.iter().map(|a| a.ip).collect();
            let recycled = used.iter().any(|ip| !in_use.contains(ip));
            let fresh = made.iter().map(|(_, ip)| *ip).filter(|ip| cidr.cidr.contains(*ip));
            if let Some(highest) = fresh.max().filter(|_| !recycled) {
                let below = (0..cidr.cidr.size()).filter_map(|n| cidr.cidr.nth(n));
                let skipped = below.take_while(|ip| *ip < highest).find(|ip| !in_use.contains(ip));
                if let Some(skipped) = skipped {
                    return Err(format!("{highest} was given before {skipped}"));
                }
            }
            used.extend(in_use);
        }
        self.used.retain(|held, _| cidrs(&stats).any(|(_, cidr)| cidr.cidr == *held));
        Ok(())
    }
}
