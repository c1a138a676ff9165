//! Invariants 8 to 16: what ADD, DEL, writes and restarts do, and what they leave alone.

mod adds;
mod dels;
mod files;
mod picks;

use proptest::prelude::*;

use crate::{
    cases,
    common::bench::{commands, nodes},
    holds,
};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_add_repeated_returns_the_same_answer_and_changes_nothing(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, adds::Repeats::default())?;
    }

    #[test]
    fn an_add_and_its_del_restore_the_counters(
        node in nodes(),
        history in commands(),
        told in any::<bool>(),
    ) {
        dels::there_and_back(&node, &history, told)?;
    }

    #[test]
    fn an_address_is_not_given_during_its_cooldown(node in nodes(), history in commands()) {
        holds(&node, &history, picks::Rests::default())?;
    }

    #[test]
    fn an_address_is_given_again_after_its_cooldown(
        slots in 1..6u32,
        prefix in any::<bool>(),
        gone in 0..96u32,
        cooldown_s in 0..120u64,
    ) {
        picks::given_again(slots, prefix, gone, cooldown_s)?;
    }

    #[test]
    fn a_failed_write_leaves_the_state_as_before(
        node in nodes(),
        history in commands(),
        n in 0..20u32,
        kept in any::<bool>(),
    ) {
        files::failed_write(&node, &history, n, kept)?;
    }

    #[test]
    fn a_del_of_an_unknown_key_changes_nothing(node in nodes(), history in commands()) {
        holds(&node, &history, dels::Unknown::default())?;
    }

    #[test]
    fn a_second_del_is_of_an_unknown_key(node in nodes(), history in commands()) {
        dels::twice(&node, &history)?;
    }

    #[test]
    fn an_add_takes_no_address_of_the_other_mode(node in nodes(), history in commands()) {
        holds(&node, &history, picks::OwnMode::default())?;
    }

    #[test]
    fn an_add_fails_only_if_every_eligible_address_is_assigned_or_cooling(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, adds::Refusals)?;
    }

    #[test]
    fn the_lowest_address_never_used_is_chosen(node in nodes(), history in commands()) {
        holds(&node, &history, picks::Lowest::default())?;
    }

    #[test]
    fn a_used_cidr_or_eni_is_never_removed_and_its_loss_is_counted(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, dels::Kept::default())?;
    }

    #[test]
    fn a_restart_restores_exactly_the_assignments_of_the_state_file(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, files::Restores)?;
    }

    #[test]
    fn a_crash_in_the_middle_of_a_write_leaves_the_old_file_or_the_new_one(
        node in nodes(),
        history in commands(),
    ) {
        holds(&node, &history, files::OldOrNew::default())?;
        files::killed_before_the_rename(&node, &history)?;
    }
}
