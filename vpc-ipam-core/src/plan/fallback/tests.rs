#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{
    cloud::AddressCount,
    config::WarmTargets,
    plan::{EniView, plan},
};

const NOW: Time = Time::from_millis(10_000_000);

fn config(ips: u32, max_enis: u32) -> PoolConfig {
    let targets = WarmTargets { ips, ..WarmTargets::default() };
    PoolConfig::new(AllocationMode::Prefix, targets, max_enis, 9).unwrap()
}

/// An ENI with `idle` single addresses without a pod and `pods` with one.
fn eni(device: u32, idle: u32, pods: u32) -> EniView {
    let mut eni = EniView::new(format!("eni-{device}").parse().unwrap(), device);
    eni.taken = idle + pods;
    eni.singles = u64::from(idle + pods);
    eni.singles_assigned = u64::from(pods);
    eni.occupied = u64::from(pods);
    eni.idle_singles =
        (0..idle).map(|n| format!("10.{device}.0.{n}/32").parse().unwrap()).collect();
    eni
}

fn view(enis: Vec<EniView>) -> View {
    View { enis, confirmed: true, ..View::default() }
}

fn without_blocks(view: &mut View) {
    let until = Some(Time::from_millis(NOW.as_millis() + 1000));
    view.holds.new_eni.prefixes.until = until;
    for eni in &mut view.enis {
        eni.holds.prefixes.until = until;
        eni.holds.prefixes.ask_max = Some(1);
    }
}

fn released(plan: &Plan) -> usize {
    let count = |step: &Shrink| match step {
        Shrink::Release { cidrs, .. } => cidrs.len(),
        Shrink::Free { eni } => panic!("{eni} goes"),
    };
    plan.shrink.iter().map(count).sum()
}

#[test]
fn room_is_made_with_what_no_waiting_pod_is_about_to_get() {
    let mut view = view(vec![eni(0, 3, 6)]);
    view.waiting = 2;
    let plan = plan(&view, &config(40, 1), NOW);
    assert_eq!((plan.grow.len(), released(&plan)), (0, 1), "{plan:?}");
    view.waiting = 3;
    let plan = super::super::plan(&view, &config(40, 1), NOW);
    assert_eq!((plan.grow.len(), released(&plan)), (0, 0), "{plan:?}");
}

#[test]
fn a_probe_takes_one_address_and_only_where_there_is_no_other_slot() {
    let mut full = view(vec![eni(0, 3, 6)]);
    full.enis.iter_mut().for_each(|eni| eni.holds.prefixes.ask_max = Some(1));
    assert_eq!(released(&plan(&full, &config(40, 1), NOW)), 1);
    full.creating = Some(AddressCount::Secondary(8));
    assert_eq!(released(&plan(&full, &config(40, 2), NOW)), 0, "an ENI with a free slot is coming");
    full.creating = None;
    let elsewhere = plan(&full, &config(40, 2), NOW);
    assert_eq!(released(&elsewhere), 0);
    assert_eq!(elsewhere.grow, [Growth::Create { count: AddressCount::Prefixes(3) }]);
}

#[test]
fn a_probe_that_is_under_way_takes_no_second_address() {
    let mut node = view(vec![eni(0, 9, 0), eni(1, 8, 0)]);
    node.enis.iter_mut().for_each(|eni| eni.holds.prefixes.ask_max = Some(1));
    let ask = plan(&node, &config(40, 2), NOW);
    assert_eq!((ask.grow.len(), released(&ask)), (1, 0), "{ask:?}");
    // It is asked for; it waits for something else to end; its slot is being made.
    for (incoming, leaving, taken) in [(1, 0, 8), (0, 0, 8), (0, 1, 9)] {
        let other = node.enis.last_mut().unwrap();
        (other.busy, other.incoming, other.leaving, other.taken) = (true, incoming, leaving, taken);
        let wait = plan(&node, &config(40, 2), NOW);
        assert_eq!((wait.grow.len(), released(&wait)), (0, 0), "{incoming} {leaving} {wait:?}");
    }
    // What is under way takes the last slot.
    let other = node.enis.last_mut().unwrap();
    (other.incoming, other.incoming_singles, other.leaving, other.taken) = (1, 1, 0, 8);
    assert_eq!(released(&plan(&node, &config(40, 2), NOW)), 1);
}

#[test]
fn missing_addresses_come_from_existing_enis_first_and_then_with_a_new_one() {
    let mut view = view(vec![eni(0, 0, 7)]);
    view.waiting = 1;
    without_blocks(&mut view);
    let plan = plan(&view, &config(3, 3), NOW);
    let eni = view.enis.first().unwrap().id.clone();
    assert_eq!(
        plan.grow,
        [
            Growth::Assign { eni, count: AddressCount::Secondary(2) },
            Growth::Create { count: AddressCount::Secondary(2) },
        ]
    );
    assert_eq!(
        plan.reason.to_string(),
        format!(
            "the subnet has no free /28 block, so 7 single address(es) are used meanwhile, 7 of \
             them by pods, and 4 more are coming; the next attempt to get a prefix follows at {}; 0 \
             of 0 address(es) available, WARM_IP_TARGET 3 and MINIMUM_IP_TARGET 0 ask for more, 1 \
             pod(s) waiting",
            NOW + std::time::Duration::from_secs(1)
        )
    );
}

#[test]
fn pods_on_single_addresses_count_against_the_pods_of_the_node() {
    let mut config = config(10, 3);
    config.max_pods = 20;
    let mut node = eni(0, 0, 7);
    (node.taken, node.entries, node.total, node.assigned) = (8, 1, 16, 12);
    let full = view(vec![node]);
    assert_eq!(plan(&full, &config, NOW).grow, [], "16 and 7 addresses cover 20 pods");
    config.max_pods = 24;
    assert_eq!(plan(&full, &config, NOW).grow.len(), 1);
}

#[test]
fn nothing_is_given_up_for_prefixes_on_the_word_of_metadata() {
    let mut view = view(vec![eni(0, 9, 0)]);
    view.confirmed = false;
    assert_eq!(released(&plan(&view, &config(40, 1), NOW)), 0);
}
