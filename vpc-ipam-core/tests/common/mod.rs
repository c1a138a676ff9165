//! Strategies that several test programs share.

pub(crate) mod scripts;
