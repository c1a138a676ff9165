#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::{
    config::{
        AllocationMode::{Prefix as Prefixes, Secondary},
        WarmTargets,
    },
    policy::{Band, Basis},
};

mod calm;
mod shapes;
mod standing;

use shapes::{config, eni, pools};

const NOW: Time = Time::from_millis(10_000_000);

fn warm_ips(ips: u32, minimum_ips: u32) -> WarmTargets {
    WarmTargets { ips, minimum_ips, ..WarmTargets::default() }
}

fn view(enis: Vec<EniView>) -> View {
    View { enis, confirmed: true, ..View::default() }
}

fn asked(plan: &Plan) -> Vec<(Option<String>, u32)> {
    let step = |step: &Growth| match step {
        Growth::Assign { eni, count } => (Some(eni.to_string()), count.slots()),
        Growth::Create { count } => (None, count.slots()),
    };
    plan.grow.iter().map(step).collect()
}

#[test]
fn a_new_pool_asks_for_exactly_its_target() {
    let plan = plan(&view(vec![eni(0, 0, 0, Secondary)]), &config(Secondary, warm_ips(3, 0)), NOW);
    assert_eq!(asked(&plan), [(Some("eni-0".to_owned()), 3)]);
    assert_eq!(
        plan.reason.to_string(),
        "0 of 0 address(es) available, WARM_IP_TARGET 3 and MINIMUM_IP_TARGET 0 ask for more"
    );
}

#[test]
fn a_burst_is_sized_in_one_step_over_all_free_slots() {
    let mut view = view(vec![eni(0, 9, 9, Secondary), eni(1, 6, 6, Secondary)]);
    view.waiting = 7;
    let plan = plan(&view, &config(Secondary, warm_ips(2, 0)), NOW);
    assert_eq!(asked(&plan), [(Some("eni-1".to_owned()), 3), (None, 6)]);
    assert!(plan.reason.to_string().ends_with("7 pod(s) waiting"), "{}", plan.reason);
}

#[test]
fn what_is_under_way_is_not_asked_for_again() {
    let mut first = eni(0, 6, 6, Secondary);
    first.incoming = 2;
    first.busy = true;
    let mut view = view(vec![first]);
    let two = plan(&view, &config(Secondary, warm_ips(2, 0)), NOW);
    assert_eq!(two.grow, []);
    view.creating = Some(AddressCount::Secondary(9));
    let more = plan(&view, &config(Secondary, warm_ips(11, 0)), NOW);
    assert_eq!(more.grow, []);
    let still = plan(&view, &config(Secondary, warm_ips(12, 0)), NOW);
    assert_eq!(still.grow, [], "one more slot is free on the busy ENI");
    assert_eq!(still.reason.to_string(), "11 address(es) are under way");
}

#[test]
fn prefixes_are_counted_by_addresses_but_taken_whole() {
    // Three prefixes with 8 pods each: V = 24 satisfies WARM_PREFIX_TARGET 1 although none is free.
    let mut halves = eni(0, 3, 24, Prefixes);
    halves.unleased = 0;
    halves.idle.clear();
    let warm = |prefixes| WarmTargets { prefixes, ..WarmTargets::default() };
    let one = plan(&view(vec![halves.clone()]), &config(Prefixes, warm(1)), NOW);
    assert_eq!(one.grow, []);
    let two = plan(&view(vec![halves]), &config(Prefixes, warm(2)), NOW);
    assert_eq!(asked(&two), [(Some("eni-0".to_owned()), 2)]);
}

#[test]
fn a_free_eni_is_chosen_by_size_then_by_device() {
    let enis = vec![eni(0, 9, 0, Secondary), eni(1, 3, 0, Secondary), eni(2, 3, 0, Secondary)];
    let plan = plan(&view(enis), &config(Secondary, warm_ips(2, 4)), NOW);
    let [Shrink::Free { eni }] = plan.shrink.as_slice() else { panic!("{plan:?}") };
    assert_eq!(eni.as_str(), "eni-2");
    assert_eq!(plan.reason.to_string(), "eni-2 has no pod and its 3 address(es) are not needed");
}

#[test]
fn efa_trunk_primary_young_busy_and_used_enis_are_not_freed() {
    type Guard = fn(&mut EniView);
    let guards: [(&str, Guard); 5] = [
        ("primary or efa", |e| e.freeable = false),
        ("young", |e| e.since = Time::from_millis(NOW.as_millis() - 59_999)),
        ("busy", |e| e.busy = true),
        ("unsettled", |e| e.settled = false),
        ("resting", |e| e.occupied = 1),
    ];
    for (why, guard) in guards {
        let mut spare = eni(1, 0, 0, Secondary);
        let before = plan(
            &view(vec![eni(0, 4, 0, Secondary), spare.clone()]),
            &config(Secondary, warm_ips(2, 4)),
            NOW,
        );
        assert_eq!(before.shrink.len(), 1);
        guard(&mut spare);
        let plan = plan(
            &view(vec![eni(0, 4, 0, Secondary), spare]),
            &config(Secondary, warm_ips(2, 4)),
            NOW,
        );
        assert_eq!(plan.shrink, [], "{why}");
        if why == "young" {
            assert_eq!(plan.revisit, Some(Time::from_millis(NOW.as_millis() + 1)));
        }
    }
}

#[test]
fn the_warm_prefix_target_guards_enis_even_under_address_targets() {
    let targets = WarmTargets { prefixes: 2, ..warm_ips(1, 0) };
    let enis = |free| vec![eni(0, free, 0, Prefixes), eni(1, 1, 0, Prefixes)];
    let keep = plan(&view(enis(1)), &config(Prefixes, targets), NOW);
    assert!(!keep.shrink.iter().any(|s| matches!(s, Shrink::Free { .. })), "{keep:?}");
    let free = plan(&view(enis(2)), &config(Prefixes, targets), NOW);
    assert!(free.shrink.iter().any(|s| matches!(s, Shrink::Free { .. })), "{free:?}");
}

#[test]
fn the_address_target_is_kept_in_whole_prefixes_when_an_eni_goes() {
    // Six addresses are left without eni-1: enough for WARM_IP_TARGET 5, but not a whole prefix.
    let config = config(Prefixes, warm_ips(5, 0));
    let enis =
        |spare| vec![eni(0, 1, 10, Prefixes), eni(1, 1, 0, Prefixes), eni(2, spare, 0, Prefixes)];
    assert!(dispensable_eni(&plan(&view(enis(0)[..2].to_vec()), &config, NOW)).is_none());
    assert!(dispensable_eni(&plan(&view(enis(1)), &config, NOW)).is_some());
}

fn dispensable_eni(plan: &Plan) -> Option<&EniId> {
    plan.shrink.iter().find_map(|step| match step {
        Shrink::Free { eni } => Some(eni),
        Shrink::Release { .. } => None,
    })
}

#[test]
fn nothing_is_given_up_while_something_is_under_way_or_somebody_waits() {
    let config = config(Secondary, warm_ips(2, 0));
    let still = view(vec![eni(0, 9, 0, Secondary)]);
    assert_eq!(plan(&still, &config, NOW).shrink.len(), 1);
    let creating = View { creating: Some(AddressCount::Secondary(1)), ..still.clone() };
    assert_eq!(plan(&creating, &config, NOW).shrink, []);
    let waiting = View { waiting: 1, ..still.clone() };
    assert_eq!(plan(&waiting, &config, NOW).shrink, []);
    let deleting = View { deleting: true, ..still };
    assert_eq!(plan(&deleting, &config, NOW).shrink, []);
}

#[test]
fn a_new_eni_needs_an_address_even_if_it_is_to_hold_prefixes() {
    let mut config = config(Prefixes, warm_ips(1, 0));
    config.max_pods = 500;
    let later = Time::from_millis(NOW.as_millis() + 500);
    let mut view = view(vec![eni(0, 9, 144, Prefixes)]);
    assert_eq!(asked(&plan(&view, &config, NOW)), [(None, 1)]);
    view.holds.new_eni.secondary.until = Some(later);
    let held = plan(&view, &config, NOW);
    assert_eq!((held.grow, held.revisit), (vec![], Some(later)));
    view.enis.push(eni(1, 8, 128, Prefixes));
    assert_eq!(asked(&plan(&view, &config, NOW)), [(Some("eni-1".to_owned()), 1)]);
}

#[test]
fn without_ec2s_word_nothing_is_given_up() {
    let mut view = view(vec![eni(0, 9, 0, Secondary), eni(1, 9, 0, Secondary)]);
    view.confirmed = false;
    let plan = plan(&view, &config(Secondary, warm_ips(1, 0)), NOW);
    assert_eq!(plan.shrink, []);
}

#[test]
fn idle_lists_are_wanted_only_where_something_is_too_much() {
    let config = config(Secondary, warm_ips(2, 0));
    assert!(!wants_idle_lists(&view(vec![eni(0, 4, 2, Secondary)]), &config));
    assert!(wants_idle_lists(&view(vec![eni(0, 5, 2, Secondary)]), &config));
}

fn with_band(mut view: View, low: u32, fill: u32, high: u32) -> View {
    view.band = Some(Band { low, fill, high, basis: Basis::Other("the test says so") });
    view
}

#[test]
fn a_band_rules_over_every_target() {
    let config = config(Secondary, warm_ips(9, 20));
    let grows = with_band(view(vec![eni(0, 6, 4, Secondary)]), 3, 5, 8);
    let low = plan(&grows, &config, NOW);
    assert_eq!(asked(&low), [(Some("eni-0".to_owned()), 3)]);
    assert_eq!(
        low.reason.to_string(),
        "2 address(es) free, 3 to 8 should be free: the test says so"
    );
    let calm = with_band(view(vec![eni(0, 7, 4, Secondary)]), 3, 5, 8);
    let nothing = plan(&calm, &config, NOW);
    assert_eq!((nothing.grow, nothing.shrink), (vec![], vec![]));
    assert_eq!(
        nothing.reason.to_string(),
        "3 of 7 address(es) free, 3 to 8 should be free: the test says so"
    );
    let shrinks = with_band(view(vec![eni(0, 9, 0, Secondary)]), 3, 5, 8);
    let high = plan(&shrinks, &config, NOW);
    let [Shrink::Release { cidrs, .. }] = high.shrink.as_slice() else { panic!("{high:?}") };
    assert_eq!(cidrs.len(), 4);
    assert_eq!(
        high.reason.to_string(),
        "9 address(es) available, 4 address(es) too many, 3 to 8 should be free: the test says so"
    );
}

#[test]
fn a_band_that_is_upside_down_keeps_its_lower_end() {
    let config = config(Secondary, warm_ips(1, 0));
    let low = plan(&with_band(view(vec![eni(0, 3, 0, Secondary)]), 5, 1, 0), &config, NOW);
    assert_eq!(asked(&low), [(Some("eni-0".to_owned()), 2)]);
    let enough = plan(&with_band(view(vec![eni(0, 5, 0, Secondary)]), 5, 1, 0), &config, NOW);
    assert_eq!((enough.grow, enough.shrink), (vec![], vec![]));
}

#[test]
fn resting_addresses_are_not_free_for_a_band() {
    let mut resting = eni(0, 8, 4, Secondary);
    resting.cooling = 3;
    resting.occupied += 3;
    let low =
        plan(&with_band(view(vec![resting]), 2, 2, 4), &config(Secondary, warm_ips(1, 0)), NOW);
    assert_eq!(asked(&low), [(Some("eni-0".to_owned()), 1)]);
}

#[test]
fn a_band_frees_an_eni_only_if_the_others_can_hold_all_that_it_allows() {
    let enis = || vec![eni(0, 9, 3, Secondary), eni(1, 3, 0, Secondary)];
    let config = config(Secondary, warm_ips(1, 0));
    // Three pods and eight free addresses do not fit into one ENI of nine.
    let stays = plan(&with_band(view(enis()), 1, 2, 8), &config, NOW);
    assert!(!stays.shrink.iter().any(|s| matches!(s, Shrink::Free { .. })), "{stays:?}");
    let goes = plan(&with_band(view(enis()), 1, 2, 6), &config, NOW);
    assert!(goes.shrink.iter().any(|s| matches!(s, Shrink::Free { .. })), "{goes:?}");
}
