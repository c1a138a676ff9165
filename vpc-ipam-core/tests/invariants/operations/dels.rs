//! Invariants 9, 11 and 14: what a DEL gives back, and what stays without one.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;
use vpc_ipam_core::{
    checkpoint::Checkpoint,
    config::PoolConfig,
    id::{OpId, SandboxKey},
    pool::{Assign, Event, Release, Reply},
};

use crate::{
    common::bench::{Bench, Command, Input, Outcome, Seen, Watch, key},
    state::{Counters, assigned, counters},
};

/// Remembers the last answer of each kind.
#[derive(Default)]
pub(super) struct Last {
    released: Option<Release>,
    reply: Option<Reply>,
}

impl Watch for Last {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        if let Input::Del(_, Ok(release)) = input {
            self.released = Some((*release).clone());
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, _seen: &Seen<'_>) -> Outcome {
        self.reply = Some(reply.clone());
        Ok(())
    }
}

/// A node at rest after a history, in which nothing fails any more.
pub(super) fn at_rest<W: Watch>(
    (config, subnet): &(PoolConfig, u32),
    history: &[Command],
    watch: W,
) -> Result<Bench<W>, String> {
    let mut bench = Bench::new(config, *subnet, watch)?;
    history.iter().try_for_each(|command| bench.obey(command))?;
    bench.come_to_rest()?;
    Ok(bench)
}

/// From now on the pool neither grows nor shrinks: an ADD is a reason for it, whatever becomes of it.
pub(super) fn freeze<W: Watch>(bench: &mut Bench<W>) -> Outcome {
    let mut config = bench.driver.pool().config().clone();
    config.provisioning = false;
    bench.tell(Event::Reconfigured(Box::new(config)))
}

/// A sandbox that no history knows.
const STRANGER: u32 = 1000;

/// An ADD that is served at once, and its DEL.
pub(super) fn there_and_back(
    node: &(PoolConfig, u32),
    history: &[Command],
    told: bool,
) -> Result<(), TestCaseError> {
    let mut bench = at_rest(node, history, Last::default()).map_err(TestCaseError::fail)?;
    freeze(&mut bench).map_err(TestCaseError::fail)?;
    let before = bench.driver.pool().stats();
    let leases = bench.driver.pool().checkpoint();
    if bench.driver.pool().next_addresses(1).is_empty() {
        return Ok(());
    }
    bench.add(STRANGER).map_err(TestCaseError::fail)?;
    prop_assert_eq!(bench.driver.pool().stats().assigned, before.assigned + 1);
    if told {
        bench.flow().map_err(TestCaseError::fail)?;
    }
    bench.del(STRANGER).map_err(TestCaseError::fail)?;
    bench.flow().map_err(TestCaseError::fail)?;
    let after = bench.driver.pool().stats();
    prop_assert_eq!(after.assigned, before.assigned);
    prop_assert_eq!(bench.driver.pool().checkpoint(), leases);
    // It rests only if somebody was told of it, and there is such a thing as a rest.
    if !node.0.cooldown.is_zero() {
        prop_assert_eq!(after.cooling, before.cooling + u64::from(told));
    }
    bench
        .pass(node.0.cooldown + std::time::Duration::from_millis(1))
        .map_err(TestCaseError::fail)?;
    prop_assert_eq!(bench.driver.pool().stats().cooling, 0);
    Ok(())
}

/// Two DELs of a sandbox that has an address.
pub(super) fn twice(node: &(PoolConfig, u32), history: &[Command]) -> Result<(), TestCaseError> {
    let mut bench = at_rest(node, history, Last::default()).map_err(TestCaseError::fail)?;
    let leases = bench.driver.pool().checkpoint().leases;
    let owner = (0..20).find(|n| leases.iter().any(|lease| lease.key == key(*n)));
    let Some(owner) = owner else { return Ok(()) };
    bench.del(owner).map_err(TestCaseError::fail)?;
    prop_assert!(matches!(bench.watch.released, Some(Release::Pending(_))));
    bench.flow().map_err(TestCaseError::fail)?;
    let released = bench.watch.reply.take().map(|reply| reply.result);
    prop_assert!(matches!(released, Some(Ok(_))), "{:?}", released);
    bench.del(owner).map_err(TestCaseError::fail)?;
    prop_assert_eq!(&bench.watch.released, &Some(Release::Absent));
    Ok(())
}

/// DELs of sandboxes that nobody knows.
#[derive(Default)]
pub(super) struct Unknown {
    before: Option<(Checkpoint, Counters)>,
    unknown: bool,
    /// ADDs that wait. Their DEL ends the waiting.
    waiting: BTreeMap<OpId, SandboxKey>,
}

impl Watch for Unknown {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        self.unknown = false;
        match input {
            Input::Start(_) => self.waiting.clear(),
            Input::Add(key, Ok(Assign::Pending(op))) => {
                self.waiting.insert(*op, (*key).clone());
            }
            Input::Abandon(_, op, _) => {
                self.waiting.remove(op);
            }
            Input::Del(key, Ok(release)) => {
                let leased = self.before.iter().flat_map(|(file, _)| &file.leases);
                let known = leased.map(|lease| &lease.key).any(|other| other == *key)
                    || self.waiting.values().any(|other| other == *key);
                self.unknown = !known && *release == Release::Absent;
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, _seen: &Seen<'_>) -> Outcome {
        self.waiting.remove(&reply.op);
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let now = (seen.pool.checkpoint(), counters(&seen.pool.stats()));
        let before = self.before.replace(now.clone());
        if let Some(before) = before.filter(|before| self.unknown && *before != now) {
            return Err(format!("the DEL of nobody changed {before:?} into {now:?}"));
        }
        Ok(())
    }
}

/// Pods that were told an address, and whose DEL has not been asked for.
#[derive(Default)]
pub(super) struct Kept {
    adds: BTreeMap<OpId, SandboxKey>,
    running: BTreeMap<SandboxKey, IpAddr>,
}

impl Watch for Kept {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        match input {
            Input::Start(file) => {
                self.adds.clear();
                // Nobody hears of requests that a dead daemon has carried out.
                let known = |key: &SandboxKey| file.leases.iter().any(|lease| lease.key == *key);
                if let Some((key, ip)) = self.running.iter().find(|(key, _)| !known(key)) {
                    return Err(format!("{key} runs with {ip}, but the file has lost it"));
                }
            }
            Input::Add(key, Ok(Assign::Pending(op))) => {
                self.adds.insert(*op, (*key).clone());
            }
            Input::Del(key, _) | Input::Abandon(key, ..) => {
                self.running.remove(*key);
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, reply: &Reply, _seen: &Seen<'_>) -> Outcome {
        if let (Some(key), Ok(assignment)) = (self.adds.remove(&reply.op), &reply.result) {
            self.running.insert(key, assignment.ip);
        }
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let (leases, stats) = (seen.pool.checkpoint().leases, seen.pool.stats());
        let listed = assigned(&stats);
        let mut unplaced = 0;
        for (key, ip) in &self.running {
            let lease = leases.iter().find(|lease| lease.key == *key);
            if lease.is_none_or(|lease| lease.ip != *ip) {
                return Err(format!("{key} runs with {ip}, but its lease is {lease:?}"));
            }
            unplaced += u64::from(!listed.contains(&(key.clone(), *ip)));
        }
        if unplaced > stats.orphaned {
            return Err(format!("{unplaced} pods have lost their entry, {} count", stats.orphaned));
        }
        Ok(())
    }
}
