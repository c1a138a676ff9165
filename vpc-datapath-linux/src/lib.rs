//! Linux datapath of AWS VPC pods on netlink and nftables, without external programs.

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
