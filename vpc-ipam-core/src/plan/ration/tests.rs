#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    config::{AllocationMode, PoolConfig, WarmTargets},
    plan::{EniView, plan},
};

const NOW: Time = Time::from_millis(10_000_000);
const LATER: Time = Time::from_millis(10_007_000);

fn config(ips: u32) -> PoolConfig {
    let targets = WarmTargets { ips, ..WarmTargets::default() };
    PoolConfig::new(AllocationMode::Secondary, targets, 3, 9).unwrap()
}

/// Two ENIs, eight of nine slots taken by addresses with a pod.
fn view(waiting: u64) -> View {
    let eni = |device: u32| {
        let mut eni = EniView::new(format!("eni-{device}").parse().unwrap(), device);
        (eni.taken, eni.entries, eni.total) = (8, 8, 8);
        (eni.assigned, eni.occupied) = (8, 8);
        eni
    };
    View { enis: vec![eni(0), eni(1)], waiting, confirmed: true, ..View::default() }
}

/// The same with two idle addresses too many.
fn rich() -> View {
    let mut view = view(0);
    for eni in &mut view.enis {
        (eni.assigned, eni.occupied, eni.unleased) = (6, 6, 2);
        eni.idle = (0..2).map(|n| format!("10.0.{}.{n}/32", eni.device).parse().unwrap()).collect();
    }
    view
}

fn none() -> Allowance {
    Allowance { calls: 0, next: Some(LATER) }
}

#[test]
fn without_a_call_growth_waits_and_says_until_when() {
    let mut view = view(1);
    assert_eq!(plan(&view, &config(1), NOW).grow.len(), 2);
    view.calls.assign = Allowance { calls: 1, next: Some(LATER) };
    let one = plan(&view, &config(1), NOW);
    assert_eq!((one.grow.len(), one.revisit), (1, Some(LATER)));
    view.calls.assign = none();
    let nothing = plan(&view, &config(1), NOW);
    assert_eq!((nothing.grow.len(), nothing.revisit), (0, Some(LATER)));
    assert_eq!(
        nothing.reason.to_string(),
        format!(
            "the node has made as many EC2 calls as it may; the next one for adding addresses to \
             an ENI follows at {LATER}"
        )
    );
}

#[test]
fn what_one_kind_of_call_cannot_do_does_not_keep_the_other_from_it() {
    let mut view = view(4);
    view.calls.assign = none();
    let created = plan(&view, &config(1), NOW);
    assert!(matches!(created.grow.as_slice(), [Growth::Create { .. }]), "{created:?}");
    assert!(matches!(created.reason, Reason::Growing(_)), "{created:?}");
    view.calls.create = none();
    assert_eq!(plan(&view, &config(1), NOW).grow, []);
}

#[test]
fn releases_wait_for_calls() {
    let mut view = rich();
    assert_eq!(plan(&view, &config(1), NOW).shrink.len(), 2);
    view.calls.unassign = Allowance { calls: 1, next: Some(LATER) };
    let one = plan(&view, &config(1), NOW);
    assert_eq!((one.shrink.len(), one.revisit), (1, Some(LATER)));
    view.calls.unassign = none();
    assert_eq!(plan(&view, &config(1), NOW).shrink, []);
}

#[test]
fn under_throttling_releases_go_first_and_then_growth_that_no_pod_waits_for() {
    use CallLevel::{NoMutations, NoReleases, Normal};
    for (level, gives, warms, serves) in
        [(Normal, 2, 2, 3), (NoReleases, 0, 2, 3), (NoMutations, 0, 0, 2)]
    {
        let at = |mut view: View| {
            view.calls.level = level;
            view.calls.throttled = 3;
            view.calls.relief = Some(LATER);
            view
        };
        let rich = plan(&at(rich()), &config(1), NOW);
        assert_eq!(rich.shrink.len(), gives, "{level:?}");
        let warm = plan(&at(view(0)), &config(2), NOW);
        assert_eq!(warm.grow.len(), warms, "{level:?}");
        assert_eq!(plan(&at(view(1)), &config(2), NOW).grow.len(), serves, "{level:?}");
        if level == NoMutations {
            assert_eq!(warm.revisit, Some(LATER));
            assert_eq!(
                warm.reason.to_string(),
                format!(
                    "EC2 has throttled 3 call(s), so nothing is requested or given back unless a \
                     pod waits, at least until {LATER}"
                )
            );
        }
        if level == NoReleases {
            assert_eq!(
                rich.reason.to_string(),
                format!(
                    "EC2 has throttled 3 call(s), so nothing is given back, at least until {LATER}"
                )
            );
        }
    }
}
