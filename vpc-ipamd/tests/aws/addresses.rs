//! When an ENI cannot get addresses.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action::*, Ec2Error, Ipv4Request, code};

use crate::support::{Scene, Script};

pub(crate) const SCRIPTS: &[&Script] =
    &[&ASSIGN_THEN_SINGLE, &ADDRESS_LIMIT, &SUBNET_FULL, &NO_BLOCKS, &ASSIGN_REFUSED];

/// How long the reference leaves a subnet alone that had nothing to give.
const SILENCE: Duration = Duration::from_secs(120);

const ASSIGN_THEN_SINGLE: Script = Script {
    name: "assign-then-single",
    fault: "AssignPrivateIpAddresses of several is refused with InsufficientFreeAddressesInSubnet, of one it is not",
    effect: "one is asked for instead at once, then what is missing",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 3),
        (DescribeSubnets, 2),
    ],
    within_s: 1,
};

#[test]
fn where_several_addresses_are_refused_one_is_asked_for() {
    ASSIGN_THEN_SINGLE.play(Scene::new, async |scene| {
        let refused = Ec2Error::new(code::INSUFFICIENT_FREE_ADDRESSES, "Not enough.");
        scene.fail(AssignPrivateIpAddresses, refused, 1);
        scene.mark();
        scene.start();
    });
}

const ASSIGN_REFUSED: Script = Script {
    name: "assign-refused",
    fault: "AssignPrivateIpAddresses is refused three times with an internal error that outlasts the SDK's retries",
    effect: "pods wait; tried again with growing pauses",
    calls: &[(AssignPrivateIpAddresses, 12)],
    within_s: 9,
};

#[test]
fn pods_wait_while_addresses_cannot_be_assigned() {
    ASSIGN_REFUSED.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.fail(AssignPrivateIpAddresses, Ec2Error::internal(), 9);
        scene.serve(0..6).await;
        scene.was_told(&["AssignPrivateIpAddresses", "InternalError"]);
    });
}

const ADDRESS_LIMIT: Script = Script {
    name: "address-limit",
    fault: "somebody else has filled the ENI: PrivateIpAddressLimitExceeded",
    effect: "the ENIs are read again, and what was found on them is used",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 8),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 2,
};

#[test]
fn an_eni_that_is_full_is_read_again() {
    ADDRESS_LIMIT.play(Scene::new, async |scene| {
        scene.begin().await;
        let now = scene.emulator.now();
        let primary = scene.world().instances()[0].primary_eni.clone();
        let many = Ipv4Request::Secondary(6);
        scene.world().assign_foreign(&primary, many, now).unwrap();
        scene.serve(0..8).await;
        scene.was_counted(AssignPrivateIpAddresses, code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED).await;
    });
}

const SUBNET_FULL: Script = Script {
    name: "subnet-full",
    fault: "the subnet has no address left for five minutes: InsufficientFreeAddressesInSubnet",
    effect: "one address is tried, then one new ENI, then nothing for 120 s at a time; pods are refused with the remedy",
    calls: &[
        (AssignPrivateIpAddresses, 12),
        (CreateNetworkInterface, 3),
        (DescribeNetworkInterfaces, 5),
        (DescribeSubnets, 4),
    ],
    within_s: 403,
};

#[test]
fn a_subnet_that_is_full_is_left_alone_for_two_minutes() {
    SUBNET_FULL.play(Scene::new, async |scene| {
        scene.begin().await;
        let subnet = scene.subnet();
        scene.world().fragment_subnet(&subnet, 0).unwrap();
        let full = scene.world().subnets()[0].clone();
        assert_eq!(full.available_ips(), 0);
        scene.launch(0..5);
        // What the first tries cost: the reference asks each ENI for many and for one, and makes one new ENI.
        scene.pass(Duration::from_secs(5)).await;
        let first = scene.calls().mutations();
        assert!(first <= 3, "{}", scene.calls());
        scene.pass(SILENCE - Duration::from_secs(10)).await;
        assert_eq!(scene.calls().mutations(), first, "not silent: {}", scene.calls());
        scene.pass(Duration::from_secs(300) - SILENCE).await;
        let blocks = scene.world().defragment_subnet(&subnet, 2).unwrap();
        assert!(blocks > 0);
        scene.served().await;
        scene.was_told(&["the subnet is exhausted", "larger subnet"]);
        scene.was_told(&["InsufficientFreeAddressesInSubnet", "larger subnet"]);
    });
}

const NO_BLOCKS: Script = Script {
    name: "subnet-without-blocks",
    fault: "prefix mode; for five minutes the subnet has no free /28, but single addresses: InsufficientCidrBlocks",
    effect: "pods get single addresses at once; one prefix is tried after 120 s, then after 240 s and so on",
    calls: &[
        (AssignPrivateIpAddresses, 6),
        (AttachNetworkInterface, 2),
        (CreateNetworkInterface, 2),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 25),
        (DetachNetworkInterface, 1),
        (ModifyNetworkInterfaceAttribute, 2),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 401,
};

fn prefix_node() -> Scene {
    Scene::new()
        .env("ENABLE_PREFIX_DELEGATION", "true")
        .env("WARM_PREFIX_TARGET", "1")
        .env("WARM_IP_TARGET", "0")
        .warm(16..=31)
}

#[test]
fn without_blocks_single_addresses_stand_in_for_prefixes() {
    NO_BLOCKS.play(prefix_node, async |scene| {
        scene.begin().await;
        let subnet = scene.subnet();
        scene.world().fragment_subnet(&subnet, 100).unwrap();
        let began = scene.calls();
        scene.serve(0..20).await;
        scene.pass(Duration::from_secs(100)).await;
        let tries = scene.calls().since(&began);
        scene.was_told(&["no free /28 block", "CreateSubnetCidrReservation"]);
        scene.was_counted(AssignPrivateIpAddresses, code::INSUFFICIENT_CIDR_BLOCKS).await;
        assert!(tries.mutations() <= 8, "{tries}");
        scene.pass(Duration::from_secs(200)).await;
        scene.world().defragment_subnet(&subnet, 4).unwrap();
    });
}
