#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use super::*;
use crate::{
    config::{AllocationMode, WarmTargets},
    testkit::{
        Reach,
        ec2::{Ec2Action, Ec2Error},
        sim::{InFlight, Moment},
        workload::{Span, Workload},
    },
};

fn seconds(n: u64) -> Step {
    Step::Pass(Duration::from_secs(n))
}

fn history() -> Script {
    let throttled = |action| Step::FailCloud { action, error: Ec2Error::throttled(), times: 2 };
    let targets = WarmTargets { ips: 2, ..WarmTargets::default() };
    let mut config = SimConfig::with("t3.small", AllocationMode::Secondary, targets, 11).unwrap();
    config.pool.remember = true;
    Script::new(
        config,
        vec![
            Step::Burst(4),
            seconds(12),
            throttled(Ec2Action::AssignPrivateIpAddresses),
            throttled(Ec2Action::CreateNetworkInterface),
            Step::Add(5),
            seconds(1),
            Step::FailStore { times: 1, keeps_content: true },
            Step::Release(1),
            seconds(40),
            Step::Reach(Reach::Metadata),
            Step::ReleaseAll,
            seconds(30),
            Step::Reach(Reach::All),
            Step::Add(7),
            seconds(200),
        ],
    )
}

#[test]
fn a_script_ends_as_its_steps_say_and_twice_the_same() {
    let outcome = replays_identically(&history()).unwrap().ok().unwrap();
    assert_eq!(outcome.running.len(), 1);
    assert_eq!(outcome.end.as_millis(), 283_000);
    assert!(outcome.failures.throttled > 0);
    assert!(!outcome.actions.is_empty() && outcome.moments > 100, "{}", outcome.moments);
}

#[test]
fn a_difference_between_two_plays_is_found() {
    let mut other = history();
    other.config.seed += 1;
    let difference = Difference::between(&run(&history()), &run(&other)).unwrap();
    assert!(difference.to_string().contains("action"), "{difference}");
}

#[test]
fn the_daemon_dies_at_each_moment_and_nothing_is_lost() {
    for in_flight in [InFlight::Done, InFlight::Lost, InFlight::Late] {
        let how = Everywhere { in_flight, ..Everywhere::default() };
        let survey = crash_everywhere(&history(), &how).unwrap();
        assert_eq!(survey.replays, survey.moments);
        assert_eq!(survey.kills.values().sum::<u64>(), survey.moments);
        for moment in [
            Moment::BeforeRename,
            Moment::Decided,
            Moment::Before("CreateEni"),
            Moment::After("CreateEni"),
            Moment::After("Persist"),
            Moment::After("UnassignAddresses"),
        ] {
            assert!(survey.kills.contains_key(&moment), "{moment} is missing in {survey:?}");
        }
    }
}

#[test]
fn a_daemon_that_dies_while_it_recovers_is_no_worse() {
    let how = Everywhere { every: 3, again_after: Some(4), ..Everywhere::default() };
    let survey = crash_everywhere(&history(), &how).unwrap();
    assert!(survey.kills.values().sum::<u64>() > survey.replays, "{survey:?}");
}

#[test]
fn a_load_becomes_a_script() {
    let duration = Duration::from_secs(600);
    let span = Span { seed: 1, node: 0, nodes: 1, duration, pods_max: 9 };
    let load = Workload::Steady.events(&span);
    let script = Script::from_load(SimConfig::new("t3.small", 1).unwrap(), &load);
    let starts = load.iter().filter(|e| e.change == PodChange::Starts).count();
    let adds = script.steps.iter().filter(|s| matches!(s, Step::Add(_))).count();
    assert!(adds == starts && starts > 5);
    let outcome = run(&script).ok().unwrap();
    assert_eq!(outcome.end, load.last().unwrap().at);
}
