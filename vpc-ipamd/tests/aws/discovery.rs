//! When the node's ENIs cannot be read, or only from stale sources.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{
    Delays, Ec2Action::*, Ec2Error, ForeignEni, ImdsFault, WorldConfig, code,
};

use crate::support::{Scene, Script};

pub(crate) const SCRIPTS: &[&Script] = &[
    &DESCRIBE_NOT_FOUND,
    &DESCRIBE_FAILS,
    &DESCRIBE_REFUSED_NOT_FOUND,
    &IMDS_PARTIAL,
    &EC2_PARTIAL,
    &IMDS_STALE,
];

/// Metadata that shows changes after so long.
fn late_metadata(late: Duration) -> Scene {
    let config =
        WorldConfig::new("10.0.0.0/16".parse().unwrap()).subnet("10.0.0.0/24".parse().unwrap());
    let scene = Scene::with(config);
    let delays = Delays { attach_to_imds: late, address_to_imds: late, ..Delays::USUAL };
    scene.world().set_delays(delays);
    scene
}

const DESCRIBE_NOT_FOUND: Script = Script {
    name: "describe-not-found",
    fault: "metadata lists an ENI for ten minutes after somebody has deleted it; EC2 does not find it",
    effect: "the ENI is left out, everything else is as EC2 says",
    calls: &[(AssignPrivateIpAddresses, 4), (DescribeNetworkInterfaces, 10)],
    within_s: 662,
};

#[test]
fn an_eni_that_ec2_does_not_find_is_left_out() {
    DESCRIBE_NOT_FOUND.play(
        || late_metadata(Duration::ZERO),
        async |scene| {
            scene.begin().await;
            let now = scene.emulator.now();
            let tags = [("node.k8s.amazonaws.com/no_manage".to_owned(), "true".to_owned())];
            let foreign = ForeignEni { tags: tags.into(), ..ForeignEni::default() };
            let instance = scene.instance.clone();
            let eni = scene.world().attach_foreign(&instance, &foreign, now).unwrap();
            scene.others.insert(eni.clone());
            scene.pass(Duration::from_secs(400)).await;
            let late = Duration::from_secs(600);
            scene.world().set_delays(Delays { attach_to_imds: late, ..Delays::USUAL });
            let now = scene.emulator.now();
            scene.world().evict_eni(&eni, now);
            scene.mark();
            let listed = scene.world().imds_view(&instance, now).unwrap();
            assert!(listed.enis.iter().any(|other| other.id == eni), "metadata has forgotten it");
            scene.serve(0..5).await;
            scene.pass(late).await;
            let errors = &scene.node().backend.call_counts().ec2["DescribeNetworkInterfaces"];
            let lost = errors.errors_by_code.get(code::INVALID_INTERFACE_NOT_FOUND);
            assert!(lost.is_some_and(|n| *n > 0), "nobody asked for it: {errors:?}");
            assert_eq!(scene.said.len(), 0, "{:?}", scene.said);
        },
    );
}

const DESCRIBE_REFUSED_NOT_FOUND: Script = Script {
    name: "describe-listing-not-found",
    fault: "the listing itself is refused three times with InvalidNetworkInterfaceID.NotFound",
    effect: "the node follows metadata, gives nothing up, and reads again",
    calls: &[(AssignPrivateIpAddresses, 4), (DescribeNetworkInterfaces, 5), (DescribeSubnets, 2)],
    within_s: 6,
};

#[test]
fn a_listing_that_is_refused_is_read_again() {
    DESCRIBE_REFUSED_NOT_FOUND.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..3).await;
        scene.kill().await;
        let message = "The networkInterface ID 'eni-0123456789abcdef0' does not exist";
        let lost = Ec2Error::new(code::INVALID_INTERFACE_NOT_FOUND, message);
        scene.mark();
        scene.fail(DescribeNetworkInterfaces, lost, 3);
        scene.start();
        scene.serve(3..5).await;
        scene.pass(Duration::from_secs(1)).await;
        scene.was_told(&["EC2 does not answer", "InvalidNetworkInterfaceID.NotFound"]);
    });
}

const DESCRIBE_FAILS: Script = Script {
    name: "describe-fails-12-times",
    fault: "12 describes in a row fail with InternalError, the SDK's retries included in each",
    effect: "the node follows metadata, serves pods and gives nothing up; reads become rarer",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (DescribeNetworkInterfaces, 46),
        (DescribeSubnets, 2),
        (UnassignPrivateIpAddresses, 1),
    ],
    within_s: 191,
};

#[test]
fn a_node_whose_enis_cannot_be_described_follows_metadata() {
    DESCRIBE_FAILS.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..3).await;
        scene.kill().await;
        scene.mark();
        scene.fail(DescribeNetworkInterfaces, Ec2Error::internal(), 36);
        scene.start();
        scene.serve(3..7).await;
        scene.pass(Duration::from_secs(30)).await;
        scene.was_told(&["EC2 does not answer", "DescribeNetworkInterfaces", "InternalError"]);
        scene.end(0..3).await;
        let page = scene.node().metrics().await;
        assert!(page.contains("vpc_cni_degraded{reason=\"ec2\"} 1"), "{page}");
        scene.was_counted(DescribeNetworkInterfaces, code::INTERNAL_ERROR).await;
    });
}

const IMDS_PARTIAL: Script = Script {
    name: "metadata-partial",
    fault: "metadata shows new ENIs and addresses ten minutes late, and the old one in between",
    effect: "nothing waits for it: EC2 says what the ENI has",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 7),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 2,
};

#[test]
fn metadata_that_shows_a_part_blocks_nothing() {
    IMDS_PARTIAL.play(
        || late_metadata(Duration::from_secs(600)),
        async |scene| {
            scene.begin().await;
            scene.serve(0..14).await;
            let (now, instance) = (scene.emulator.now(), scene.instance.clone());
            let shown = scene.world().imds_view(&instance, now).unwrap().enis.len();
            assert_eq!(shown, 1, "metadata is not late");
            assert_eq!(scene.said.len(), 0, "{:?}", scene.said);
        },
    );
}

const EC2_PARTIAL: Script = Script {
    name: "ec2-partial",
    fault: "EC2 itself gives a new ENI four addresses of nine",
    effect: "what there is is used, the rest is asked for again",
    calls: &[
        (AssignPrivateIpAddresses, 5),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 7),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 2,
};

#[test]
fn an_eni_with_fewer_addresses_than_asked_for_is_used() {
    EC2_PARTIAL.play(Scene::new, async |scene| {
        scene.begin().await;
        let few = vpc_ipam_core::testkit::ec2::Fault::Fewer(4);
        scene.meet(CreateNetworkInterface, few, 1);
        scene.serve(0..16).await;
    });
}

const IMDS_STALE: Script = Script {
    name: "metadata-stale",
    fault: "metadata goes on showing addresses that were given back, and EC2 cannot be asked for 90 s",
    effect: "none of them comes back to the pool",
    calls: &[(DescribeNetworkInterfaces, 23), (UnassignPrivateIpAddresses, 2)],
    within_s: 110,
};

#[test]
fn stale_metadata_does_not_bring_back_addresses() {
    IMDS_STALE.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..6).await;
        scene.settle_now().await;
        // Metadata has caught up.
        scene.pass(Duration::from_secs(10)).await;
        scene.mark();
        let (now, instance) = (scene.emulator.now(), scene.instance.clone());
        let hour = ImdsFault::Frozen(Duration::from_secs(3600));
        scene.world().break_imds(&instance, hour, now);
        scene.end(0..5).await;
        let limit = Duration::from_secs(300);
        scene
            .until("addresses to be given back", limit, async |scene| {
                scene.calls().of(UnassignPrivateIpAddresses) > 0
            })
            .await;
        let total = scene.total().await;
        assert!(total < 8, "{total}");
        scene.fail(DescribeNetworkInterfaces, Ec2Error::internal(), 10_000);
        for _ in 0..90 {
            scene.pass(Duration::from_secs(1)).await;
            let now = scene.total().await;
            assert!(now <= total, "{now} addresses, {total} before: metadata brought some back");
        }
        scene.heal();
        let shown = scene.world().imds_view(&instance, scene.emulator.now()).unwrap();
        assert!(shown.enis[0].local_ipv4s.len() >= 9, "metadata is not stale: {shown:?}");
    });
}
