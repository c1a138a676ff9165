//! When a new ENI cannot be made.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action::*, Ec2Error, code};

use crate::support::{Scene, Script};

pub(crate) const SCRIPTS: &[&Script] =
    &[&ATTACH_REFUSED, &ATTACH_REFUSED_OFTEN, &MODIFY_REFUSED, &CREATE_REFUSED, &NO_PLACE];

const ATTACH_REFUSED: Script = Script {
    name: "attach-refused",
    fault: "AttachNetworkInterface is refused once",
    effect: "the new ENI is deleted; another one is made within a second or two",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 2),
        (CreateNetworkInterface, 2),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 9),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 3,
};

fn attachment_limit() -> Ec2Error {
    Ec2Error::new(code::ATTACHMENT_LIMIT_EXCEEDED, "Interface count exceeds the limit.")
}

#[test]
fn an_eni_that_cannot_be_attached_is_deleted() {
    ATTACH_REFUSED.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.fail(AttachNetworkInterface, attachment_limit(), 1);
        scene.serve(0..12).await;
        scene.was_told(&["AttachNetworkInterface", "AttachmentLimitExceeded", "larger instance"]);
    });
}

const ATTACH_REFUSED_OFTEN: Script = Script {
    name: "attach-refused-often",
    fault: "AttachNetworkInterface is refused six times in a row",
    effect: "each of the six ENIs is deleted; tries are farther and farther apart",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 7),
        (CreateNetworkInterface, 7),
        (DeleteNetworkInterface, 6),
        (DescribeNetworkInterfaces, 21),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 57,
};

#[test]
fn enis_that_cannot_be_attached_again_and_again_are_all_deleted() {
    ATTACH_REFUSED_OFTEN.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.fail(AttachNetworkInterface, attachment_limit(), 6);
        scene.serve(0..12).await;
        scene.was_told(&["AttachNetworkInterface", "AttachmentLimitExceeded", "larger instance"]);
    });
}

const MODIFY_REFUSED: Script = Script {
    name: "modify-refused",
    fault: "ModifyNetworkInterfaceAttribute, which makes a new ENI vanish with its instance, is refused once",
    effect: "the ENI is detached and deleted; another one is made",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 2),
        (CreateNetworkInterface, 2),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 14),
        (DetachNetworkInterface, 1),
        (ModifyNetworkInterfaceAttribute, 2),
    ],
    within_s: 7,
};

#[test]
fn an_eni_that_would_outlive_the_instance_is_freed() {
    MODIFY_REFUSED.play(Scene::new, async |scene| {
        scene.begin().await;
        let refused = Ec2Error::new(code::OPERATION_NOT_PERMITTED, "You may not.");
        scene.fail(ModifyNetworkInterfaceAttribute, refused, 1);
        scene.serve(0..12).await;
        scene.was_told(&["ModifyNetworkInterfaceAttribute", "OperationNotPermitted"]);
    });
}

const CREATE_REFUSED: Script = Script {
    name: "create-refused",
    fault: "CreateNetworkInterface is refused three times: the account's quota of ENIs is used up",
    effect: "pods wait; tried again with growing pauses",
    calls: &[
        (AssignPrivateIpAddresses, 4),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 4),
        (DescribeNetworkInterfaces, 7),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 7,
};

#[test]
fn pods_wait_while_the_quota_of_enis_is_used_up() {
    CREATE_REFUSED.play(Scene::new, async |scene| {
        scene.begin().await;
        let quota = Ec2Error::new(
            "NetworkInterfaceLimitExceeded",
            "The maximum number of network interfaces has been reached.",
        );
        scene.fail(CreateNetworkInterface, quota, 3);
        scene.serve(0..12).await;
        scene.was_told(&["NetworkInterfaceLimitExceeded", "higher quota (L-DF5E4CA3)"]);
    });
}

const NO_PLACE: Script = Script {
    name: "node-full",
    fault: "more pods than the instance can have addresses",
    effect: "those that find room run; the others are refused with the numbers, at no cost in EC2 calls",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 2),
        (CreateNetworkInterface, 2),
        (DescribeNetworkInterfaces, 13),
        (ModifyNetworkInterfaceAttribute, 2),
    ],
    within_s: 4,
};

#[test]
fn a_full_node_refuses_pods_and_leaves_ec2_alone() {
    NO_PLACE.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..27).await;
        let why = scene.add("one-too-many").await.unwrap_err();
        assert!(why.contains("27"), "{why}");
        let before = scene.calls().mutations();
        for _ in 0..20 {
            scene.add("one-too-many").await.unwrap_err();
        }
        assert_eq!(scene.calls().mutations(), before);
        scene.pass(Duration::from_secs(1)).await;
    });
}
