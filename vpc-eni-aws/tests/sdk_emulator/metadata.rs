//! EC2 is the authority, metadata a hint; either may be out of reach.

use std::time::Duration;

use vpc_ipam_core::{
    cloud::{AddressCount, Authority, CloudBackend, CloudErrorKind as Kind},
    testkit::ec2::Delays,
};

use crate::support::{Cloud, Server, find, ids, m5_large, prefixes, secondary, sorted};

/// Metadata that is an hour late.
fn stale() -> Delays {
    let mut delays = Delays::NONE;
    delays.attach_to_imds = Duration::from_secs(3600);
    delays.address_to_imds = Duration::from_secs(3600);
    delays
}

#[tokio::test]
async fn stale_metadata_neither_delays_nor_hides_nor_revives_anything() {
    let cloud = Cloud::start(&m5_large().delays(stale()));
    let eni = cloud.backend.create_eni(&secondary(3)).await.unwrap();
    let added = cloud.backend.assign_addresses(&eni.id, AddressCount::Secondary(1)).await.unwrap();
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!(view.authority, Authority::Ec2);
    let held = [eni.cidrs.clone(), added].concat();
    assert_eq!(sorted(find(&view, &eni.id).cidrs.clone()), sorted(held));

    // Metadata catches up, then goes on showing what EC2 has forgotten.
    cloud.advance(Duration::from_secs(4000));
    cloud.backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(ids(&cloud.backend.describe().await.unwrap()), [cloud.primary()]);
    let imds = cloud.world().imds_view(&cloud.instance, cloud.now()).unwrap();
    assert_eq!(imds.enis.len(), 2, "metadata was to be stale");
}

#[tokio::test]
async fn metadata_stands_in_for_ec2_and_says_so() {
    let mut cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(2)).await.unwrap();
    let block = cloud.backend.assign_addresses(&eni.id, AddressCount::Prefixes(1)).await.unwrap();
    let before = cloud.backend.describe().await.unwrap();
    assert!(cloud.backend.ec2_failure().is_none());

    let url = cloud.stop_ec2().await;
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!(view.authority, Authority::Imds);
    assert_eq!(ids(&view), ids(&before));
    let seen = find(&view, &eni.id);
    // Tags cannot come from metadata: they are remembered.
    let mut expected = find(&before, &eni.id).clone();
    expected.cidrs.sort();
    assert_eq!(sorted(seen.cidrs.clone()), expected.cidrs);
    assert!(seen.cidrs.contains(&block[0]));
    assert_eq!((&seen.tags, seen.device, seen.mac), (&expected.tags, 1, expected.mac));
    assert_eq!(seen.primary_ip, expected.primary_ip);
    assert_eq!(seen.subnet_cidr, expected.subnet_cidr);
    assert!(find(&view, &cloud.primary()).primary);
    let failure = cloud.backend.ec2_failure().unwrap();
    assert_eq!(failure.kind, Kind::Unreachable);
    assert!(failure.message.contains("EC2 did not answer"), "{failure}");

    // What changes something is not attempted elsewhere.
    let error = cloud.backend.create_eni(&secondary(1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);

    cloud.ec2 = Some(Server::restart(&url, cloud.emulator.ec2_router()));
    assert_eq!(cloud.backend.describe().await.unwrap().authority, Authority::Ec2);
    assert!(cloud.backend.ec2_failure().is_none());
}

#[tokio::test]
async fn a_node_starts_without_ec2() {
    let mut cloud = Cloud::start(&m5_large());
    cloud.stop_ec2().await;
    assert_eq!(cloud.backend.instance().await.unwrap().instance, cloud.instance);
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!((view.authority, ids(&view)), (Authority::Imds, vec![cloud.primary()]));
}

#[tokio::test]
async fn a_missing_permission_to_describe_is_reported_while_metadata_serves() {
    let cloud = Cloud::start(&m5_large());
    let denied = vpc_ipam_core::testkit::ec2::Ec2Error::unauthorized();
    let action = vpc_ipam_core::testkit::ec2::Ec2Action::DescribeNetworkInterfaces;
    cloud.world().faults_mut().fail(action, denied, 1);
    assert_eq!(cloud.backend.describe().await.unwrap().authority, Authority::Imds);
    let failure = cloud.backend.ec2_failure().unwrap();
    assert_eq!(failure.kind, Kind::PermissionDenied);
    assert!(failure.message.contains("ec2:DescribeNetworkInterfaces"), "{failure}");
}

#[tokio::test]
async fn without_metadata_a_node_does_not_know_itself_and_says_why() {
    let mut cloud = Cloud::start(&m5_large());
    cloud.stop_imds().await;
    for error in [
        cloud.backend.instance().await.unwrap_err(),
        cloud.backend.describe().await.unwrap_err(),
        cloud.backend.create_eni(&secondary(1)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, Kind::Unreachable, "{error}");
        assert!(error.message.contains("instance metadata did not answer"), "{error}");
        assert!(error.message.contains("check that it is enabled"), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_knows_itself_goes_on_without_metadata() {
    let mut cloud = Cloud::start(&m5_large());
    cloud.backend.instance().await.unwrap();
    let url = cloud.stop_imds().await;
    let eni = cloud.backend.create_eni(&prefixes(1)).await.unwrap();
    assert_eq!(cloud.eni(&eni.id).groups, cloud.eni(&cloud.primary()).groups);
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!((view.authority, view.enis.len()), (Authority::Ec2, 2));
    assert_eq!(find(&view, &eni.id).subnet_cidr.to_string(), "10.0.0.0/24");
    // The VPC's blocks are metadata's alone.
    assert!(cloud.backend.instance().await.is_err());
    cloud.imds = Some(Server::restart(&url, cloud.emulator.imds_router(&cloud.instance)));
    assert!(cloud.backend.instance().await.is_ok());
}

#[tokio::test]
async fn without_both_the_error_names_both() {
    let mut cloud = Cloud::start(&m5_large());
    cloud.backend.instance().await.unwrap();
    cloud.stop_imds().await;
    cloud.stop_ec2().await;
    let error = cloud.backend.describe().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.message.contains("EC2 did not answer"), "{error}");
    assert!(error.message.contains("instance metadata did not answer"), "{error}");
}

#[tokio::test]
async fn a_token_that_metadata_has_forgotten_is_renewed() {
    let cloud = Cloud::start(&m5_large());
    cloud.backend.instance().await.unwrap();
    // Past the life of the token by the server's clock, not by ours: a resumed instance.
    cloud.advance(Duration::from_secs(7 * 3600));
    cloud.backend.instance().await.unwrap();
    cloud.advance(Duration::from_secs(7 * 3600));
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!(view.authority, Authority::Ec2);
    let counts = cloud.backend.call_counts();
    assert!(counts.imds.values().all(|count| count.errors == 0), "{counts:?}");
}

#[tokio::test]
async fn metadata_that_stumbles_is_asked_again() {
    let cloud = Cloud::start(&m5_large());
    cloud.emulator.fail_imds("/latest/meta-data/mac", 500, 2);
    cloud.backend.instance().await.unwrap();
}

#[tokio::test]
async fn metadata_failures_are_told_apart() {
    for (path, status, kind, word) in [
        ("/latest/meta-data/mac", 403, Kind::PermissionDenied, "HttpEndpoint=enabled"),
        ("/latest/meta-data/instance-type", 404, Kind::Gone, "instance-type"),
        ("/latest/meta-data/network", 404, Kind::Gone, "network/interfaces/macs/"),
        ("/latest/dynamic", 400, Kind::Other, "HTTP 400"),
        ("/latest/api/token", 403, Kind::Unreachable, "token"),
    ] {
        let cloud = Cloud::start(&m5_large());
        cloud.emulator.fail_imds(path, status, 50);
        let error = cloud.backend.instance().await.unwrap_err();
        assert_eq!(error.kind, kind, "{path} {status}: {error}");
        assert!(error.message.contains(word), "{error}");
        assert!(error.action.starts_with("IMDS /latest/"), "{}", error.action);
    }
}

#[tokio::test]
async fn optional_metadata_may_be_absent() {
    let mut cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    cloud.stop_ec2().await;
    // A link that metadata lists before it knows anything of it.
    let mac = eni.mac;
    let path = format!("/latest/meta-data/network/interfaces/macs/{mac}/local-ipv4s");
    cloud.emulator.fail_imds(&path, 404, 1);
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!(ids(&view), [cloud.primary()]);
    assert_eq!(ids(&cloud.backend.describe().await.unwrap()).len(), 2);
    // But what cannot be read is not taken for absent.
    cloud.emulator.fail_imds(&path, 400, 1);
    assert!(cloud.backend.describe().await.is_err());
}
