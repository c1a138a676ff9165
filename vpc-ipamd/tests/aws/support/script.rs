//! A script: what is done to a node, what becomes of it, and what that may cost.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use vpc_ipam_core::testkit::ec2::Ec2Action;

use super::scene::{Scene, in_virtual_time};
use crate::table;

/// How long a node that has converged is watched: nothing may change any more.
const STEADY: Duration = Duration::from_secs(600);

/// What is done to a node, and what it may cost until all is well again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// One word, for the log.
    pub(crate) name: &'static str,
    /// What goes wrong.
    pub(crate) fault: &'static str,
    /// What the node does about it.
    pub(crate) effect: &'static str,
    /// The most calls that EC2 sees, by action; none of any other action.
    pub(crate) calls: &'static [(Ec2Action, u64)],
    /// Seconds until all is well, counted from the beginning of the fault.
    pub(crate) within_s: u64,
}

impl Script {
    /// Plays the script. The story begins with a node that is not started, [marks](Scene::mark) where
    /// the trouble begins, and ends when nothing is left to be done but to wait.
    ///
    /// Then the node comes to rest with all its pods served, with nothing leaked and nothing wrong, and
    /// changes nothing in EC2 for ten minutes.
    pub(crate) fn play(&self, scene: impl FnOnce() -> Scene, story: impl AsyncFnOnce(&mut Scene)) {
        assert!(
            table::scripts().any(|script| script.name == self.name),
            "{} is missing in the table",
            self.name
        );
        in_virtual_time(async {
            let mut scene = scene();
            story(&mut scene).await;
            scene.served().await;
            let patience = Duration::from_secs(2 * self.within_s + 60);
            let took = scene.settle(patience).await;
            let calls = scene.calls();
            scene.pass(STEADY).await;
            let later = scene.calls().mutations() - calls.mutations();
            assert_eq!(later, 0, "{}: the node is not at rest: {}", self.name, scene.calls());
            assert_eq!(scene.at_rest().await.and(scene.audit().await), Ok(()), "{}", self.name);
            // Past the test harness, which shows what is printed by tests that fail only.
            let line = format!(
                "fault {}: {} EC2 calls ({calls}), converged after {:.1} s (virtual)\n",
                self.name,
                calls.total(),
                took.as_secs_f64()
            );
            let _ = std::io::stderr().write_all(line.as_bytes());
            for (action, n) in calls.iter() {
                let most = self.calls.iter().find(|(a, _)| *a == action).map_or(0, |(_, n)| *n);
                assert!(n <= most, "{}: {n} calls of {action}, at most {most} expected", self.name);
            }
            let within = Duration::from_secs(self.within_s);
            assert!(took <= within, "{}: {took:?}, expected within {within:?}", self.name);
        });
    }

    /// A row of the table in the documentation.
    pub(crate) fn row(&self) -> String {
        let mut calls = String::new();
        for (action, n) in self.calls {
            let comma = if calls.is_empty() { "" } else { ", " };
            let _ = write!(calls, "{comma}{action} {n}");
        }
        let Self { name, fault, effect, within_s, .. } = self;
        format!("| `{name}` | {fault} | {effect} | {calls} | {within_s} s |")
    }
}
