//! When the daemon is killed in the middle of something.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{AttachmentStatus, Ec2Action::*, Ec2Error, Fault};

use crate::support::{FOREVER, Scene, Script, prepare, provoke, with_spare_eni};

pub(crate) const SCRIPTS: &[&Script] = &[
    &BEFORE_ATTACH,
    &BEFORE_MODIFY,
    &WHILE_ATTACHING,
    &WHILE_DETACHING,
    &WHILE_ASSIGNING,
    &WHILE_UNASSIGNING,
    &WHILE_SAVING,
];

/// What is waited for comes within seconds.
const SOON: Duration = Duration::from_secs(120);

/// Pods that were waiting ask the next daemon.
async fn restart(scene: &mut Scene) {
    scene.kill().await;
    scene.heal();
    scene.start();
}

/// Kills the daemon while the SDK tries a call of `action` again.
async fn between(scene: &mut Scene, action: vpc_ipam_core::testkit::ec2::Ec2Action) {
    prepare(scene, action).await;
    scene.fail(action, Ec2Error::throttled(), FOREVER);
    provoke(scene, action).await;
    scene.until("the call", SOON, async |scene| scene.calls().of(action) > 0).await;
    restart(scene).await;
}

const BEFORE_ATTACH: Script = Script {
    name: "killed-before-attach",
    fault: "the daemon is killed between CreateNetworkInterface and AttachNetworkInterface",
    effect: "another ENI is made; the sweep removes the first one within 65 minutes",
    calls: &[
        (AssignPrivateIpAddresses, 7),
        (AttachNetworkInterface, 2),
        (CreateNetworkInterface, 2),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 34),
        (DescribeSubnets, 5),
        (ModifyNetworkInterfaceAttribute, 1),
    ],
    within_s: 4380,
};

#[test]
fn the_daemon_dies_before_it_attaches() {
    BEFORE_ATTACH.play(Scene::new, async |scene| between(scene, AttachNetworkInterface).await);
}

const BEFORE_MODIFY: Script = Script {
    name: "killed-before-modify",
    fault: "the daemon is killed between AttachNetworkInterface and ModifyNetworkInterfaceAttribute",
    effect: "the next daemon uses the ENI, and makes it vanish with its instance",
    calls: &[
        (AssignPrivateIpAddresses, 8),
        (AttachNetworkInterface, 1),
        (CreateNetworkInterface, 1),
        (DescribeNetworkInterfaces, 5),
        (DescribeSubnets, 2),
        (ModifyNetworkInterfaceAttribute, 2),
    ],
    within_s: 35,
};

#[test]
fn the_daemon_dies_before_it_marks_the_eni() {
    BEFORE_MODIFY.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.fail(ModifyNetworkInterfaceAttribute, Ec2Error::throttled(), FOREVER);
        scene.launch(0..12);
        scene
            .until("an ENI that is attached", SOON, async |scene| {
                let instance = scene.instance.clone();
                let world = scene.world();
                let enis = world.enis_of(&instance);
                let attached = enis.iter().filter_map(|eni| eni.attachment.as_ref());
                attached.filter(|a| a.status == AttachmentStatus::Attached).count() == 2
            })
            .await;
        let enis: Vec<_> = scene.world().enis().map(|eni| eni.id.clone()).collect();
        restart(scene).await;
        scene.served().await;
        scene.settle_now().await;
        let now: Vec<_> = scene.world().enis().map(|eni| eni.id.clone()).collect();
        assert_eq!(now, enis, "the ENI was not used");
    });
}

const WHILE_ATTACHING: Script = Script {
    name: "killed-while-attaching",
    fault: "the daemon is killed while a new ENI is being attached",
    effect: "the next daemon uses the ENI; one that it made in its place before EC2 showed it is given back",
    calls: &[
        (AssignPrivateIpAddresses, 6),
        (AttachNetworkInterface, 2),
        (CreateNetworkInterface, 2),
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 22),
        (DescribeSubnets, 2),
        (DetachNetworkInterface, 1),
        (ModifyNetworkInterfaceAttribute, 2),
        (UnassignPrivateIpAddresses, 1),
    ],
    within_s: 205,
};

#[test]
fn the_daemon_dies_while_an_eni_is_attached() {
    WHILE_ATTACHING.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.launch(0..12);
        scene
            .until("an ENI that is being attached", SOON, async |scene| {
                let world = scene.world();
                let mut enis = world.enis().filter_map(|eni| eni.attachment.as_ref());
                enis.any(|attachment| attachment.status == AttachmentStatus::Attaching)
            })
            .await;
        restart(scene).await;
        // What was made in its place goes when it is old enough.
        scene.served().await;
        scene.pass(Duration::from_secs(180)).await;
    });
}

const WHILE_DETACHING: Script = Script {
    name: "killed-while-detaching",
    fault: "the daemon is killed between DetachNetworkInterface and DeleteNetworkInterface",
    effect: "the sweep removes the ENI within 65 minutes",
    calls: &[
        (DeleteNetworkInterface, 1),
        (DescribeNetworkInterfaces, 30),
        (DescribeSubnets, 5),
        (DetachNetworkInterface, 1),
        (UnassignPrivateIpAddresses, 2),
    ],
    within_s: 4440,
};

#[test]
fn the_daemon_dies_while_an_eni_is_detached() {
    WHILE_DETACHING.play(Scene::new, async |scene| {
        with_spare_eni(scene).await;
        scene.end(0..14).await;
        let limit = Duration::from_secs(300);
        scene
            .until("a detachment", limit, async |scene| {
                scene.calls().of(DetachNetworkInterface) > 0
            })
            .await;
        assert_eq!(scene.calls().of(DeleteNetworkInterface), 0);
        restart(scene).await;
    });
}

const WHILE_ASSIGNING: Script = Script {
    name: "killed-while-assigning",
    fault: "EC2 assigns addresses, the answer is lost, and the daemon is killed",
    effect: "the next daemon finds the addresses and uses them",
    calls: &[(AssignPrivateIpAddresses, 6), (DescribeNetworkInterfaces, 3), (DescribeSubnets, 2)],
    within_s: 7,
};

#[test]
fn the_daemon_dies_while_addresses_are_assigned() {
    WHILE_ASSIGNING.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.meet(AssignPrivateIpAddresses, Fault::AnswerLost(Ec2Error::no_answer()), 1);
        scene.fail(AssignPrivateIpAddresses, Ec2Error::throttled(), FOREVER);
        scene.launch(0..6);
        scene
            .until("the call", SOON, async |scene| scene.calls().of(AssignPrivateIpAddresses) > 0)
            .await;
        restart(scene).await;
    });
}

const WHILE_UNASSIGNING: Script = Script {
    name: "killed-while-unassigning",
    fault: "the daemon is killed while it gives addresses back",
    effect: "the next daemon finds what EC2 still has, and gives it back",
    calls: &[(DescribeNetworkInterfaces, 3), (DescribeSubnets, 2), (UnassignPrivateIpAddresses, 2)],
    within_s: 1,
};

#[test]
fn the_daemon_dies_while_addresses_are_given_back() {
    WHILE_UNASSIGNING
        .play(Scene::new, async |scene| between(scene, UnassignPrivateIpAddresses).await);
}

const WHILE_SAVING: Script = Script {
    name: "killed-while-saving",
    fault: "the daemon is killed while it writes the state file",
    effect: "the pod had no answer yet and asks again; no address is lost or leased twice",
    calls: &[(AssignPrivateIpAddresses, 4), (DescribeNetworkInterfaces, 3), (DescribeSubnets, 2)],
    within_s: 7,
};

#[test]
fn the_daemon_dies_while_it_writes_its_state() {
    WHILE_SAVING.play(Scene::new, async |scene| {
        scene.begin().await;
        scene.serve(0..3).await;
        scene.settle_now().await;
        scene.mark();
        scene.store.stop_before_rename();
        scene.launch(3..5);
        scene.pass(Duration::from_millis(1)).await;
        assert!(scene.store.temporary().is_some(), "nothing was being written");
        restart(scene).await;
    });
}
