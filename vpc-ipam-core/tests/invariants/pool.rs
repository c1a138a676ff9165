//! Invariants 19 to 23 in whole histories: what the pool asks of EC2, and when it must not.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use vpc_ipam_core::{
    cloud::AddressCount,
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::EniId,
    plan::{ENI_AGE_MIN, SHRINK_GAP, View},
    pool::{Action, Event},
    stats::{EniStats, Stats},
    time::Time,
};

use crate::{
    cases,
    common::bench::{Bench, Command, Input, Kind, Outcome, Seen, Watch, commands, nodes},
    holds,
    state::cidrs,
};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_growth_passes_the_limits_of_enis_and_slots(node in nodes(), history in commands()) {
        holds(&node, &history, Limits)?;
    }

    #[test]
    fn a_freed_eni_is_never_primary_young_cooling_or_in_use_and_the_targets_stay_met(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, Frees::default())?;
    }

    #[test]
    fn releases_keep_their_distance(node in nodes(), history in commands()) {
        holds(&node, &history, Gaps::default())?;
    }

    #[test]
    fn a_draining_node_changes_nothing_in_ec2(node in nodes(), history in commands(), at in 0..80usize) {
        let mut history = history;
        history.insert(at.min(history.len()), Command::Drain);
        holds(&node, &history, Still::default())?;
    }

    #[test]
    fn a_node_without_provisioning_changes_nothing_in_ec2(
        node in nodes(),
        history in commands(),
        later in commands(),
    ) {
        without_provisioning(&node, &history, &later).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_pool_with_addresses_for_all_its_pods_does_not_grow(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, MaxPods)?;
    }
}

fn grows(action: &Action) -> Option<AddressCount> {
    match action {
        Action::AssignAddresses { count, .. } => Some(*count),
        Action::CreateEni { request, .. } => Some(request.count),
        _ => None,
    }
}

fn changes_ec2(action: &Action) -> bool {
    let gives = matches!(action, Action::UnassignAddresses { .. } | Action::DeleteEni { .. });
    gives || grows(action).is_some()
}

/// What would be there once everything that was asked for has come.
struct Limits;

impl Watch for Limits {
    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        let (config, view) = (seen.pool.config(), seen.pool.view());
        if let Action::CreateEni { .. } = action {
            let under_way = u64::from(view.creating.is_some());
            let enis = view.enis.len() as u64 + u64::from(view.other_enis) + under_way;
            if enis > u64::from(config.max_enis) {
                return Err(format!("{enis} of {} ENIs", config.max_enis));
            }
        }
        if grows(action).is_some_and(|count| count.slots() == 0 || count.slots() > config.slots) {
            return Err(format!("{} slots: {action:?}", config.slots));
        }
        let full = view.enis.iter().find(|eni| {
            matches!(action, Action::AssignAddresses { eni: id, .. } if *id == eni.id)
                && eni.taken + eni.incoming > config.slots
        });
        match full {
            Some(eni) => Err(format!("more than {} slots: {eni:?}", config.slots)),
            None => Ok(()),
        }
    }
}

/// ENIs as they were before each call, since when the pool has had them, and what the planner saw.
#[derive(Default)]
struct Frees {
    before: Stats,
    view: View,
    since: BTreeMap<EniId, Time>,
    /// A view came with this call.
    viewed: bool,
}

impl Frees {
    /// True if a lease has lost its place with `eni`, which was freed in the last call.
    fn is_missed(&self, eni: &EniStats, after: &Stats, seen: &Seen<'_>) -> bool {
        let within = |eni: &EniStats, ip| eni.cidrs.iter().any(|cidr| cidr.cidr.contains(ip));
        let placed = |ip| after.enis.iter().any(|other| within(other, ip));
        let leases = seen.pool.checkpoint().leases;
        let lost = leases.iter().any(|lease| within(eni, lease.ip) && !placed(lease.ip));
        // A release that is being written is in no checkpoint. A view ends no lease, and may take the
        // places of leases elsewhere; nothing else does.
        lost || if self.viewed { eni.assigned() > 0 } else { after.orphaned > self.before.orphaned }
    }

    /// The least that may be left once an ENI has gone.
    fn left(config: &PoolConfig, view: &View) -> Outcome {
        let (targets, per_slot) = (config.targets, u64::from(config.addresses_per_slot()));
        let rounded = |n: u32| u64::from(n).div_ceil(per_slot) * per_slot;
        let usable = || view.enis.iter().filter(|eni| eni.usable);
        let total: u64 = usable().map(|eni| eni.total).sum();
        let available = total - usable().map(|eni| eni.assigned).sum::<u64>();
        let free: u64 = usable().map(|eni| eni.unleased).sum();
        let prefixes = config.mode == AllocationMode::Secondary || free >= targets.prefixes.into();
        if available < rounded(targets.ips) || total < rounded(targets.minimum_ips) || !prefixes {
            return Err(format!("{available} of {total} and {free} entries are left: {targets:?}"));
        }
        Ok(())
    }
}

impl Watch for Frees {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        let event = if let Input::Event(event) = input { Some(event) } else { None };
        self.viewed = matches!(
            event,
            Some(
                Event::Described { .. }
                    | Event::EniCreated { .. }
                    | Event::AddressesAssigned { .. }
            )
        );
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let (stats, view) = (seen.pool.stats(), seen.pool.view());
        for eni in &self.before.enis {
            if stats.enis.iter().any(|other| other.id == eni.id) {
                continue;
            }
            // The planner saw only ENIs that EC2 shows. The others are forgotten, not freed.
            let Some(planned) = self.view.enis.iter().find(|other| other.id == eni.id) else {
                continue;
            };
            if view.other_enis <= self.view.other_enis {
                // Lost in this very call.
                continue;
            }
            let cooldown = seen.pool.config().cooldown;
            let cooling = |at: Time| !cooldown.is_zero() && seen.now.since(at) <= cooldown;
            let mut addresses = eni.cidrs.iter().flat_map(|cidr| &cidr.addresses);
            let in_use = self.is_missed(eni, &stats, seen)
                || addresses.any(|a| a.released.is_some_and(cooling));
            let age = self.since.get(&eni.id).map(|since| seen.now.since(*since));
            let young = age.is_none_or(|age| age < ENI_AGE_MIN);
            if eni.primary || !planned.freeable || in_use || young {
                return Err(format!("freed at the age of {age:?}: {eni:?}"));
            }
            Self::left(seen.pool.config(), &view)?;
        }
        let now = seen.now;
        self.since.retain(|id, _| stats.enis.iter().any(|eni| eni.id == *id));
        for eni in &stats.enis {
            self.since.entry(eni.id.clone()).or_insert(now);
        }
        (self.before, self.view) = (stats, view);
        Ok(())
    }
}

#[test]
fn an_eni_may_be_freed_by_the_view_that_takes_the_address_of_a_pod_on_another_one() {
    use AllocationMode::{Prefix, Secondary};
    let targets = |enis| WarmTargets { enis, ips: 0, minimum_ips: 0, prefixes: 1 };
    let mut config = PoolConfig::new(Prefix, targets(0), 3, 4).unwrap();
    (config.max_pods, config.cooldown) = (3, Duration::ZERO);
    config.add_wait = Duration::from_secs(15);
    let history = [
        Command::Add(0),
        Command::Reconfigure(Secondary, targets(2), 8),
        Command::Add(0),
        Command::DelAll(1),
        Command::Add(0),
        Command::DelAll(0),
        Command::FailCloud(1),
        Command::Hold(Kind::Read),
        Command::FailHost(1),
        Command::Pass(63_262),
        Command::Reconfigure(Prefix, targets(0), 3),
        Command::Add(1),
        Command::LoseCidr(4),
    ];
    holds(&(config, 64), &history, Frees::default()).unwrap();
}

/// When addresses of the current mode were given up last.
#[derive(Default)]
struct Gaps {
    before: Stats,
    last: Option<Time>,
}

impl Watch for Gaps {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        match input {
            Input::Start(_) => *self = Self::default(),
            // What EC2 does not show is given up at once.
            Input::Event(Event::Described { .. } | Event::EniCreated { .. }) => {
                self.before = seen.pool.stats();
            }
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let (stats, mode) = (seen.pool.stats(), seen.pool.config().mode);
        let stays = |id: &EniId| stats.enis.iter().any(|eni| eni.id == *id);
        let held = |other| cidrs(&stats).any(|(_, cidr)| cidr.cidr == other);
        let released = cidrs(&self.before).find(|(eni, cidr)| {
            let serves = cidr.is_prefix == (mode == AllocationMode::Prefix);
            // An orphan goes with its last pod.
            serves && cidr.assigned() == 0 && stays(&eni.id) && !held(cidr.cidr)
        });
        if let Some((_, cidr)) = released {
            let gap = self.last.map(|last| seen.now.since(last));
            if gap.is_some_and(|gap| gap <= SHRINK_GAP && !gap.is_zero()) {
                return Err(format!("{} is given up {gap:?} after the last one", cidr.cidr));
            }
            self.last = Some(seen.now);
        }
        self.before = stats;
        Ok(())
    }
}

/// Nothing may change any more.
#[derive(Default)]
struct Still(bool);

impl Watch for Still {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        match input {
            Input::Event(Event::Draining) => self.0 = true,
            // The next daemon is told by itself.
            Input::Start(_) => self.0 = false,
            _ => {}
        }
        Ok(())
    }

    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        let still = self.0 || !seen.pool.config().provisioning;
        if still && changes_ec2(action) { Err(format!("asks for {action:?}")) } else { Ok(()) }
    }
}

/// A history, the setting, and another history.
fn without_provisioning(
    (config, subnet): &(PoolConfig, u32),
    history: &[Command],
    later: &[Command],
) -> Outcome {
    let mut bench = Bench::new(config, *subnet, Still::default())?;
    history.iter().try_for_each(|command| bench.obey(command))?;
    let mut config = bench.driver.pool().config().clone();
    config.provisioning = false;
    bench.tell(Event::Reconfigured(Box::new(config)))?;
    later.iter().try_for_each(|command| bench.obey(command))?;
    bench.pass(Duration::from_secs(300))
}

/// `T >= maxPods`.
struct MaxPods;

impl Watch for MaxPods {
    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        let Some(count) = grows(action) else { return Ok(()) };
        let (config, view) = (seen.pool.config(), seen.pool.view());
        let per_slot = if let AddressCount::Prefixes(_) = count { 16 } else { 1 };
        let total: u64 = view.enis.iter().filter(|e| e.usable).map(|eni| eni.total).sum();
        let max = u64::from(config.max_pods);
        // The last slot that is asked for must still be needed.
        if total + (u64::from(count.slots()) - 1) * per_slot >= max {
            return Err(format!("{total} addresses for {max} pods: {action:?}"));
        }
        Ok(())
    }
}
