//! When EC2 does what it is asked, and the answer is lost.

use vpc_ipam_core::testkit::ec2::{
    Ec2Action::{self, *},
    Ec2Error, Fault,
};

use crate::support::{Scene, Script, prepare, provoke};

pub(crate) const SCRIPTS: &[&Script] =
    &[&CREATE_ONCE, &CREATE, &ATTACH_ONCE, &ATTACH, &ASSIGN_ONCE, &ASSIGN, &DELETE_ONCE];

/// The SDK gives up after so many.
const SDK_TRIES: u32 = 3;

async fn lost(scene: &mut Scene, action: Ec2Action, times: u32) {
    prepare(scene, action).await;
    scene.meet(action, Fault::AnswerLost(Ec2Error::no_answer()), times);
    provoke(scene, action).await;
    let limit = std::time::Duration::from_secs(900);
    scene
        .until("the calls", limit, async |scene| scene.calls().of(action) >= u64::from(times))
        .await;
}

const CREATE_ONCE: Script = Script {
    name: "lost-create-once",
    fault: "the answer to CreateNetworkInterface is lost once",
    effect: "the SDK asks again with the same token and hears of the same ENI",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 2),
        (DescribeNetworkInterfaces, 7),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 3,
};

#[test]
fn an_answer_is_lost_once_create() {
    CREATE_ONCE.play(Scene::new, async |scene| lost(scene, CreateNetworkInterface, 1).await);
}

const CREATE: Script = Script {
    name: "lost-create",
    fault: "the answers to CreateNetworkInterface are lost until the SDK gives up",
    effect: "nobody knows of the ENI: another one is made, and the sweep removes the first one within 65 minutes",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 4),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 30),
        (DescribeSubnets, 4),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 4380,
};

#[test]
fn all_answers_are_lost_create() {
    CREATE.play(Scene::new, async |scene| lost(scene, CreateNetworkInterface, SDK_TRIES).await);
}

const ATTACH_ONCE: Script = Script {
    name: "lost-attach-once",
    fault: "the answer to AttachNetworkInterface is lost once",
    effect: "the second try is told that the ENI is attached: it is detached, deleted, and another one made",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 3),
        (CreateNetworkInterface, 2),
        (DeleteNetworkInterface, 2),
        (DescribeNetworkInterfaces, 15),
        (DetachNetworkInterface, 1),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 8,
};

#[test]
fn an_answer_is_lost_once_attach() {
    ATTACH_ONCE.play(Scene::new, async |scene| lost(scene, AttachNetworkInterface, 1).await);
}

const ATTACH: Script = Script {
    name: "lost-attach",
    fault: "the answers to AttachNetworkInterface are lost until the SDK gives up",
    effect: "each ENI that was attached all the same is detached and deleted; another one is made",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 5),
        (CreateNetworkInterface, 3),
        (DeleteNetworkInterface, 4),
        (DescribeNetworkInterfaces, 23),
        (DetachNetworkInterface, 2),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 14,
};

#[test]
fn all_answers_are_lost_attach() {
    ATTACH.play(Scene::new, async |scene| lost(scene, AttachNetworkInterface, SDK_TRIES).await);
}

const ASSIGN_ONCE: Script = Script {
    name: "lost-assign-once",
    fault: "the answer to AssignPrivateIpAddresses is lost once",
    effect: "the SDK asks for as many once more; what is too much is found by the next read and given back",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (DescribeNetworkInterfaces, 2),
        (UnassignPrivateIpAddresses, 1),
    ],
    within_s: 68,
};

#[test]
fn an_answer_is_lost_once_assign() {
    ASSIGN_ONCE.play(Scene::new, async |scene| lost(scene, AssignPrivateIpAddresses, 1).await);
}

const ASSIGN: Script = Script {
    name: "lost-assign",
    fault: "the answers to AssignPrivateIpAddresses are lost until the SDK gives up",
    effect: "the pool asks again; what is too much is found by the next read and given back",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 8),
        (ModifyNetworkInterfaceAttribute, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 68,
};

#[test]
fn all_answers_are_lost_assign() {
    ASSIGN.play(Scene::new, async |scene| lost(scene, AssignPrivateIpAddresses, SDK_TRIES).await);
}

const DELETE_ONCE: Script = Script {
    name: "lost-delete-once",
    fault: "the answer to DeleteNetworkInterface is lost once",
    effect: "the second try is told that the ENI is gone, which is success",
    calls: &[
        (DeleteNetworkInterface, 2),
        (DescribeNetworkInterfaces, 8),
        (DetachNetworkInterface, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 38,
};

#[test]
fn an_answer_is_lost_once_delete() {
    DELETE_ONCE.play(Scene::new, async |scene| lost(scene, DeleteNetworkInterface, 1).await);
}
