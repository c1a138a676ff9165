//! Invariants 24 to 27: what a view of the cloud may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::CloudView,
    id::EniId,
    policy::PolicyConfig,
    pool::{Action, Event},
    testkit::Reach,
    time::Time,
};

use crate::{
    cases,
    common::{
        bench::{Input, Outcome, Seen, Watch, commands, nodes},
        scripts::{any_config, hostile, script},
    },
    histories::play_to_undisturbed_rest,
    holds,
    state::{Counters, cidrs, counters},
};

/// How long a released block is not taken back: the reference's value.
const RELEASED_FOR: Duration = Duration::from_secs(60);

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_failed_read_never_removes_anything(node in nodes(), history in commands()) {
        holds(&node, &history, Failures::default())?;
    }

    #[test]
    fn a_cidr_is_removed_only_if_ec2_did_not_list_it_or_it_was_given_up(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, Removals::default())?;
    }

    #[test]
    fn a_released_cidr_is_not_taken_back_within_a_minute(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, Returns::default())?;
    }

    #[test]
    fn an_equal_view_changes_nothing(node in nodes(), history in commands()) {
        holds(&node, &history, Equal::default())?;
    }

    #[test]
    fn a_node_at_rest_stays_as_it_is(
        mut script in script(any_config(), hostile(), 30),
        reach in prop::sample::select(vec![Reach::All, Reach::Metadata, Reach::Nothing]),
    ) {
        // What a policy has learned fades with time.
        script.config.pool.policy = PolicyConfig::Static;
        let mut sim = play_to_undisturbed_rest(&script)?;
        let before = (sim.pool().checkpoint(), counters(&sim.pool().stats()));
        let actions = sim.actions().len();
        sim.cloud().set_reach(reach);
        sim.run_for(Duration::from_secs(600)).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let after = (sim.pool().checkpoint(), counters(&sim.pool().stats()));
        prop_assert_eq!(after, before);
        // It looks, and asks a subnet that had nothing to give again now and then.
        let in_vain = |action: &Action| {
            let reads = matches!(action, Action::Describe { .. });
            reads || matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. })
        };
        let other = sim.actions()[actions..].iter().find(|(_, action)| !in_vain(action));
        prop_assert!(other.is_none(), "{:?}", other);
    }
}

/// Blocks that the pool holds, by ENI.
type Blocks = BTreeSet<(EniId, Prefix)>;

fn blocks(seen: &Seen<'_>) -> Blocks {
    let stats = seen.pool.stats();
    cidrs(&stats).map(|(eni, cidr)| (eni.id.clone(), cidr.cidr)).collect()
}

fn shown(view: &CloudView) -> Blocks {
    let enis = view.enis.iter();
    enis.flat_map(|eni| eni.cidrs.iter().map(|cidr| (eni.id.clone(), *cidr))).collect()
}

fn is_complete(view: &CloudView) -> bool {
    view.enis.iter().any(|eni| eni.primary)
}

/// Reads that failed.
#[derive(Default)]
struct Failures {
    before: Blocks,
    counters: Option<Counters>,
}

impl Watch for Failures {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        let Input::Event(Event::Described { result, .. }) = input else { return Ok(()) };
        if result.as_ref().is_ok_and(is_complete) {
            return Ok(());
        }
        let after = (blocks(seen), Some(counters(&seen.pool.stats())));
        if after != (self.before.clone(), self.counters.clone()) {
            return Err(format!("{:?} became {after:?}", self.before));
        }
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        (self.before, self.counters) = (blocks(seen), Some(counters(&seen.pool.stats())));
        Ok(())
    }
}

/// Blocks that have left the pool, and why.
#[derive(Default)]
struct Removals {
    before: Blocks,
    /// Not in the last view.
    denied: Blocks,
    /// The pool has given them up by itself: it must ask EC2 to take them.
    given_up: Blocks,
    /// ENIs of the last view.
    attached: BTreeSet<EniId>,
    draining: bool,
}

impl Watch for Removals {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        let now = blocks(seen);
        match input {
            Input::Start(_) => *self = Self::default(),
            Input::Event(Event::Draining) => self.draining = true,
            Input::Event(Event::Described { result: Ok(view), .. }) if is_complete(view) => {
                self.denied = self.before.difference(&shown(view)).cloned().collect();
                self.attached = view.enis.iter().map(|eni| eni.id.clone()).collect();
            }
            // An ENI's own address is in no block.
            Input::Event(Event::EniCreated { result: Ok(eni), .. }) => {
                let own = |(_, cidr): &&(EniId, Prefix)| cidr.contains(eni.primary_ip);
                self.denied.extend(self.before.iter().filter(own).cloned());
            }
            _ => {}
        }
        for block in self.before.difference(&now).filter(|block| !self.denied.contains(block)) {
            // It may have moved to another ENI.
            if !now.iter().any(|(_, cidr)| *cidr == block.1) {
                self.given_up.insert(block.clone());
            }
        }
        self.before = now;
        Ok(())
    }

    fn asked(&mut self, action: &Action, _seen: &Seen<'_>) -> Outcome {
        match action {
            Action::UnassignAddresses { eni, cidrs, .. } => {
                let asked = |(id, cidr): &(EniId, Prefix)| id == eni && cidrs.contains(cidr);
                self.given_up.retain(|block| !asked(block));
            }
            Action::DeleteEni { eni, .. } => self.given_up.retain(|(id, _)| id != eni),
            _ => {}
        }
        Ok(())
    }

    fn rested(&mut self, _seen: &Seen<'_>) -> Outcome {
        // Those of an ENI that EC2 does not show any more need not be given back.
        self.given_up.retain(|(id, _)| self.attached.contains(id));
        match self.given_up.first() {
            Some(block) if !self.draining => Err(format!("{block:?} was removed by nobody")),
            _ => Ok(()),
        }
    }
}

/// Blocks that EC2 was asked to take, and when it answered.
#[derive(Default)]
struct Returns {
    before: Blocks,
    asked: BTreeMap<vpc_ipam_core::id::OpId, Vec<Prefix>>,
    released: BTreeMap<Prefix, Time>,
}

impl Watch for Returns {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        match input {
            Input::Start(_) => *self = Self::default(),
            Input::Event(Event::AddressesUnassigned { op, .. }) => {
                let cidrs = self.asked.remove(op).unwrap_or_default();
                self.released.extend(cidrs.into_iter().map(|cidr| (cidr, seen.now)));
            }
            // EC2 has given them again.
            Input::Event(Event::AddressesAssigned { result: Ok(cidrs), .. }) => {
                self.released.retain(|cidr, _| !cidrs.contains(cidr));
            }
            Input::Event(Event::EniCreated { result: Ok(eni), .. }) => {
                self.released.retain(|cidr, _| !eni.cidrs.contains(cidr));
            }
            _ => {}
        }
        let now = blocks(seen);
        for (_, cidr) in now.difference(&self.before) {
            let since = self.released.get(cidr).map(|at| seen.now.since(*at));
            if since.is_some_and(|since| since < RELEASED_FOR) {
                return Err(format!("{cidr} is back after {since:?}"));
            }
        }
        self.before = now;
        Ok(())
    }

    fn asked(&mut self, action: &Action, _seen: &Seen<'_>) -> Outcome {
        if let Action::UnassignAddresses { op, cidrs, .. } = action {
            self.asked.insert(*op, cidrs.clone());
        }
        Ok(())
    }
}

/// Views that show what the pool holds.
#[derive(Default)]
struct Equal {
    before: Blocks,
    counters: Option<Counters>,
}

impl Watch for Equal {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        let Input::Event(Event::Described { result: Ok(view), .. }) = input else { return Ok(()) };
        let Some((before, leases)) = &self.counters else { return Ok(()) };
        // Orphans are held although no view shows them; a view that shows them again is no equal one.
        let orphans = before[2] > 0;
        if shown(view) != self.before || orphans || self.before.is_empty() {
            return Ok(());
        }
        let (blocks, (_, leases_now)) = (blocks(seen), counters(&seen.pool.stats()));
        // It may be what a release of surplus addresses has waited for.
        let idle = |(_, cidr): &(EniId, Prefix)| !leases.iter().any(|(_, ip)| cidr.contains(*ip));
        let kept = self.before.difference(&blocks).all(idle) && blocks.is_subset(&self.before);
        if !kept || leases_now != *leases {
            return Err(format!("an equal view made {blocks:?} of {:?}", self.before));
        }
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        (self.before, self.counters) = (blocks(seen), Some(counters(&seen.pool.stats())));
        Ok(())
    }
}
