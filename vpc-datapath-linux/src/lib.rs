//! Linux datapath of AWS VPC pods on netlink and nftables, without external programs.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod netlink;
pub mod netns;
pub mod nft;
#[cfg(feature = "testkit")]
pub mod testkit;
mod wire;
