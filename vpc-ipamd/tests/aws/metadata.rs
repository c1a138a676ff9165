//! When instance metadata does not answer, or answers wrongly.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action::*, ImdsFault};

use crate::support::{Scene, Script};

pub(crate) const SCRIPTS: &[&Script] =
    &[&IMDS_401, &IMDS_404, &IMDS_405, &IMDS_500, &IMDS_AWAY_AN_HOUR, &IMDS_OMITS];

const TOKEN: &str = "/latest/api/token";
const VALUES: &str = "/latest/meta-data";

/// A node that starts while the next requests below `path` are answered with `status`.
async fn refused(scene: &mut Scene, path: &str, status: u16, times: u32) {
    scene.emulator.fail_imds(path, status, times);
    scene.mark();
    scene.start();
    scene.serve(0..3).await;
}

const IMDS_401: Script = Script {
    name: "metadata-401",
    fault: "metadata refuses its own tokens 20 times while the node starts",
    effect: "tokens are fetched anew; tried again with growing pauses",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 3),
        (DescribeSubnets, 2),
    ],
    within_s: 102,
};

#[test]
fn metadata_answers_401() {
    IMDS_401.play(Scene::new, async |scene| refused(scene, VALUES, 401, 20).await);
}

const IMDS_404: Script = Script {
    name: "metadata-404",
    fault: "metadata has no tokens (404) 20 times while the node starts",
    effect: "tried again with growing pauses",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 4),
        (DescribeSubnets, 2),
    ],
    within_s: 300,
};

#[test]
fn metadata_answers_404() {
    IMDS_404.play(Scene::new, async |scene| refused(scene, TOKEN, 404, 20).await);
}

const IMDS_405: Script = Script {
    name: "metadata-405",
    fault: "metadata allows no tokens (405) 20 times while the node starts",
    effect: "tried again with growing pauses",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 4),
        (DescribeSubnets, 2),
    ],
    within_s: 300,
};

#[test]
fn metadata_answers_405() {
    IMDS_405.play(Scene::new, async |scene| refused(scene, TOKEN, 405, 20).await);
}

const IMDS_500: Script = Script {
    name: "metadata-500",
    fault: "metadata answers 100 requests with 500 while the node starts",
    effect: "pods are refused with the reason; tried again with growing pauses",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 5),
        (DescribeSubnets, 2),
    ],
    within_s: 1000,
};

#[test]
fn metadata_answers_500() {
    IMDS_500.play(Scene::new, async |scene| refused(scene, "/latest", 500, 100).await);
}

const IMDS_AWAY_AN_HOUR: Script = Script {
    name: "metadata-away-an-hour",
    fault: "metadata answers nothing but 503 for an hour, while pods come and go",
    effect: "EC2 alone will do: pods are served, an ENI is made and given back; the health page says what is missing",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 39),
        (DescribeSubnets, 3),
        (DetachNetworkInterface, 1),
        (ModifyNetworkInterfaceAttribute, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 3960,
};

#[test]
fn an_hour_without_metadata() {
    IMDS_AWAY_AN_HOUR.play(Scene::new, async |scene| {
        scene.begin().await;
        let (now, instance) = (scene.emulator.now(), scene.instance.clone());
        scene.world().break_imds(&instance, ImdsFault::Status(503), now);
        scene.serve(0..14).await;
        scene.pass(Duration::from_secs(1800)).await;
        scene.end(2..14).await;
        scene.pass(Duration::from_secs(1800)).await;
        scene.was_told(&["instance: who is this node?", "503"]);
        scene.world().heal_imds(&instance);
    });
}

const IMDS_OMITS: Script = Script {
    name: "metadata-omits",
    fault: "for ten minutes metadata lists no ENI at all",
    effect: "EC2 says what there is; nothing is given up",
    calls: &[
        (AssignPrivateIpAddresses, 7),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 13),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 666,
};

#[test]
fn metadata_without_enis() {
    IMDS_OMITS.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..3).await;
        let (now, instance) = (scene.emulator.now(), scene.instance.clone());
        scene.world().break_imds(&instance, ImdsFault::Empty, now);
        scene.serve(3..12).await;
        scene.pass(Duration::from_secs(600)).await;
        scene.world().heal_imds(&instance);
    });
}
