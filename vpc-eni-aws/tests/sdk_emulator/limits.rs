//! What an instance type can hold, from the built-in table and from EC2.

use vpc_eni_aws::limits;
use vpc_ipam_core::{
    cloud::{CloudBackend, CloudErrorKind, InstanceLimits},
    testkit::ec2::{Ec2Action, Ec2Error, IMAGINARY_TYPE, instance_types},
};

use crate::support::{Cloud, one};

#[tokio::test]
async fn types_of_the_table_are_not_asked_for() {
    for (name, card_enis) in [("m5.metal", vec![15]), ("p4d.24xlarge", vec![15; 4])] {
        let cloud = Cloud::start(&one(name, "10.0.0.0/24"));
        let limits = cloud.backend.instance().await.unwrap().limits;
        let want = InstanceLimits { enis: 15, ipv4_per_eni: 50, card_enis, prefixes: true };
        assert_eq!(limits, want, "{name}");
        assert_eq!(cloud.backend.call_counts().ec2_requests(), 0, "{name}");
    }
}

#[tokio::test]
async fn types_beyond_the_table_are_asked_for_once() {
    assert_eq!(limits::lookup(IMAGINARY_TYPE), None);
    let cloud = Cloud::start(&one(IMAGINARY_TYPE, "10.0.0.0/24"));
    let limits = cloud.backend.instance().await.unwrap().limits;
    // Of the ENIs of both cards, those of the default card count.
    let want = InstanceLimits { enis: 5, ipv4_per_eni: 14, card_enis: vec![5, 7], prefixes: true };
    assert_eq!(limits, want);
    cloud.backend.instance().await.unwrap();
    assert_eq!(cloud.backend.call_counts().ec2["DescribeInstanceTypes"].requests, 1);
}

#[tokio::test]
async fn without_limits_the_instance_does_not_start() {
    let cloud = Cloud::start(&one(IMAGINARY_TYPE, "10.0.0.0/24"));
    let action = Ec2Action::DescribeInstanceTypes;
    cloud.world().faults_mut().fail(action, Ec2Error::unauthorized(), 1);
    let error = cloud.backend.instance().await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::PermissionDenied);
    assert_eq!(error.action, "DescribeInstanceTypes");
    assert!(error.message.contains(IMAGINARY_TYPE), "{error}");
}

#[test]
fn the_table_agrees_with_the_emulated_ec2() {
    let mut compared = 0;
    for emulated in instance_types() {
        if let Some(limits) = limits::known(emulated.name) {
            assert_eq!(limits, emulated.limits(), "{}", emulated.name);
            compared += 1;
        }
    }
    assert_eq!(compared, instance_types().len() - 1, "all but {IMAGINARY_TYPE}");
}
