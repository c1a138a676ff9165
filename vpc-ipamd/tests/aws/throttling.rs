//! When EC2 throttles.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{
    Ec2Action::{self, *},
    Ec2Error, code,
};

use crate::support::{Scene, Script, prepare, provoke};

pub(crate) const SCRIPTS: &[&Script] = &[
    &THROTTLED_ASSIGN,
    &THROTTLED_ATTACH,
    &THROTTLED_CREATE,
    &THROTTLED_DELETE,
    &THROTTLED_DESCRIBE,
    &THROTTLED_SUBNETS,
    &THROTTLED_DETACH,
    &THROTTLED_MODIFY,
    &THROTTLED_UNASSIGN,
];

/// Requests that are refused: two calls as the SDK makes them, and the first try of the third.
const REFUSED: u32 = 7;

async fn throttled(scene: &mut Scene, action: Ec2Action) {
    prepare(scene, action).await;
    scene.fail(action, Ec2Error::throttled(), REFUSED);
    provoke(scene, action).await;
    let limit = Duration::from_secs(900);
    scene
        .until("success", limit, async |scene| scene.calls().of(action) > u64::from(REFUSED))
        .await;
    scene.was_counted(action, code::REQUEST_LIMIT_EXCEEDED).await;
}

const THROTTLED_ASSIGN: Script = Script {
    name: "throttled-assign",
    fault: "AssignPrivateIpAddresses is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[(AssignPrivateIpAddresses, 10), (DescribeNetworkInterfaces, 2)],
    within_s: 123,
};

#[test]
fn ec2_throttles_assign() {
    THROTTLED_ASSIGN
        .play(Scene::new, async |scene| throttled(scene, AssignPrivateIpAddresses).await);
}

const THROTTLED_ATTACH: Script = Script {
    name: "throttled-attach",
    fault: "AttachNetworkInterface is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 8),
        (CreateNetworkInterface, 6),
        (DeleteNetworkInterface, 5),
        (DescribeNetworkInterfaces, 10),
        (DescribeSubnets, 2),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 139,
};

#[test]
fn ec2_throttles_attach() {
    THROTTLED_ATTACH.play(Scene::new, async |scene| throttled(scene, AttachNetworkInterface).await);
}

const THROTTLED_CREATE: Script = Script {
    name: "throttled-create",
    fault: "CreateNetworkInterface is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 8),
        (DescribeNetworkInterfaces, 8),
        (DescribeSubnets, 2),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 132,
};

#[test]
fn ec2_throttles_create() {
    THROTTLED_CREATE.play(Scene::new, async |scene| throttled(scene, CreateNetworkInterface).await);
}

const THROTTLED_DELETE: Script = Script {
    name: "throttled-delete",
    fault: "DeleteNetworkInterface is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[
        (DeleteNetworkInterface, 8),
        (DescribeNetworkInterfaces, 10),
        (DetachNetworkInterface, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 140,
};

#[test]
fn ec2_throttles_delete() {
    THROTTLED_DELETE.play(Scene::new, async |scene| throttled(scene, DeleteNetworkInterface).await);
}

const THROTTLED_DESCRIBE: Script = Script {
    name: "throttled-describe",
    fault: "DescribeNetworkInterfaces is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[(AssignPrivateIpAddresses, 3), (DescribeNetworkInterfaces, 10), (DescribeSubnets, 2)],
    within_s: 25,
};

#[test]
fn ec2_throttles_describe() {
    THROTTLED_DESCRIBE
        .play(Scene::new, async |scene| throttled(scene, DescribeNetworkInterfaces).await);
}

const THROTTLED_SUBNETS: Script = Script {
    name: "throttled-subnets",
    fault: "DescribeSubnets is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 7),
        (DescribeSubnets, 9),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 97,
};

#[test]
fn ec2_throttles_subnets() {
    THROTTLED_SUBNETS.play(Scene::new, async |scene| throttled(scene, DescribeSubnets).await);
}

const THROTTLED_DETACH: Script = Script {
    name: "throttled-detach",
    fault: "DetachNetworkInterface is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 10),
        (DetachNetworkInterface, 8),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 99,
};

#[test]
fn ec2_throttles_detach() {
    THROTTLED_DETACH.play(Scene::new, async |scene| throttled(scene, DetachNetworkInterface).await);
}

const THROTTLED_MODIFY: Script = Script {
    name: "throttled-modify",
    fault: "ModifyNetworkInterfaceAttribute is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 6),
        (CreateNetworkInterface, 6),
        (DeleteNetworkInterface, 5),
        (DescribeNetworkInterfaces, 45),
        (DescribeSubnets, 2),
        (DetachNetworkInterface, 5),
        (ModifyNetworkInterfaceAttribute, 8),
    ],
    within_s: 174,
};

#[test]
fn ec2_throttles_modify() {
    THROTTLED_MODIFY
        .play(Scene::new, async |scene| throttled(scene, ModifyNetworkInterfaceAttribute).await);
}

const THROTTLED_UNASSIGN: Script = Script {
    name: "throttled-unassign",
    fault: "UnassignPrivateIpAddresses is answered with RequestLimitExceeded seven times in a row",
    effect: "the SDK tries three times, then the node does, less often than EC2 allows; nothing else is given back meanwhile",
    calls: &[(DescribeNetworkInterfaces, 5), (UnassignPrivateIpAddresses, 8)],
    within_s: 201,
};

#[test]
fn ec2_throttles_unassign() {
    THROTTLED_UNASSIGN
        .play(Scene::new, async |scene| throttled(scene, UnassignPrivateIpAddresses).await);
}
