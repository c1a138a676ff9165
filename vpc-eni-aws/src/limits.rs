//! Hardware limits of instance types.
//!
//! Types that are not listed here are asked of EC2 (`DescribeInstanceTypes`).

use vpc_ipam_core::cloud::InstanceLimits;

/// ENIs, IPv4 addresses per ENI.
type Shape = (u32, u32);

/// Sizes that all Nitro families of general, compute and memory type share, by the AWS page
/// "Maximum IP addresses per network interface".
const NITRO_FAMILIES: &[&str] = &[
    "c5", "c5a", "c5d", "c6a", "c6i", "m5", "m5a", "m5d", "m6a", "m6i", "r5", "r5a", "r5d", "r6i",
];

/// Shapes of [`NITRO_FAMILIES`].
const NITRO_SIZES: &[(&str, Shape)] = &[
    ("large", (3, 10)),
    ("xlarge", (4, 15)),
    ("2xlarge", (4, 15)),
    ("4xlarge", (8, 30)),
    ("8xlarge", (8, 30)),
    ("12xlarge", (8, 30)),
    ("16xlarge", (15, 50)),
    ("24xlarge", (15, 50)),
];

/// Graviton sizes.
const GRAVITON_FAMILIES: &[&str] = &["c6g", "c6gd", "m6g", "m6gd", "r6g", "r6gd"];

/// Shapes of [`GRAVITON_FAMILIES`].
const GRAVITON_SIZES: &[(&str, Shape)] = &[
    ("medium", (2, 4)),
    ("large", (3, 10)),
    ("xlarge", (4, 15)),
    ("2xlarge", (4, 15)),
    ("4xlarge", (8, 30)),
    ("8xlarge", (8, 30)),
    ("12xlarge", (8, 30)),
    ("16xlarge", (15, 50)),
];

/// Types that share their shape with no family: Nitro.
const NITRO_TYPES: &[(&str, Shape)] = &[
    ("c5.18xlarge", (15, 50)),
    ("c5.9xlarge", (8, 30)),
    ("c5n.18xlarge", (15, 50)),
    ("c5n.large", (3, 10)),
    ("c5n.xlarge", (4, 15)),
    ("m6i.32xlarge", (15, 50)),
    ("p3dn.24xlarge", (15, 50)),
    ("t3.2xlarge", (4, 15)),
    ("t3.large", (3, 12)),
    ("t3.medium", (3, 6)),
    ("t3.micro", (2, 2)),
    ("t3.nano", (2, 2)),
    ("t3.small", (3, 4)),
    ("t3.xlarge", (4, 15)),
    ("t3a.large", (3, 12)),
    ("t3a.medium", (3, 6)),
    ("t3a.small", (2, 4)),
    ("t3a.xlarge", (4, 15)),
    ("t4g.large", (3, 12)),
    ("t4g.medium", (3, 6)),
    ("t4g.small", (3, 4)),
    ("t4g.xlarge", (4, 15)),
];

/// Types on the Xen hypervisor, where EC2 does not delegate prefixes.
const XEN_TYPES: &[(&str, Shape)] = &[
    ("c4.large", (3, 10)),
    ("c4.xlarge", (4, 15)),
    ("m4.2xlarge", (4, 15)),
    ("m4.large", (2, 10)),
    ("m4.xlarge", (4, 15)),
    ("t2.large", (3, 12)),
    ("t2.medium", (3, 6)),
    ("t2.micro", (2, 2)),
    ("t2.small", (3, 4)),
    ("t2.xlarge", (3, 15)),
];

/// Families of [`NITRO_FAMILIES`] whose sizes above 4xlarge are other ones: `c5` has 9xlarge and
/// 18xlarge in place of 8xlarge and 16xlarge.
const WITHOUT_8_AND_16: &[&str] = &["c5", "c5d"];

/// Limits of `instance_type`, if it is one that this build knows.
pub fn known(instance_type: &str) -> Option<InstanceLimits> {
    let listed = |table: &[(&str, Shape)], key: &str| {
        table.iter().find(|(name, _)| *name == key).map(|(_, shape)| *shape)
    };
    if let Some(shape) = listed(NITRO_TYPES, instance_type) {
        return Some(single_card(shape, true));
    }
    if let Some(shape) = listed(XEN_TYPES, instance_type) {
        return Some(single_card(shape, false));
    }
    let (family, size) = instance_type.split_once('.')?;
    if WITHOUT_8_AND_16.contains(&family) && matches!(size, "8xlarge" | "16xlarge") {
        return None;
    }
    let sizes = if NITRO_FAMILIES.contains(&family) {
        NITRO_SIZES
    } else if GRAVITON_FAMILIES.contains(&family) {
        GRAVITON_SIZES
    } else {
        return None;
    };
    listed(sizes, size).map(|shape| single_card(shape, true))
}

fn single_card((enis, ipv4_per_eni): Shape, prefixes: bool) -> InstanceLimits {
    InstanceLimits { enis, ipv4_per_eni, card_enis: vec![enis], prefixes }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn well_known_types_have_their_published_limits() {
        for (name, enis, ipv4, prefixes) in [
            ("m5.large", 3, 10, true),
            ("m5.4xlarge", 8, 30, true),
            ("m5.24xlarge", 15, 50, true),
            ("c5.18xlarge", 15, 50, true),
            ("t3.medium", 3, 6, true),
            ("t3.small", 3, 4, true),
            ("m6g.medium", 2, 4, true),
            ("m4.large", 2, 10, false),
        ] {
            let limits = known(name).unwrap();
            assert_eq!((limits.enis, limits.ipv4_per_eni, limits.prefixes), (enis, ipv4, prefixes));
            assert_eq!(limits.card_enis, [enis]);
            assert_eq!(limits.slots(), ipv4 - 1);
        }
    }

    #[test]
    fn types_that_do_not_exist_are_not_made_up() {
        for name in ["", "m5", "m5.", ".large", "m5.3xlarge", "z9.large", "c5.8xlarge", "m5.large "]
        {
            assert_eq!(known(name), None, "{name:?}");
        }
    }
}
