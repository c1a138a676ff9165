//! In place of invariant 21: growth waits for no tick, and the calls of a node keep within its budget.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use vpc_ipam_core::{
    budget::{CallKind, CallLevel, Rate},
    pool::Action,
    time::Time,
};

use crate::{
    cases,
    common::bench::{Input, Outcome, Seen, Watch, commands, nodes},
    holds,
};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_window_holds_more_calls_than_the_budget(
        mut node in nodes(),
        history in commands(),
        capacity in 1..4u32,
        seconds in 1..20u64,
    ) {
        // So small that histories come by its limits.
        let rate = Rate { capacity, interval: Duration::from_secs(seconds) };
        let budget = &mut node.0.budget;
        (budget.assign, budget.create, budget.delete) = (rate, rate, rate);
        (budget.describe, budget.unassign) = (rate, rate);
        holds(&node, &history, Calls::default())?;
    }

    #[test]
    fn a_level_keeps_from_what_it_says(node in nodes(), history in commands()) {
        holds(&node, &history, Levels)?;
    }
}

fn kind(action: &Action) -> Option<CallKind> {
    match action {
        Action::AssignAddresses { .. } => Some(CallKind::Assign),
        Action::CreateEni { .. } => Some(CallKind::Create),
        Action::DeleteEni { .. } => Some(CallKind::Delete),
        Action::Describe { .. } => Some(CallKind::Describe),
        Action::UnassignAddresses { .. } => Some(CallKind::Unassign),
        _ => None,
    }
}

#[derive(Default)]
struct Calls(BTreeMap<CallKind, Vec<Time>>);

impl Watch for Calls {
    fn called(&mut self, input: &Input<'_>, _: &Seen<'_>) -> Outcome {
        // A daemon does not know what the one before it has spent.
        if matches!(input, Input::Start(_)) {
            self.0.clear();
        }
        Ok(())
    }

    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        let Some(kind) = kind(action) else { return Ok(()) };
        let Rate { capacity, interval } = seen.pool.config().budget.rate(kind);
        let calls = self.0.entry(kind).or_default();
        calls.push(seen.now);
        for (n, first) in calls.iter().enumerate() {
            let came = seen.now.since(*first).as_millis() / interval.as_millis() + 1;
            let made = calls.len() - n;
            if made as u128 > u128::from(capacity) + came {
                return Err(format!("{made} calls of {kind:?} from {first} to {}", seen.now));
            }
        }
        Ok(())
    }
}

struct Levels;

impl Watch for Levels {
    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        let stats = seen.pool.stats();
        if stats.waiting > 0 {
            return Ok(());
        }
        let least = match kind(action) {
            Some(CallKind::Assign | CallKind::Create) => CallLevel::NoMutations,
            Some(CallKind::Unassign | CallKind::Delete) => CallLevel::NoReleases,
            _ => return Ok(()),
        };
        if stats.call_level >= least {
            return Err(format!("{:?}, and yet {action:?}", stats.call_level));
        }
        Ok(())
    }
}
