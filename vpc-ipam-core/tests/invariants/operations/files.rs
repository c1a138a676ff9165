//! Invariants 10, 15 and 16: the state file.

use std::net::IpAddr;

use proptest::prelude::*;
use vpc_ipam_core::{
    checkpoint::{self, Checkpoint},
    config::PoolConfig,
    pool::{Action, Event, Pool},
    store::Store,
    testkit::MemoryStore,
    time::Time,
};

use super::dels::{Last, at_rest, freeze};
use crate::{
    common::bench::{Command, Input, Outcome, Seen, Watch},
    state::{Counters, counters},
};

/// What a request that fails must leave as it was.
fn state(pool: &Pool) -> (Checkpoint, Counters, Vec<IpAddr>) {
    (pool.checkpoint(), counters(&pool.stats()), pool.next_addresses(64))
}

/// An ADD or a DEL whose write fails, its content there or not.
pub(super) fn failed_write(
    node: &(PoolConfig, u32),
    history: &[Command],
    n: u32,
    kept: bool,
) -> Result<(), TestCaseError> {
    let mut bench = at_rest(node, history, Last::default()).map_err(TestCaseError::fail)?;
    freeze(&mut bench).map_err(TestCaseError::fail)?;
    let before = state(bench.driver.pool());
    let known = before.0.leases.iter().any(|lease| lease.key == crate::common::bench::key(n));
    if !known && before.2.is_empty() {
        return Ok(());
    }
    bench.obey(&Command::FailWrite(kept)).map_err(TestCaseError::fail)?;
    let request = if known { Command::Del(n) } else { Command::Add(n) };
    bench.obey(&request).map_err(TestCaseError::fail)?;
    prop_assert_eq!(state(bench.driver.pool()), before.clone());
    // The write is repeated, so that a restart finds that state too.
    bench.pass(std::time::Duration::from_secs(1)).map_err(TestCaseError::fail)?;
    let stored = checkpoint::decode(&bench.store.content().unwrap_or_default());
    prop_assert_eq!(stored.map(|file| file.leases), Ok(before.0.leases));
    Ok(())
}

/// What each new daemon starts on, and what it says of it.
pub(super) struct Restores;

impl Watch for Restores {
    fn called(&mut self, input: &Input<'_>, seen: &Seen<'_>) -> Outcome {
        if let Input::Start(stored) = input
            && seen.pool.checkpoint() != **stored
        {
            return Err(format!("{stored:?} became {:?}", seen.pool.checkpoint()));
        }
        Ok(())
    }

    fn settled(&mut self, seen: &Seen<'_>) -> Outcome {
        let saved = seen.pool.checkpoint();
        let read = checkpoint::decode(&checkpoint::encode(&saved)).map_err(|e| e.to_string())?;
        let pool = Pool::restore(seen.pool.config().clone(), &read, seen.now);
        let again = Pool::restore(seen.pool.config().clone(), &pool.checkpoint(), seen.now);
        if pool.checkpoint() != saved || again.checkpoint() != saved {
            return Err(format!("{saved:?} became {:?}", again.checkpoint()));
        }
        Ok(())
    }
}

/// The content of the last write that took effect, and of the one under way.
#[derive(Default)]
pub(super) struct OldOrNew {
    old: Checkpoint,
    new: Option<Checkpoint>,
}

impl Watch for OldOrNew {
    fn called(&mut self, input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        match input {
            Input::Start(found) => {
                let new = self.new.take();
                if **found != self.old && Some(*found) != new.as_ref() {
                    return Err(format!("{found:?} is neither {:?} nor {new:?}", self.old));
                }
                self.old = (*found).clone();
            }
            Input::Event(Event::Persisted { .. }) => {
                self.new = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn asked(&mut self, action: &Action, seen: &Seen<'_>) -> Outcome {
        if let Action::Persist { .. } = action {
            self.new = Some(seen.pool.checkpoint());
        }
        Ok(())
    }

    fn took_effect(&mut self, answer: &Event, kept: bool) {
        if let (Event::Persisted { .. }, true, Some(new)) = (answer, kept, &self.new) {
            self.old.clone_from(new);
        }
    }
}

/// A write that ends between its temporary file and the rename.
pub(super) fn killed_before_the_rename(
    node: &(PoolConfig, u32),
    history: &[Command],
) -> Result<(), TestCaseError> {
    let bench = at_rest(node, history, Last::default()).map_err(TestCaseError::fail)?;
    let old = bench.store.content();
    let store = old.clone().map_or_else(MemoryStore::new, MemoryStore::with_content);
    store.stop_before_rename();
    let empty = Pool::new(node.0.clone(), Time::ZERO).checkpoint();
    prop_assert!(store.save(&checkpoint::encode(&empty)).is_err());
    prop_assert_eq!(store.content(), old);
    Ok(())
}
