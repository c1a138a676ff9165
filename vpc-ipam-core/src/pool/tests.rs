#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod abandon;
mod bench;
mod calls;
mod cards;
mod classes;
mod cooldown;
mod doubt;
mod fallback;
mod gates;
mod growth;
mod host;
mod ipv6;
mod memory;
mod policy;
mod reconcile;
mod restore;
mod retired;
mod shrink;
mod stale_views;
mod two_phase;
mod waiting;
