//! How a node is brought to call one particular EC2 action.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::Ec2Action;

use super::scene::Scene;

/// A node with two ENIs, one of which it gives back when its pods have gone.
pub(crate) async fn with_spare_eni(scene: &mut Scene) {
    scene.begin().await;
    scene.serve(0..14).await;
    scene.settle_now().await;
    // Younger ENIs are not given back.
    scene.pass(Duration::from_secs(90)).await;
    scene.mark();
}

/// Brings the node to where [`provoke`] makes it call `action`; counting begins after that.
pub(crate) async fn prepare(scene: &mut Scene, action: Ec2Action) {
    match action {
        Ec2Action::DeleteNetworkInterface | Ec2Action::DetachNetworkInterface => {
            with_spare_eni(scene).await;
        }
        Ec2Action::UnassignPrivateIpAddresses => {
            scene.begin().await;
            scene.serve(0..6).await;
            scene.settle_now().await;
            scene.mark();
        }
        Ec2Action::DescribeNetworkInterfaces | Ec2Action::DescribeSubnets => {
            scene.begin().await;
            scene.serve(0..3).await;
            scene.settle_now().await;
            scene.kill().await;
            scene.mark();
        }
        _ => scene.begin().await,
    }
}

/// Does what makes the node call `action`.
pub(crate) async fn provoke(scene: &mut Scene, action: Ec2Action) {
    match action {
        Ec2Action::DeleteNetworkInterface | Ec2Action::DetachNetworkInterface => {
            scene.end(0..14).await;
        }
        Ec2Action::UnassignPrivateIpAddresses => scene.end(0..5).await,
        Ec2Action::DescribeNetworkInterfaces => {
            scene.start();
            scene.launch(3..5);
        }
        Ec2Action::DescribeSubnets => {
            scene.start();
            scene.launch(3..12);
        }
        Ec2Action::AssignPrivateIpAddresses => scene.launch(0..6),
        Ec2Action::AttachNetworkInterface
        | Ec2Action::CreateNetworkInterface
        | Ec2Action::ModifyNetworkInterfaceAttribute => scene.launch(0..12),
        other => panic!("nothing is known that would make the node call {other}"),
    }
}
