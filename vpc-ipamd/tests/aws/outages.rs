//! When EC2 is out of reach.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action::*, Ec2Error, ImdsFault};

use crate::support::{Scene, Script};

pub(crate) const SCRIPTS: &[&Script] = &[&EC2_AWAY_AT_START, &ALL_AWAY_AT_START, &EC2_AWAY_AN_HOUR];

fn away() -> Ec2Error {
    Ec2Error::new("Unavailable", "The service is unavailable.")
}

const EC2_AWAY_AT_START: Script = Script {
    name: "ec2-away-at-start",
    fault: "EC2 answers every call with 503 for ten minutes while a new node starts",
    effect: "pods are refused with the reason; the node is there within half a minute of EC2",
    calls: &[
        (AssignPrivateIpAddresses, 58),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 75),
        (DescribeSubnets, 6),
    ],
    within_s: 820,
};

#[test]
fn a_new_node_starts_without_ec2() {
    EC2_AWAY_AT_START.play(Scene::new, async |scene| {
        scene.cut_off(&away());
        scene.mark();
        scene.start();
        scene.launch(0..3);
        scene.pass(Duration::from_secs(600)).await;
        scene.was_told(&["EC2 does not answer", "Unavailable"]);
        scene.heal();
    });
}

const ALL_AWAY_AT_START: Script = Script {
    name: "all-away-at-start",
    fault: "neither EC2 nor metadata answers for ten minutes while the daemon of a node with pods starts",
    effect: "what the node remembers serves: pods keep their addresses, free ones are given out",
    calls: &[(AssignPrivateIpAddresses, 3), (DescribeNetworkInterfaces, 3), (DescribeSubnets, 2)],
    within_s: 707,
};

#[test]
fn a_node_with_pods_starts_without_anything() {
    ALL_AWAY_AT_START.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..3).await;
        scene.settle_now().await;
        scene.kill().await;
        scene.mark();
        scene.cut_off(&away());
        let (now, instance) = (scene.emulator.now(), scene.instance.clone());
        scene.world().break_imds(&instance, ImdsFault::Status(503), now);
        scene.start();
        scene.serve(3..5).await;
        assert!(scene.began.elapsed() < Duration::from_secs(60), "{:?}", scene.began.elapsed());
        scene.end(0..1).await;
        scene.pass(Duration::from_secs(600)).await;
        scene.was_told(&["serves the addresses that it remembers"]);
        scene.heal();
        scene.world().heal_imds(&instance);
    });
}

const EC2_AWAY_AN_HOUR: Script = Script {
    name: "ec2-away-an-hour",
    fault: "EC2 answers every call with 503 for an hour, while pods come and go",
    effect: "two pods have the free addresses, the others are refused with the reason; nothing is given up",
    calls: &[
        (AssignPrivateIpAddresses, 200),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 200),
        (DescribeNetworkInterfaces, 260),
        (DescribeSubnets, 200),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 4020,
};

#[test]
fn an_hour_without_ec2() {
    EC2_AWAY_AN_HOUR.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..6).await;
        scene.settle_now().await;
        scene.mark();
        scene.cut_off(&away());
        scene.serve(6..8).await;
        scene.launch(8..11);
        scene.pass(Duration::from_secs(1800)).await;
        scene.was_told(&["the last attempt to grow failed", "Unavailable"]);
        scene.end(0..3).await;
        scene.served().await;
        scene.pass(Duration::from_secs(1800)).await;
        scene.was_told(&["EC2 does not answer", "Unavailable"]);
        scene.heal();
    });
}
