//! The worked tables of the warm targets: where a node of this size, with these settings and so many
//! pods, comes to rest.
//!
//! Each row is reached twice: on paper, by carrying out [`plan`](vpc_ipam_core::plan::plan) until it has
//! nothing more to do, and in a simulation of the whole node. Where a published table and the formulas
//! of the reference disagree, the row follows the formulas and says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod examples;
mod node;
mod paper;
mod rows;

use rows::{Row, prefix_rows, secondary_rows};

/// What a node looks like at rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shape {
    /// Secondary addresses or prefixes of each ENI, by device.
    pub(crate) enis: Vec<u64>,
    /// Addresses.
    pub(crate) total: u64,
    /// Of these, without a pod.
    pub(crate) available: u64,
    /// Secondary addresses or prefixes without a pod.
    pub(crate) free: u64,
}

fn check(rows: &[Row], reach: impl Fn(&Row) -> Shape) {
    for row in rows {
        assert_eq!(reach(row), row.shape(), "{row:?}");
    }
}

#[test]
fn secondary_mode_comes_to_rest_as_the_table_says_on_paper() {
    check(&secondary_rows(), paper::at_rest);
}

#[test]
fn secondary_mode_comes_to_rest_as_the_table_says_in_a_simulation() {
    check(&secondary_rows(), node::at_rest);
}

#[test]
fn prefix_mode_comes_to_rest_as_the_table_says_on_paper() {
    check(&prefix_rows(), paper::at_rest);
}

#[test]
fn prefix_mode_comes_to_rest_as_the_table_says_in_a_simulation() {
    check(&prefix_rows(), node::at_rest);
}
