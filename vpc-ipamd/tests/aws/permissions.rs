//! When the IAM role lacks an action.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{
    Ec2Action::{self, *},
    Ec2Error, code,
};

use crate::support::{FOREVER, Scene, Script, prepare, provoke};

pub(crate) const SCRIPTS: &[&Script] = &[
    &DENIED_ASSIGN,
    &DENIED_ATTACH,
    &DENIED_CREATE,
    &DENIED_DELETE,
    &DENIED_DESCRIBE,
    &DENIED_SUBNETS,
    &DENIED_DETACH,
    &DENIED_MODIFY,
    &DENIED_UNASSIGN,
];

/// The node says which action is missing, in words, to health checks and in metrics; once the role has it,
/// all is well without anybody's help.
async fn denied(scene: &mut Scene, action: Ec2Action) {
    prepare(scene, action).await;
    scene.fail(action, Ec2Error::unauthorized(), FOREVER);
    provoke(scene, action).await;
    let iam = format!("ec2:{action}");
    let limit = Duration::from_secs(900);
    scene
        .until(&iam, limit, async |scene| {
            scene.knows(&["permissions: ", &iam, "AmazonEKS_CNI_Policy"])
        })
        .await;
    scene.was_counted(action, code::UNAUTHORIZED_OPERATION).await;
    let page = scene.node().metrics().await;
    assert!(page.contains("vpc_cni_degraded{reason=\"permissions\"} 1"), "{page}");
    scene.pass(Duration::from_secs(60)).await;
    scene.heal();
}

const DENIED_ASSIGN: Script = Script {
    name: "denied-assign",
    fault: "ec2:AssignPrivateIpAddresses is missing in the IAM role for some minutes",
    effect: "pods are refused with the IAM action; tried again at least every 30 s",
    calls: &[(AssignPrivateIpAddresses, 10), (DescribeNetworkInterfaces, 2)],
    within_s: 75,
};

#[test]
fn the_role_lacks_assign() {
    DENIED_ASSIGN.play(Scene::new, async |scene| denied(scene, AssignPrivateIpAddresses).await);
}

const DENIED_ATTACH: Script = Script {
    name: "denied-attach",
    fault: "ec2:AttachNetworkInterface is missing in the IAM role for some minutes",
    effect: "each new ENI is deleted again; tried again at least every 30 s",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 9),
        (CreateNetworkInterface, 9),
        (DeleteNetworkInterface, 8),
        (DescribeNetworkInterfaces, 17),
        (DescribeSubnets, 2),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 85,
};

#[test]
fn the_role_lacks_attach() {
    DENIED_ATTACH.play(Scene::new, async |scene| denied(scene, AttachNetworkInterface).await);
}

const DENIED_CREATE: Script = Script {
    name: "denied-create",
    fault: "ec2:CreateNetworkInterface is missing in the IAM role for some minutes",
    effect: "pods beyond the first ENI are refused with the IAM action; tried again at least every 30 s",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 9),
        (DescribeNetworkInterfaces, 8),
        (DescribeSubnets, 2),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 85,
};

#[test]
fn the_role_lacks_create() {
    DENIED_CREATE.play(Scene::new, async |scene| denied(scene, CreateNetworkInterface).await);
}

const DENIED_DELETE: Script = Script {
    name: "denied-delete",
    fault: "ec2:DeleteNetworkInterface is missing in the IAM role for some minutes",
    effect: "the ENI is detached and left behind; the sweep of leaked ENIs removes it within 65 minutes",
    calls: &[
        (DeleteNetworkInterface, 2),
        (DescribeNetworkInterfaces, 34),
        (DescribeSubnets, 4),
        (DetachNetworkInterface, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 4260,
};

#[test]
fn the_role_lacks_delete() {
    DENIED_DELETE.play(Scene::new, async |scene| denied(scene, DeleteNetworkInterface).await);
}

const DENIED_DESCRIBE: Script = Script {
    name: "denied-describe",
    fault: "ec2:DescribeNetworkInterfaces is missing in the IAM role for some minutes",
    effect: "the node follows metadata, serves pods and gives nothing up",
    calls: &[(AssignPrivateIpAddresses, 4), (DescribeNetworkInterfaces, 10), (DescribeSubnets, 2)],
    within_s: 78,
};

#[test]
fn the_role_lacks_describe() {
    DENIED_DESCRIBE.play(Scene::new, async |scene| denied(scene, DescribeNetworkInterfaces).await);
}

const DENIED_SUBNETS: Script = Script {
    name: "denied-subnets",
    fault: "ec2:DescribeSubnets is missing in the IAM role for some minutes",
    effect: "new ENIs go to the subnet of the primary ENI",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 14),
        (DescribeSubnets, 3),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 485,
};

#[test]
fn the_role_lacks_subnets() {
    DENIED_SUBNETS.play(Scene::new, async |scene| denied(scene, DescribeSubnets).await);
}

const DENIED_DETACH: Script = Script {
    name: "denied-detach",
    fault: "ec2:DetachNetworkInterface is missing in the IAM role for some minutes",
    effect: "the ENI comes back to the pool, and is given back again",
    calls: &[
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 16),
        (DetachNetworkInterface, 3),
        (UnassignPrivateIpAddresses, 3),
    ],
    within_s: 241,
};

#[test]
fn the_role_lacks_detach() {
    DENIED_DETACH.play(Scene::new, async |scene| denied(scene, DetachNetworkInterface).await);
}

const DENIED_MODIFY: Script = Script {
    name: "denied-modify",
    fault: "ec2:ModifyNetworkInterfaceAttribute is missing in the IAM role for some minutes",
    effect: "each new ENI is detached and deleted again",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 8),
        (CreateNetworkInterface, 8),
        (DeleteNetworkInterface, 7),
        (DescribeNetworkInterfaces, 59),
        (DescribeSubnets, 2),
        (DetachNetworkInterface, 7),
        (ModifyNetworkInterfaceAttribute, 8),
    ],
    within_s: 91,
};

#[test]
fn the_role_lacks_modify() {
    DENIED_MODIFY
        .play(Scene::new, async |scene| denied(scene, ModifyNetworkInterfaceAttribute).await);
}

const DENIED_UNASSIGN: Script = Script {
    name: "denied-unassign",
    fault: "ec2:UnassignPrivateIpAddresses is missing in the IAM role for some minutes",
    effect: "the addresses come back to the pool, and are given back again",
    calls: &[(DescribeNetworkInterfaces, 4), (UnassignPrivateIpAddresses, 3)],
    within_s: 111,
};

#[test]
fn the_role_lacks_unassign() {
    DENIED_UNASSIGN.play(Scene::new, async |scene| denied(scene, UnassignPrivateIpAddresses).await);
}
