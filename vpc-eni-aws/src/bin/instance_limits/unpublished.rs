//! Types that `DescribeInstanceTypes` does not describe (any more), or not in the regions that the
//! source of the table knows, and that nodes may still have.
//!
//! Where EC2 describes one of them after all, the generator compares the two, and says so if they
//! differ: then the entry goes.

use crate::limits::{Facts, Hypervisor};

/// Name, ENIs by card, IPv4 per ENI.
type Line = (&'static str, &'static [u32], u32);

// Figures of the first two lists: the limits table of amazon-vpc-resource-controller-k8s, as
// karpenter-provider-aws had it on 2026-08-06. Of the rest: the list of such types in Bottlerocket's
// table of pods per node; the two of 2012 are also in AWS's page "Maximum IP addresses per network
// interface" of 2014.

const NITRO: &[Line] = &[
    ("c7i.32xlarge", &[15], 50),
    ("dl1.24xlarge", &[15, 15, 15, 15], 50),
    ("g4ad.16xlarge", &[8], 30),
    ("g4ad.2xlarge", &[2], 4),
    ("g4ad.4xlarge", &[3], 10),
    ("g4ad.8xlarge", &[4], 15),
    ("g4ad.xlarge", &[2], 4),
];

const XEN: &[Line] = &[
    ("f1.16xlarge", &[8], 50),
    ("f1.2xlarge", &[4], 15),
    ("f1.4xlarge", &[8], 30),
    ("p3.16xlarge", &[8], 30),
    ("p3.2xlarge", &[4], 15),
    ("p3.8xlarge", &[8], 30),
    ("cr1.8xlarge", &[8], 30),
    ("hs1.8xlarge", &[8], 30),
];

const METAL: &[Line] = &[
    ("i3.metal", &[15], 50),
    ("bmn-sf1.metal", &[15], 50),
    ("c5a.metal", &[15], 50),
    ("c5ad.metal", &[15], 50),
    ("u-12tb1.metal", &[5], 30),
    ("u-18tb1.metal", &[15], 50),
    ("u-24tb1.metal", &[15], 50),
    ("u-6tb1.metal", &[5], 30),
    ("u-9tb1.metal", &[5], 30),
];

/// The list.
pub(crate) fn types() -> impl Iterator<Item = Facts> {
    let kind = |lines: &'static [Line], hypervisor, bare_metal| {
        lines.iter().map(move |line| facts(*line, hypervisor, bare_metal))
    };
    kind(NITRO, Hypervisor::Nitro, false).chain(kind(XEN, Hypervisor::Xen, false)).chain(kind(
        METAL,
        Hypervisor::Unknown,
        true,
    ))
}

fn facts((name, cards, ipv4_per_eni): Line, hypervisor: Hypervisor, bare_metal: bool) -> Facts {
    Facts {
        name: name.to_owned(),
        card_enis: cards.to_vec(),
        enis: cards.first().copied().unwrap_or(0),
        default_card: 0,
        ipv4_per_eni,
        hypervisor,
        bare_metal,
    }
}
