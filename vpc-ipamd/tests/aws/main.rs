//! The daemon on the AWS SDK, against the emulator in the same process, in virtual time: what becomes
//! of a node when EC2, instance metadata or the daemon itself fails.
//!
//! Each script prints one line: what was done to the node, the calls that EC2 saw from then on, and
//! the time until all was well again. `docs/faults.md` is the table of all scripts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod addresses;
mod creation;
mod discovery;
mod lost_answers;
mod metadata;
mod outages;
mod permissions;
mod release;
mod restarts;
mod story;
// Not every part is used by a script.
#[allow(dead_code)]
mod support;
mod table;
mod throttling;
mod upkeep;
