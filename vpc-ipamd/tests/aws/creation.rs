//! When a new ENI cannot be made.

use vpc_ipam_core::testkit::ec2::{Ec2Action, Ec2Error, code};

use crate::support::{Scene, Script};

pub(crate) const SCRIPTS: &[&Script] = &[&ATTACH_REFUSED];

const ATTACH_REFUSED: Script = Script {
    name: "attach-refused",
    fault: "AttachNetworkInterface is refused once",
    effect: "the new ENI is deleted again; another one is made a second later",
    calls: &[
        (Ec2Action::AssignPrivateIpAddresses, 4),
        (Ec2Action::AttachNetworkInterface, 2),
        (Ec2Action::CreateNetworkInterface, 2),
        (Ec2Action::DeleteNetworkInterface, 1),
        (Ec2Action::DescribeNetworkInterfaces, 12),
        (Ec2Action::ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 10,
};

#[test]
fn an_eni_that_cannot_be_attached_is_deleted() {
    ATTACH_REFUSED.play(Scene::new, async |scene| {
        scene.begin().await;
        let refused =
            Ec2Error::new(code::ATTACHMENT_LIMIT_EXCEEDED, "Interface count exceeds the limit.");
        scene.fail(Ec2Action::AttachNetworkInterface, refused, 1);
        scene.serve((0..12).map(|n| format!("p{n}"))).await;
        scene.was_told(&[
            "AttachNetworkInterface",
            "AttachmentLimitExceeded",
            "larger instance type",
        ]);
    });
}
