//! Numbers and names of the flat layout, in one place.
//!
//! Classic per-pod rules sit at 512 and 1536 and so keep precedence over everything here: pods wired
//! the old way and the new way live side by side. Table numbers below 100,000 belong to ENIs, VLANs
//! and other tools.

/// Table with one host route per pod, whichever ENI its address is on.
pub const POD_TABLE: u32 = 100_513;
/// Addresses that an ENI owns and no pod has lead nowhere, by a route in the pod table with this metric
/// plus the ENI's number. A pod's own route has metric 0 and wins.
///
/// Without it a late packet to a pod that has gone would leave again by the default route with a source
/// that the primary ENI does not own, and the VPC would have to drop it.
pub const METRIC_VACANT: u32 = 1_000_000_000;
/// `FRA_PROTOCOL` and `RTPROT` of everything we make, by which it is found again.
pub const PROTOCOL: u8 = 77;

/// Rule of the pod table.
pub const PRIORITY_POD_TABLE: u32 = 513;
/// Rule that takes connections of the primary ENI to the main table.
pub const PRIORITY_CONNMARK: u32 = 1024;
/// Rules that take given destinations to the main table.
pub const PRIORITY_EXTERNAL: u32 = 1535;
/// ENI number n has its rule at this priority plus n.
pub const PRIORITY_ENI: u32 = 1536;
/// Rule that sends an ENI's own address out of it.
pub const PRIORITY_ENI_ADDRESS: u32 = 32_765;
/// Classic rule to a pod.
pub const PRIORITY_CLASSIC_TO_POD: u32 = 512;
/// Classic rule from a pod.
pub const PRIORITY_CLASSIC_FROM_POD: u32 = 1536;

/// Bits of the mark that hold an ENI number.
pub const ENI_MARK_MASK: u32 = 0x7f;
/// Largest ENI number, as many as the mask has.
pub const ENI_NUMBER_MAX: u32 = ENI_MARK_MASK;
/// On card 0 an ENI's number is its device index, which no instance has more than 15 of. ENIs of other
/// cards get numbers from here on.
pub const ENI_NUMBER_OTHER_CARDS: u32 = 16;

/// The nftables table (family `ip`).
pub const NFT_TABLE: &str = "vpc-cni";
/// Destinations that see a pod's own address.
pub const SET_EXEMPT: &str = "exempt4";
/// Which ENI owns a source address.
pub const MAP_SOURCES: &str = "pod-src4";
/// Marks connections that come to a NodePort by the primary ENI.
pub const CHAIN_NODEPORT: &str = "nodeport";
/// Marks connections that leave by the primary ENI.
pub const CHAIN_CONNMARK: &str = "connmark";
/// Marks packets of pods with their ENI's number.
pub const CHAIN_CLASSIFY: &str = "classify";
/// Translates the source of what leaves the VPC.
pub const CHAIN_EGRESS: &str = "egress";

/// Links of branch ENIs begin so.
pub const VLAN_PREFIX: &str = "vlan";

/// Chain that marks packets of ENI number `n`.
pub fn eni_chain(n: u32) -> String {
    format!("eni-{n}")
}
