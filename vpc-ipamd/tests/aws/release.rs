//! When something cannot be given back.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action::*, Ec2Error};

use crate::support::{Scene, Script, with_spare_eni};

pub(crate) const SCRIPTS: &[&Script] = &[&DELETE_FAILS, &DETACH_FAILS, &UNASSIGN_FAILS];

fn in_use() -> Ec2Error {
    Ec2Error::invalid_value("Network interface 'eni-1' is currently in use.")
}

const DELETE_FAILS: Script = Script {
    name: "delete-fails-11-times",
    fault: "DeleteNetworkInterface of a detached ENI is refused 11 times: still in use",
    effect: "tried again for up to five minutes; the twelfth try succeeds",
    calls: &[
        (DeleteNetworkInterface, 12),
        (DescribeNetworkInterfaces, 28),
        (DetachNetworkInterface, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 407,
};

#[test]
fn an_eni_that_cannot_be_deleted_is_deleted_later() {
    DELETE_FAILS.play(Scene::new, async |scene| {
        with_spare_eni(scene).await;
        scene.fail(DeleteNetworkInterface, in_use(), 11);
        scene.end(0..14).await;
        let limit = Duration::from_secs(600);
        scene
            .until("12 tries", limit, async |scene| scene.calls().of(DeleteNetworkInterface) == 12)
            .await;
    });
}

const DETACH_FAILS: Script = Script {
    name: "detach-fails",
    fault: "DetachNetworkInterface is refused five times with an error that is not worth the SDK's retries",
    effect: "tried again with growing pauses",
    calls: &[
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 8),
        (DetachNetworkInterface, 6),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 45,
};

#[test]
fn an_eni_that_cannot_be_detached_is_detached_later() {
    DETACH_FAILS.play(Scene::new, async |scene| {
        with_spare_eni(scene).await;
        scene.fail(DetachNetworkInterface, Ec2Error::new("IncorrectState", "Not now."), 5);
        scene.end(0..14).await;
        let limit = Duration::from_secs(300);
        scene
            .until("6 tries", limit, async |scene| scene.calls().of(DetachNetworkInterface) == 6)
            .await;
    });
}

const UNASSIGN_FAILS: Script = Script {
    name: "unassign-fails",
    fault: "UnassignPrivateIpAddresses fails for nine requests with InternalError",
    effect: "the addresses come back to the pool as EC2 shows them, and are given back later",
    calls: &[(DescribeNetworkInterfaces, 8), (UnassignPrivateIpAddresses, 10)],
    within_s: 184,
};

#[test]
fn addresses_that_cannot_be_given_back_stay_known() {
    UNASSIGN_FAILS.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..6).await;
        scene.settle_now().await;
        scene.mark();
        scene.fail(UnassignPrivateIpAddresses, Ec2Error::internal(), 9);
        scene.end(0..5).await;
        let limit = Duration::from_secs(900);
        scene
            .until("success", limit, async |scene| {
                scene.calls().of(UnassignPrivateIpAddresses) >= 10
            })
            .await;
        scene.was_told(&["give something back", "UnassignPrivateIpAddresses", "InternalError"]);
    });
}
