//! Linux datapath of AWS VPC pods on netlink and nftables, without external programs.
//!
//! [`LinuxDatapath`] is the core's [`Datapath`](vpc_ipam_core::datapath::Datapath) on a real kernel. What
//! a node and its ENIs should look like is computed as data in [`desired`] and compared with what the
//! kernel has; [`layout`] lists every number and name. [`netlink`], [`nft`] and [`netns`] are the
//! primitives, usable on their own.
//!
//! ```no_run
//! use vpc_datapath_linux::{LinuxDatapath, names::VethPrefix};
//! use vpc_ipam_core::datapath::{Datapath, DatapathError, NodeSpec};
//!
//! fn start(node: &NodeSpec) -> Result<(), DatapathError> {
//!     let datapath = LinuxDatapath::open()?;
//!     datapath.probe()?;
//!     for step in datapath.plan_node(node)? {
//!         println!("will {step}");
//!     }
//!     datapath.set_up_node(node)
//! }
//!
//! fn stop(prefix: &VethPrefix) -> Result<(), DatapathError> {
//!     LinuxDatapath::open()?.clean_node(prefix)
//! }
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod desired;
#[cfg(test)]
mod golden;
pub mod layout;
mod linux;
pub mod names;
pub mod netlink;
pub mod netns;
pub mod nft;
mod sysctl;
#[cfg(feature = "testkit")]
pub mod testkit;
mod wire;

pub use linux::{Inventory, LinuxDatapath};
pub use sysctl::enable_ipv4_forwarding;
