//! Types that `DescribeInstanceTypes` does not describe (any more), and that nodes may still have.
//!
//! An entry goes when EC2 describes its type again: the generator then compares the two, and says so
//! if they differ.

use crate::limits::{Facts, Hypervisor};

/// Name, ENIs, IPv4 per ENI, hypervisor, bare metal.
type Line = (&'static str, u32, u32, Hypervisor, bool);

/// Figures as the limits table of amazon-vpc-resource-controller-k8s has them.
const LINES: &[Line] = &[];

/// The list.
pub(crate) fn types() -> impl Iterator<Item = Facts> {
    LINES.iter().map(|&(name, enis, ipv4_per_eni, hypervisor, bare_metal)| Facts {
        name: name.to_owned(),
        card_enis: vec![enis],
        enis,
        default_card: 0,
        ipv4_per_eni,
        hypervisor,
        bare_metal,
    })
}
