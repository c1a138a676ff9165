//! A VPC on one machine: private namespaces, a router with AWS's source check, and probes.
//!
//! Needs no root, no installed program and no network: everything happens in namespaces that die
//! with the process. [`sandbox`] makes them, [`harness`] runs test cases in them.

pub mod fabric;
pub mod harness;
pub mod ns;
pub mod probe;
pub mod sandbox;
