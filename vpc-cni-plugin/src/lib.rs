//! CNI plugin that gives Kubernetes pods VPC addresses, and its contract with the daemon.
//!
//! - [`rpc`]: gRPC messages, clients and (feature `server`) server traits.

#![forbid(unsafe_code)]

pub mod rpc;
