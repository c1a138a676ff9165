//! The driver and the pool that ship, beside a model that is too simple to be wrong.
//!
//! Both are told the same: pods come, repeat themselves and go; time passes; the state file, the host and
//! the cloud fail, answer late, in another order or twice; the cloud gives less than asked, loses what
//! it gave, shows what others have added; the daemon is reconfigured, drained or killed. After every call
//! they must agree on who has which address, on every count, on the answers, and on what the state file
//! says. What the pool decides by itself, growing and giving back, is checked against what it may do.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p vpc-ipam-core --test state_machine` is a thorough run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod allowed;
mod cloud_side;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod model;
mod requests;
mod twin;
mod writes;

use common::bench::{Command, commands, nodes, play};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use twin::Twin;
use vpc_ipam_core::config::PoolConfig;

fn run(config: &PoolConfig, subnet: u32, commands: &[Command]) -> Result<Vec<String>, String> {
    play(config, subnet, commands, Twin::new(config)).map(|twin| twin.log)
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_pool_does_what_the_model_says((config, subnet) in nodes(), commands in commands()) {
        let outcome = run(&config, subnet, &commands);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_replayed_gives_the_same_answers_and_actions(
        (config, subnet) in nodes(),
        commands in commands(),
    ) {
        prop_assert_eq!(run(&config, subnet, &commands), run(&config, subnet, &commands));
    }
}

/// A model that never sees a case agrees with everything.
#[test]
fn the_histories_come_by_everything_that_can_happen() {
    let mut runner = TestRunner::deterministic();
    let mut log = Vec::new();
    for _ in 0..200 {
        let history = (nodes(), commands()).new_tree(&mut runner).unwrap();
        let ((config, subnet), commands) = history.current();
        log.extend(run(&config, subnet, &commands).unwrap());
    }
    for what in [
        "AssignAddresses",
        "CreateEni",
        "DeleteEni",
        "Prefixes(",
        "Secondary(",
        "TearDownEni",
        "UnassignAddresses",
        "Ok(Assignment",
        "eni: None",
        "this sandbox owns",
        "none within",
        "NotDurable",
        "Released",
    ] {
        let count = log.iter().filter(|line| line.contains(what)).count();
        assert!(count > 2, "{what} came {count} times in {} lines", log.len());
    }
}
