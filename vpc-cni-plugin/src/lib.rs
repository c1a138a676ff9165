//! CNI plugin that gives Kubernetes pods VPC addresses, and its contract with the daemon.
//!
//! - [`protocol`]: the CNI protocol, parsing and printing only.
//! - [`rpc`]: gRPC messages, clients and (feature `server`) server traits.

#![forbid(unsafe_code)]

pub mod protocol;
pub mod rpc;
