//! Stateful fakes of the ports, a model of EC2, a simulation of a node, loads for it, and invariant checkers.
//!
//! Everything here is deterministic and has no clock: what happens next follows from the seed.

pub mod check;
mod cloud;
mod datapath;
pub mod ec2;
pub mod script;
pub mod sim;
mod store;
pub mod workload;

pub use self::{
    cloud::{ModelCloud, Reach},
    datapath::FakeDatapath,
    store::MemoryStore,
};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test that panics while it holds a lock has failed already; the others may go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
