//! CNI plugin that gives Kubernetes pods VPC addresses, and its contract with the daemon.
//!
//! - [`protocol`]: the CNI protocol, parsing and printing only.
//! - [`rpc`]: gRPC messages, clients and (feature `server`) server traits.
//! - [`command`]: ADD, DEL and VERSION on the ports [`backend::Backend`] and [`kernel::PodDatapath`]
//!   (feature `plugin`).
//! - [`client`] and [`kernel`]: the real ones (feature `plugin`).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "plugin")]
pub mod backend;
#[cfg(feature = "plugin")]
pub mod client;
#[cfg(feature = "plugin")]
pub mod command;
#[cfg(feature = "plugin")]
pub mod kernel;
#[cfg(feature = "plugin")]
mod lock;
#[cfg(feature = "plugin")]
pub mod log;
pub mod protocol;
pub mod rpc;
