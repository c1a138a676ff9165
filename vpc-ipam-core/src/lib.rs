//! Warm-pool and prefix-delegation IPAM for pods with AWS VPC addresses, as a pure state machine.
//!
//! This crate owns no clock, socket, thread, file, environment variable or random source. The caller
//! says what happened and when; the pool answers with what to do.

#![forbid(unsafe_code)]

pub mod addr;
mod backoff;
pub mod checkpoint;
pub mod cloud;
pub mod config;
pub mod datapath;
pub mod driver;
mod eni;
pub mod id;
pub mod plan;
pub mod pool;
mod slots;
pub mod stats;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod time;
