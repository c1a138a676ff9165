//! Node daemon of the VPC CNI: keeps a warm pool of VPC addresses and serves the plugin.
//!
//! [`Daemon`] runs the core's pool on any cloud, kernel and store behind the core's ports. With
//! feature `aws` (default) the binary `aws-k8s-agent` runs it on EC2, Linux and a state file.
//!
//! What it serves: gRPC to the plugin on a unix socket, introspection and `/healthz` on a local
//! port, Prometheus metrics on port 61678.

#![forbid(unsafe_code)]

#[cfg(feature = "aws")]
pub mod aws;
mod clock;
mod cloud;
mod daemon;
mod engine;
mod handle;
mod housekeeping;
mod linux;
mod node;
mod restore;
mod server;
pub mod settings;
mod snapshot;
pub mod store;
pub mod telemetry;

pub use self::{
    cloud::{CallCount, CallLatency, CloudCount, CloudReport},
    daemon::{Daemon, DaemonError},
    engine::EngineError,
    housekeeping::{Housekeeping, WiredPod},
    linux::LinuxHousekeeping,
    restore::{RECOVERED_NETWORK, RestoreError},
    server::listen::{Endpoint, unix as listen_unix},
};

/// Version of the daemon.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
