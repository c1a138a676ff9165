//! Linux datapath of AWS VPC pods on netlink and nftables.

#![forbid(unsafe_code)]

#[cfg(feature = "testkit")]
pub mod testkit;
