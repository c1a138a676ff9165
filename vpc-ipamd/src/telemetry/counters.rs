//! Counts since the start of the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Counter {
    AddRequests,
    /// By `reason`.
    DelRequests,
    /// By `fn`.
    Errors,
    /// Addresses of pods that had gone without a DEL.
    Reclaimed,
    /// ADDs whose caller had gone when the address was ready.
    Undelivered,
}

/// Counts by label value. Label values are literals, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<(Counter, &'static str), u64>>);

impl Counters {
    pub(crate) fn add(&self, counter: Counter, label: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((counter, label)).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<(Counter, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
