//! What is kept up in EC2 and in the kernel beside the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use vpc_ipam_core::{
    id::EniId,
    testkit::ec2::{
        CreateNetworkInterface as Create, Ec2Action::*, Ec2Error,
        ModifyNetworkInterfaceAttribute as Modify, code,
    },
};

use crate::support::{FOREVER, Scene, Script};

pub(crate) const SCRIPTS: &[&Script] = &[
    &GROUPS_CHANGE,
    &GROUPS_DENIED,
    &VPC_BLOCK,
    &LEAKED_OLD,
    &LEAKED_YOUNG,
    &LEAKED_UNSTAMPED,
    &LEAKED_FOREIGN,
    &LEAKED_DENIED,
];

const INSTANCE_ID: &str = "node.k8s.amazonaws.com/instance_id";
const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";
/// An hour, five minutes of spread, and some for the calls.
const SWEEP: Duration = Duration::from_secs(3600 + 300 + 60);

/// A node with two ENIs, whose primary one is given another security group by somebody.
async fn change_groups(scene: &mut Scene) -> impl Fn(&Scene) -> bool + use<> {
    scene.begin().await;
    scene.serve(0..12).await;
    scene.settle_now().await;
    let now = scene.emulator.now();
    let group = {
        let mut world = scene.world();
        let (vpc, eni) = (world.vpcs()[0].id.clone(), world.instances()[0].primary_eni.clone());
        let group = world.add_security_group(&vpc, "new").unwrap();
        let change = Modify::Groups { eni, groups: vec![group.clone()] };
        world.modify_network_interface_attribute(&change, now).unwrap();
        group
    };
    scene.mark();
    move |scene| scene.world().enis().all(|eni| eni.groups == [group.clone()])
}

const GROUPS_CHANGE: Script = Script {
    name: "security-groups-change",
    fault: "somebody gives the primary ENI another security group",
    effect: "the other ENIs have it within 30 s of metadata showing it",
    calls: &[(ModifyNetworkInterfaceAttribute, 1)],
    within_s: 35,
};

#[test]
fn security_groups_follow_the_primary_eni() {
    GROUPS_CHANGE.play(Scene::new, async |scene| {
        let is_everywhere = change_groups(scene).await;
        assert!(!is_everywhere(scene));
        let limit = Duration::from_secs(35);
        scene.until("the group on every ENI", limit, async |scene| is_everywhere(scene)).await;
    });
}

const GROUPS_DENIED: Script = Script {
    name: "security-groups-denied",
    fault: "the same, and ec2:ModifyNetworkInterfaceAttribute is missing in the IAM role for five minutes",
    effect: "the health page says so; tried again with growing pauses, at least every ten minutes",
    calls: &[(DescribeNetworkInterfaces, 5), (ModifyNetworkInterfaceAttribute, 5)],
    within_s: 531,
};

#[test]
fn security_groups_wait_for_the_permission() {
    GROUPS_DENIED.play(Scene::new, async |scene| {
        let is_everywhere = change_groups(scene).await;
        scene.fail(ModifyNetworkInterfaceAttribute, Ec2Error::unauthorized(), FOREVER);
        scene.pass(Duration::from_secs(300)).await;
        scene.was_told(&["permissions: ", "ec2:ModifyNetworkInterfaceAttribute"]);
        scene.was_told(&["security_groups: ", "ec2:ModifyNetworkInterfaceAttribute"]);
        scene.was_counted(ModifyNetworkInterfaceAttribute, code::UNAUTHORIZED_OPERATION).await;
        scene.heal();
        let limit = Duration::from_secs(330);
        scene.until("the group on every ENI", limit, async |scene| is_everywhere(scene)).await;
    });
}

const VPC_BLOCK: Script = Script {
    name: "vpc-block-added",
    fault: "the VPC gets another CIDR block",
    effect: "the kernel does not translate traffic to it any more within 30 s",
    calls: &[],
    within_s: 35,
};

#[test]
fn the_kernel_learns_of_a_new_block_within_half_a_minute() {
    VPC_BLOCK.play(Scene::new, async |scene| {
        scene.begin().await;
        let block = "10.1.0.0/16".parse().unwrap();
        let vpc = scene.world().vpcs()[0].id.clone();
        scene.world().add_vpc_cidr(&vpc, block).unwrap();
        let limit = Duration::from_secs(31);
        scene
            .until("the block in the kernel", limit, async |scene| {
                scene.datapath.node().unwrap().vpc_cidrs.contains(&block)
            })
            .await;
    });
}

/// An ENI that another node has lost, with this description and stamp.
fn leak(scene: &mut Scene, description: &str, stamp: Option<&str>) -> EniId {
    let (now, subnet) = (scene.emulator.now(), scene.subnet());
    let mut tags = BTreeMap::from([(INSTANCE_ID.to_owned(), "i-0another".to_owned())]);
    tags.extend(stamp.map(|stamp| (CREATED_AT.to_owned(), stamp.to_owned())));
    let mut request = Create::new(subnet);
    request.description = description.to_owned();
    request.tags = tags;
    scene.world().create_network_interface(&request, now).unwrap().id.clone()
}

fn is_there(scene: &Scene, eni: &EniId) -> bool {
    scene.world().eni(eni).is_some()
}

const LEAKED_OLD: Script = Script {
    name: "leaked-old",
    fault: "another node has left an ENI of ours behind an hour ago",
    effect: "the sweep deletes it within 65 minutes",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 1),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 5),
        (DescribeSubnets, 2),
    ],
    within_s: 183,
};

#[test]
fn an_old_leaked_eni_is_deleted() {
    LEAKED_OLD.play(Scene::new, async |scene| {
        let eni = leak(scene, "aws-K8S-i-0another", Some("2026-01-01T00:00:00Z"));
        scene.mark();
        scene.start();
        scene.until("its end", SWEEP, async |scene| !is_there(scene, &eni)).await;
    });
}

const LEAKED_YOUNG: Script = Script {
    name: "leaked-young",
    fault: "an unattached ENI of ours is younger than five minutes",
    effect: "the first sweep leaves it alone, since its node may be about to attach it; the next one deletes it",
    calls: &[
        (AssignPrivateIpAddresses, 6),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 32),
        (DescribeSubnets, 5),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 4380,
};

#[test]
fn a_young_eni_is_left_alone() {
    LEAKED_YOUNG.play(Scene::new, async |scene| {
        scene.begin().await;
        let known: BTreeSet<EniId> = scene.world().enis().map(|eni| eni.id.clone()).collect();
        // A daemon that dies before it attaches what it has created.
        scene.fail(AttachNetworkInterface, Ec2Error::throttled(), FOREVER);
        scene.launch(0..12);
        let limit = Duration::from_secs(60);
        scene
            .until("an ENI", limit, async |scene| scene.world().enis().count() > known.len())
            .await;
        scene.kill().await;
        scene.heal();
        let new = scene.world().enis().find(|eni| !known.contains(&eni.id)).unwrap().id.clone();
        scene.mark();
        scene.start();
        // The first sweep is over.
        scene.pass(Duration::from_secs(300)).await;
        assert!(is_there(scene, &new), "deleted by a sweep though it is younger than five minutes");
        scene.until("its end", SWEEP, async |scene| !is_there(scene, &new)).await;
    });
}

const LEAKED_UNSTAMPED: Script = Script {
    name: "leaked-unstamped",
    fault: "an unattached ENI of ours does not say since when it exists",
    effect: "the first sweep stamps it, the next one deletes it",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 2),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 26),
        (DescribeSubnets, 5),
    ],
    within_s: 4380,
};

#[test]
fn an_eni_of_unknown_age_is_stamped_first() {
    LEAKED_UNSTAMPED.play(Scene::new, async |scene| {
        let eni = leak(scene, "aws-K8S-i-0another", None);
        scene.mark();
        scene.start();
        let stamped = async |scene: &Scene| {
            scene.world().eni(&eni).is_some_and(|eni| eni.tags.contains_key(CREATED_AT))
        };
        scene.until("a stamp", SWEEP, stamped).await;
        assert_eq!(scene.calls().of(DeleteNetworkInterface), 0);
        scene.until("its end", SWEEP, async |scene| !is_there(scene, &eni)).await;
    });
}

const LEAKED_FOREIGN: Script = Script {
    name: "leaked-foreign",
    fault: "an old unattached ENI has our tag, but a description of its own",
    effect: "it is left alone",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 1),
        (DescribeNetworkInterfaces, 44),
        (DescribeSubnets, 7),
    ],
    within_s: 8220,
};

#[test]
fn an_eni_that_is_described_otherwise_is_left_alone() {
    LEAKED_FOREIGN.play(Scene::new, async |scene| {
        let eni = leak(scene, "a database's", Some("2026-01-01T00:00:00Z"));
        scene.mark();
        scene.start();
        scene.pass(2 * SWEEP).await;
        assert!(is_there(scene, &eni));
    });
}

const LEAKED_DENIED: Script = Script {
    name: "leaked-denied",
    fault: "an old leaked ENI, and ec2:DeleteNetworkInterface is missing in the IAM role for an hour",
    effect: "the health page says so; the next sweep deletes it",
    calls: &[
        (AssignPrivateIpAddresses, 3),
        (CreateTags, 1),
        (DeleteNetworkInterface, 2),
        (DescribeNetworkInterfaces, 26),
        (DescribeSubnets, 5),
    ],
    within_s: 4380,
};

#[test]
fn a_leaked_eni_waits_for_the_permission() {
    LEAKED_DENIED.play(Scene::new, async |scene| {
        let eni = leak(scene, "aws-K8S-i-0another", Some("2026-01-01T00:00:00Z"));
        scene.fail(DeleteNetworkInterface, Ec2Error::unauthorized(), FOREVER);
        scene.mark();
        scene.start();
        scene.pass(SWEEP).await;
        scene.was_told(&["leaked_enis: ", "ec2:DeleteNetworkInterface"]);
        scene.was_told(&["permissions: ", "ec2:DeleteNetworkInterface"]);
        assert!(is_there(scene, &eni));
        scene.heal();
        scene.until("its end", SWEEP, async |scene| !is_there(scene, &eni)).await;
    });
}
