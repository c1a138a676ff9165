#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use super::{Hypervisor::*, *};

/// Name, ENIs by card, IPv4 per ENI, hypervisor. Written from AWS's page "Maximum IP addresses per
/// network interface" and its pages on instance families, not from the table.
#[rustfmt::skip]
const WELL_KNOWN: &[(&str, &[u32], u32, Hypervisor)] = &[
    ("t1.micro", &[2], 2, Xen),
    ("m1.small", &[2], 4, Xen),
    ("m3.2xlarge", &[4], 30, Xen),
    ("c3.8xlarge", &[8], 30, Xen),
    ("i2.8xlarge", &[8], 30, Xen),
    ("t2.micro", &[2], 2, Xen),
    ("t2.small", &[3], 4, Xen),
    ("t2.medium", &[3], 6, Xen),
    ("t2.large", &[3], 12, Xen),
    ("t2.xlarge", &[3], 15, Xen),
    ("m4.large", &[2], 10, Xen),
    ("m4.xlarge", &[4], 15, Xen),
    ("m4.16xlarge", &[8], 30, Xen),
    ("c4.large", &[3], 10, Xen),
    ("c4.8xlarge", &[8], 30, Xen),
    ("r4.16xlarge", &[15], 50, Xen),
    ("i3.16xlarge", &[15], 50, Xen),
    ("d2.8xlarge", &[8], 30, Xen),
    ("h1.16xlarge", &[8], 50, Xen),
    ("x1.32xlarge", &[8], 30, Xen),
    ("t3.nano", &[2], 2, Nitro),
    ("t3.micro", &[2], 2, Nitro),
    ("t3.small", &[3], 4, Nitro),
    ("t3.medium", &[3], 6, Nitro),
    ("t3.large", &[3], 12, Nitro),
    ("t3.xlarge", &[4], 15, Nitro),
    ("t3.2xlarge", &[4], 15, Nitro),
    ("t3a.small", &[2], 4, Nitro),
    ("t4g.small", &[3], 4, Nitro),
    ("t4g.xlarge", &[4], 15, Nitro),
    ("m5.large", &[3], 10, Nitro),
    ("m5.xlarge", &[4], 15, Nitro),
    ("m5.2xlarge", &[4], 15, Nitro),
    ("m5.4xlarge", &[8], 30, Nitro),
    ("m5.8xlarge", &[8], 30, Nitro),
    ("m5.12xlarge", &[8], 30, Nitro),
    ("m5.16xlarge", &[15], 50, Nitro),
    ("m5.24xlarge", &[15], 50, Nitro),
    ("c5.large", &[3], 10, Nitro),
    ("c5.9xlarge", &[8], 30, Nitro),
    ("c5.18xlarge", &[15], 50, Nitro),
    ("c5n.18xlarge", &[15], 50, Nitro),
    ("r5.24xlarge", &[15], 50, Nitro),
    ("i3en.24xlarge", &[15], 50, Nitro),
    ("z1d.12xlarge", &[15], 50, Nitro),
    ("m6i.32xlarge", &[15], 50, Nitro),
    ("m6a.48xlarge", &[15], 50, Nitro),
    ("m7i.48xlarge", &[15], 50, Nitro),
    ("a1.medium", &[2], 4, Nitro),
    ("m6g.medium", &[2], 4, Nitro),
    ("m6g.large", &[3], 10, Nitro),
    ("m6g.16xlarge", &[15], 50, Nitro),
    ("c7g.8xlarge", &[8], 30, Nitro),
    ("r7g.16xlarge", &[15], 50, Nitro),
    ("d3.8xlarge", &[3], 20, Nitro),
    ("g4dn.xlarge", &[3], 10, Nitro),
    ("g5.48xlarge", &[7], 50, Nitro),
    ("inf1.24xlarge", &[11], 30, Nitro),
    ("hpc7g.16xlarge", &[4], 50, Nitro),
    ("p3dn.24xlarge", &[15], 50, Nitro),
    ("c6in.32xlarge", &[8, 8], 50, Nitro),
    ("p4d.24xlarge", &[15, 15, 15, 15], 50, Nitro),
    ("trn1.32xlarge", &[5; 8], 50, Nitro),
    ("p5.48xlarge", &[2; 32], 50, Nitro),
];

/// The same of metal.
const WELL_KNOWN_METAL: &[(&str, u32, u32)] = &[
    ("a1.metal", 8, 30),
    ("c5.metal", 15, 50),
    ("i3.metal", 15, 50),
    ("m5.metal", 15, 50),
    ("m6g.metal", 15, 50),
    ("mac1.metal", 8, 30),
    ("m7i.metal-48xl", 15, 50),
];

#[test]
fn well_known_types_have_their_published_limits() {
    for &(name, card_enis, ipv4, hypervisor) in WELL_KNOWN {
        let found = lookup(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(found.card_enis().collect::<Vec<_>>(), card_enis, "{name}");
        assert_eq!((found.enis(), found.ipv4_per_eni()), (card_enis[0], ipv4), "{name}");
        assert_eq!((found.hypervisor(), found.bare_metal()), (hypervisor, false), "{name}");
        assert_eq!(found.prefixes(), hypervisor == Nitro, "{name}");
        assert_eq!(found.default_card(), 0, "{name}");
    }
    for &(name, enis, ipv4) in WELL_KNOWN_METAL {
        let found = lookup(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!((found.enis(), found.ipv4_per_eni()), (enis, ipv4), "{name}");
        assert!(found.bare_metal() && found.prefixes(), "{name}");
    }
}

#[test]
fn the_pool_gets_the_limits_of_the_default_card() {
    let limits = known("p4d.24xlarge").unwrap();
    assert_eq!((limits.enis, limits.slots(), limits.prefixes), (15, 49, true));
    assert_eq!(limits.card_enis, [15, 15, 15, 15]);
    let limits = known("m4.large").unwrap();
    assert_eq!((limits.enis, limits.slots(), limits.prefixes), (2, 9, false));
    assert_eq!(limits.card_enis, [2]);
}

#[test]
fn pods_are_counted_as_in_the_published_list() {
    for (name, pods) in [
        ("t3.nano", 4),
        ("t3.small", 11),
        ("m5.large", 29),
        ("m5.4xlarge", 234),
        ("c5.18xlarge", 737),
        ("p4d.24xlarge", 737),
    ] {
        assert_eq!(lookup(name).unwrap().max_pods(), pods, "{name}");
    }
}

#[test]
fn every_type_is_found_and_possible() {
    assert!(all().len() > 1000, "{} types", all().len());
    assert!(all().is_sorted_by(|a, b| a.name() < b.name()));
    for row in all() {
        assert_eq!(lookup(row.name()), Some(row));
        assert!(row.name().contains('.') && row.name().is_ascii(), "{row:?}");
        let cards: Vec<_> = row.card_enis().collect();
        assert_eq!(cards.get(row.default_card() as usize), Some(&row.enis()), "{row:?}");
        assert!(row.enis() > 0 && row.ipv4_per_eni() > 1, "{row:?}");
        if let Trunk::Yes { branch_enis } = row.trunk() {
            assert!(branch_enis > 0 && row.hypervisor() != Xen, "{row:?}");
        }
    }
}

#[test]
fn trunks_are_as_published() {
    let yes = |branch_enis| Trunk::Yes { branch_enis };
    for (name, trunk) in [
        ("m5.large", yes(9)),
        ("m5.metal", yes(120)),
        ("c6i.8xlarge", yes(84)),
        ("c6g.8xlarge", yes(54)),
        ("g5.xlarge", yes(4)),
        ("i4i.24xlarge", yes(105)),
        ("p4d.24xlarge", yes(62)),
        ("m4.large", Trunk::No),
        ("t3.2xlarge", Trunk::No),
        ("t4g.large", Trunk::No),
        ("u-6tb1.112xlarge", Trunk::No),
        ("r9g.large", Trunk::Unknown),
        ("trn2.48xlarge", Trunk::Unknown),
    ] {
        assert_eq!(lookup(name).unwrap().trunk(), trunk, "{name}");
    }
}

#[test]
fn the_page_about_the_table_has_its_counts() {
    const PAGE: &str = include_str!("../../../docs/instance-limits.md");
    let count = |is: &dyn Fn(&TypeLimits) -> bool| all().iter().filter(|row| is(row)).count();
    let hypervisor = |hypervisor| count(&|row: &TypeLimits| row.hypervisor() == hypervisor);
    for (what, n) in [
        ("types", all().len()),
        ("nitro", hypervisor(Nitro)),
        ("xen", hypervisor(Xen)),
        ("unknown hypervisor", hypervisor(Unknown)),
        ("bare metal", count(&TypeLimits::bare_metal)),
    ] {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| {what} |"))).unwrap();
        assert_eq!(row.split('|').nth(3).map(str::trim), Some(n.to_string().as_str()), "{row}");
    }
    let several = count(&|row| row.card_enis().len() > 1);
    assert!(PAGE.contains(&format!("| {several}, up to 32 |")), "{several}");
    let unknown = count(&|row| row.trunk() == Trunk::Unknown);
    assert!(PAGE.contains(&format!("For {unknown} types nothing is published")), "{unknown}");
}

#[test]
fn types_that_do_not_exist_are_not_made_up() {
    for name in [
        "",
        "m5",
        "m5.",
        ".large",
        "m5.3xlarge",
        "z9.large",
        "c5.8xlarge",
        "m5.large ",
        "M5.LARGE",
        "m5.large\0",
        "a",
        "zzzz",
        "a name that is longer than any row has room for",
    ] {
        assert_eq!(lookup(name), None, "{name:?}");
        assert_eq!(known(name), None, "{name:?}");
    }
}

#[test]
fn every_kind_of_line_says_what_it_means() {
    let strange = line::unknown("q1.large", &[2], 4).default_is_card(1, 3);
    assert_eq!((strange.hypervisor(), strange.prefixes()), (Unknown, false));
    assert_eq!((strange.default_card(), strange.enis(), strange.trunk()), (1, 3, Trunk::Unknown));
    let metal = line::metal("q1.metal", &[15], 50).hypervisor_is(Xen).branches(7);
    assert_eq!((metal.hypervisor(), metal.prefixes()), (Xen, true));
    assert_eq!(metal.trunk(), Trunk::Yes { branch_enis: 7 });
    assert_eq!(line::nitro("q1.small", &[2], 4).no_trunk().trunk(), Trunk::No);
    assert_eq!(line::xen("q0.small", &[2], 4).trunk(), Trunk::No);
    assert_eq!(format!("{:?}", Hypervisor::parse("kvm")), "Unknown");
}
