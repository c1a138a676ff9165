//! The invariants of the reference's data model and pool, one property each.
//!
//! Most are watched over random histories of a node on a bench (`common::bench`): after every call of the
//! pool a watch that knows one invariant looks at what changed. The others are properties of the planner,
//! or of the simulated node with the model of EC2.
//!
//! |  # | What must hold | Test |
//! |---:|---|---|
//! |  1 | no two assigned addresses share an IP; each lies inside exactly one entry | `state::no_two_assigned_addresses_share_an_ip_and_each_lies_in_exactly_one_entry` |
//! |  2 | a key owns at most one address | `state::a_key_owns_at_most_one_address` |
//! |  3 | no primary IP of an ENI is in any entry or assignment | `state::no_primary_ip_of_an_eni_is_in_any_entry_or_assignment` |
//! |  4 | counters are sums of what they count | `state::counters_are_the_sums_of_what_they_count` |
//! |  5 | `0 <= A <= T`, `V = T - A`, `C <= V` | `state::assigned_and_cooling_addresses_are_never_more_than_there_are` |
//! |  6 | the checkpoint is the set of assigned addresses after each success | `state::the_state_file_names_the_assigned_addresses_after_every_success` |
//! |  7 | gauges equal the state sums | `state::the_statistics_that_gauges_are_made_of_are_sums_over_the_enis` |
//! |  8 | ADD n times: the same answer, no counter, no write | `operations::an_add_repeated_returns_the_same_answer_and_changes_nothing` |
//! |  9 | ADD then DEL restores counters; no reuse during the cooldown, reuse after it | `operations::an_add_and_its_del_restore_the_counters`, `operations::an_address_is_not_given_during_its_cooldown`, `operations::an_address_is_given_again_after_its_cooldown` |
//! | 10 | a failed write leaves the state as before | `operations::a_failed_write_leaves_the_state_as_before` |
//! | 11 | DEL of an unknown key changes nothing; the second DEL is one | `operations::a_del_of_an_unknown_key_changes_nothing`, `operations::a_second_del_is_of_an_unknown_key` |
//! | 12 | ADD takes no address of the other mode; fails only if all eligible ones are assigned or cooling | `operations::an_add_takes_no_address_of_the_other_mode`, `operations::an_add_fails_only_if_every_eligible_address_is_assigned_or_cooling` |
//! | 13 | the lowest absent address of an entry without recycled ones | `operations::the_lowest_address_never_used_is_chosen` |
//! | 14 | a used CIDR or ENI is not removed; forced removals are counted | `operations::a_used_cidr_or_eni_is_never_removed_and_its_loss_is_counted`: nothing is removed by force here, its pods are orphans until their DEL |
//! | 15 | restore(checkpoint(S)) = S, idempotent, invents nothing | `operations::a_restart_restores_exactly_the_assignments_of_the_state_file` |
//! | 16 | a crash leaves the old file or the new one | `operations::a_crash_in_the_middle_of_a_write_leaves_the_old_file_or_the_new_one` |
//! | 17 | never too low and too high at once | `planning::never_too_low_and_too_high_at_once`, `planning::a_shortage_implies_no_surplus_by_the_formulas`, `planning::the_pool_is_low_exactly_when_the_formulas_say_so`, `planning::what_one_eni_releases_is_exactly_the_surplus_of_the_formulas` |
//! | 18 | shrinking never makes the pool low; a fixed point | `planning::shrinking_never_makes_the_pool_low_and_keeps_the_targets`, `planning::growing_and_shrinking_reach_a_fixed_point`, `histories::a_pool_at_rest_meets_its_targets` |
//! | 19 | ENI and slot limits | `planning::no_plan_passes_a_limit`, `pool::no_growth_passes_the_limits_of_enis_and_slots` |
//! | 20 | which ENIs may be freed, and what is left | `pool::a_freed_eni_is_never_primary_young_cooling_or_in_use_and_the_targets_stay_met` |
//! | 21 | (replaced: growth waits for no tick, it is bounded by a budget of calls) | `calls::no_window_holds_more_calls_than_the_budget`, `calls::a_level_keeps_from_what_it_says`; the gap between releases: `pool::releases_keep_their_distance` |
//! | 22 | no EC2 mutation while draining or without provisioning | `pool::a_draining_node_changes_nothing_in_ec2`, `pool::a_node_without_provisioning_changes_nothing_in_ec2` |
//! | 23 | `T >= maxPods`: no growth | `planning::no_plan_grows_past_max_pods`, `pool::a_pool_with_addresses_for_all_its_pods_does_not_grow` |
//! | 24 | a failure of EC2 or IMDS never removes anything | `reconcile::a_failed_read_never_removes_anything` |
//! | 25 | a CIDR is removed only if EC2 was asked and did not list it, or it was given up | `reconcile::a_cidr_is_removed_only_if_ec2_did_not_list_it_or_it_was_given_up` |
//! | 26 | what was released is not taken back within 60 s | `reconcile::a_released_cidr_is_not_taken_back_within_a_minute` |
//! | 27 | nothing to reconcile: nothing happens | `reconcile::an_equal_view_changes_nothing`, `reconcile::a_node_at_rest_stays_as_it_is` |
//! | 28 | multi-NIC ADD: one address per card, or none | `node::tests::every` of the crate: `one_address_per_managed_card_in_card_order_and_all_files_say_so`, `a_card_without_an_address_fails_the_add_and_the_others_give_back`, `a_crash_between_two_cards_is_mended_by_a_repeated_add_or_by_the_del`; `node::tests::release` |
//!
//! Beside them, `histories` plays whole lives of a simulated node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod histories;
mod operations;
mod planning;
mod pool;
mod reconcile;
mod state;

use common::bench::{Command, Watch, play};
use proptest::prelude::*;
use vpc_ipam_core::config::PoolConfig;

/// `PROPTEST_CASES` cases, or 256.
fn cases() -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Plays a history before `watch`.
fn holds<W: Watch>(
    (config, subnet): &(PoolConfig, u32),
    commands: &[Command],
    watch: W,
) -> Result<(), TestCaseError> {
    play(config, *subnet, commands, watch).map(|_| ()).map_err(TestCaseError::fail)
}
