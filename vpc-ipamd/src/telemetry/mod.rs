//! What the daemon says about itself: log lines and counts.

mod counters;
pub mod log;
mod timestamp;

pub(crate) use self::{
    counters::{Counter, Counters},
    timestamp::rfc3339,
};
