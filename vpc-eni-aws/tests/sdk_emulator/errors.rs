//! What the backend makes of EC2's refusals.

use vpc_ipam_core::{
    cloud::{AddressCount, CloudBackend, CloudError, CloudErrorKind as Kind},
    id::EniId,
    testkit::ec2::{Ec2Action, Ec2Error},
};

use crate::{
    in_process::{self, in_virtual_time},
    support::{Cloud, m5_large, one, prefixes, secondary, sorted},
};

fn fail(cloud: &Cloud, action: Ec2Action, code: &'static str, times: u32) {
    let error = Ec2Error::new(code, "injected");
    cloud.world().faults_mut().fail(action, error, times);
}

/// Makes the backend call `action` and fail.
async fn provoke(cloud: &Cloud, eni: &EniId, action: Ec2Action) -> CloudError {
    let backend = &cloud.backend;
    match action {
        Ec2Action::AssignPrivateIpAddresses => {
            backend.assign_addresses(eni, AddressCount::Secondary(1)).await.unwrap_err()
        }
        Ec2Action::UnassignPrivateIpAddresses => {
            let cidrs = cloud.eni(eni).owned();
            backend.unassign_addresses(eni, &cidrs).await.unwrap_err()
        }
        Ec2Action::CreateNetworkInterface
        | Ec2Action::AttachNetworkInterface
        | Ec2Action::ModifyNetworkInterfaceAttribute => {
            backend.create_eni(&secondary(1)).await.unwrap_err()
        }
        Ec2Action::DetachNetworkInterface | Ec2Action::DeleteNetworkInterface => {
            backend.delete_eni(eni).await.unwrap_err()
        }
        other => panic!("{other} is not called like that"),
    }
}

#[tokio::test]
async fn a_missing_permission_names_the_iam_action_of_each_call() {
    for action in [
        Ec2Action::AssignPrivateIpAddresses,
        Ec2Action::UnassignPrivateIpAddresses,
        Ec2Action::CreateNetworkInterface,
        Ec2Action::AttachNetworkInterface,
        Ec2Action::ModifyNetworkInterfaceAttribute,
        Ec2Action::DetachNetworkInterface,
        Ec2Action::DeleteNetworkInterface,
    ] {
        let cloud = Cloud::start(&m5_large());
        let eni = cloud.backend.create_eni(&secondary(2)).await.unwrap();
        cloud.world().faults_mut().fail(action, Ec2Error::unauthorized(), 1);
        let error = provoke(&cloud, &eni.id, action).await;
        assert_eq!(error.kind, Kind::PermissionDenied, "{action}: {error}");
        assert_eq!(error.action, action.as_str());
        assert!(error.message.contains("UnauthorizedOperation"), "{error}");
        assert!(error.message.contains(&format!("ec2:{action} ")), "{error}");
        assert_eq!(cloud.world().faults_mut().pending(), 0, "{action}");
    }
}

#[tokio::test]
async fn codes_arrive_as_kinds() {
    let cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(2)).await.unwrap();
    for (code, kind) in [
        ("InvalidNetworkInterfaceID.NotFound", Kind::Gone),
        ("InsufficientCidrBlocks", Kind::InsufficientPrefixes),
        ("InsufficientFreeAddressesInSubnet", Kind::InsufficientAddresses),
        ("PrivateIpAddressLimitExceeded", Kind::AddressLimit),
        ("AttachmentLimitExceeded", Kind::AttachmentLimit),
        ("InvalidNetworkInterface.InUse", Kind::InUse),
        ("NetworkInterfaceLimitExceeded", Kind::Other),
        ("InvalidSubnetID.NotFound", Kind::Gone),
        ("InvalidGroup.NotFound", Kind::Gone),
        ("AuthFailure", Kind::PermissionDenied),
        ("SomethingNew", Kind::Other),
    ] {
        let action = Ec2Action::AssignPrivateIpAddresses;
        fail(&cloud, action, code, 1);
        let error = provoke(&cloud, &eni.id, action).await;
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.message.contains(code) && error.message.contains("injected"), "{error}");
    }
}

#[test]
fn throttling_and_internal_errors_are_tried_three_times() {
    in_virtual_time(async {
        let action = Ec2Action::AssignPrivateIpAddresses;
        for (error, times, expected) in [
            (Ec2Error::throttled(), 2, Ok(1)),
            (Ec2Error::throttled(), 3, Err(Kind::Throttled)),
            (Ec2Error::internal(), 2, Ok(1)),
            (Ec2Error::internal(), 3, Err(Kind::Unreachable)),
        ] {
            let (emulator, backend) = in_process::cloud();
            let world = || emulator.world().lock().unwrap();
            let eni = world().instances()[0].primary_eni.clone();
            world().faults_mut().fail(action, error.clone(), times);
            let added = backend.assign_addresses(&eni, AddressCount::Secondary(1)).await;
            assert_eq!(added.map(|a| a.len()).map_err(|e| e.kind), expected, "{error:?} {times}");
            assert_eq!(world().calls()[&action], 3);
            // The caller made one call.
            assert_eq!(backend.call_counts().ec2[action.as_str()].requests, 1);
        }
    });
}

#[tokio::test]
async fn a_failed_attachment_or_change_leaves_no_eni() {
    for action in [Ec2Action::AttachNetworkInterface, Ec2Action::ModifyNetworkInterfaceAttribute] {
        let cloud = Cloud::start(&m5_large());
        fail(&cloud, action, "InvalidParameterValue", 1);
        // Cleaning up meets resistance, too.
        fail(&cloud, Ec2Action::DeleteNetworkInterface, "InvalidParameterValue", 2);
        let error = cloud.backend.create_eni(&secondary(2)).await.unwrap_err();
        assert_eq!(error.action, action.as_str());
        assert!(!error.message.contains("left behind"), "{error}");
        assert_eq!(cloud.enis(), [cloud.primary()], "{action}");
        assert_eq!(cloud.world().calls()[&Ec2Action::DeleteNetworkInterface], 3);
    }
}

#[tokio::test]
async fn an_instance_that_is_full_says_so_and_keeps_no_spare_eni() {
    let cloud = Cloud::start(&m5_large());
    for _ in 0..2 {
        cloud.backend.create_eni(&secondary(1)).await.unwrap();
    }
    let enis = cloud.enis();
    let error = cloud.backend.create_eni(&secondary(1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::AttachmentLimit);
    assert_eq!(cloud.enis(), enis);
}

#[tokio::test]
async fn an_eni_that_is_full_says_so() {
    let cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(9)).await.unwrap();
    for count in [AddressCount::Secondary(1), AddressCount::Prefixes(1)] {
        let error = cloud.backend.assign_addresses(&eni.id, count).await.unwrap_err();
        assert_eq!(error.kind, Kind::AddressLimit);
    }
}

#[tokio::test]
async fn an_old_hypervisor_cannot_have_prefixes() {
    let cloud = Cloud::start(&one("m4.large", "10.0.0.0/24"));
    assert!(!cloud.backend.instance().await.unwrap().limits.prefixes);
    let error = cloud.backend.create_eni(&prefixes(1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Other, "{error}");
    assert_eq!(cloud.enis(), [cloud.primary()]);
}

#[tokio::test]
async fn the_last_address_of_a_subnet_is_used() {
    // A /28 has 11 usable addresses; the primary ENI has one of them.
    let cloud = Cloud::start(&one("m5.large", "10.0.0.0/28"));
    let primary = cloud.primary();
    let count = AddressCount::Secondary(8);
    assert_eq!(cloud.backend.assign_addresses(&primary, count).await.unwrap().len(), 8);
    // Two are left: an ENI and one address, not three.
    let error = cloud.backend.create_eni(&secondary(3)).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientAddresses);
    let eni = cloud.backend.create_eni(&secondary(0)).await.unwrap();
    let added = cloud.backend.assign_addresses(&eni.id, AddressCount::Secondary(5)).await.unwrap();
    assert_eq!(added.len(), 1);
    let error =
        cloud.backend.assign_addresses(&eni.id, AddressCount::Secondary(5)).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientAddresses);
    assert!(error.is_subnet_exhausted());
}

#[tokio::test]
async fn a_fragmented_subnet_gives_addresses_but_no_prefix() {
    let cloud = Cloud::start(&m5_large());
    let subnet = cloud.eni(&cloud.primary()).subnet;
    for block in 0..16 {
        let ip = [10, 0, 0, block * 16 + 8].into();
        cloud.world().reserve_address(&subnet, ip).unwrap();
    }
    let eni = cloud.primary();
    let error = cloud.backend.assign_addresses(&eni, AddressCount::Prefixes(2)).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientPrefixes);
    assert!(error.message.contains("CreateSubnetCidrReservation"), "{error}");
    let added = cloud.backend.assign_addresses(&eni, AddressCount::Secondary(2)).await.unwrap();
    assert_eq!(added.len(), 2);
}

#[tokio::test]
async fn addresses_that_someone_else_took_away_do_not_block_the_rest() {
    let cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(4)).await.unwrap();
    cloud.backend.unassign_addresses(&eni.id, &eni.cidrs[..1]).await.unwrap();
    cloud.backend.unassign_addresses(&eni.id, &eni.cidrs[..3]).await.unwrap();
    assert_eq!(cloud.eni(&eni.id).owned(), sorted(eni.cidrs[3..].to_vec()));
    cloud.backend.unassign_addresses(&eni.id, &eni.cidrs[..3]).await.unwrap();
}

#[tokio::test]
async fn the_primary_eni_is_never_deleted() {
    let cloud = Cloud::start(&m5_large());
    assert!(cloud.backend.delete_eni(&cloud.primary()).await.is_err());
    assert_eq!(cloud.enis(), [cloud.primary()]);
    assert_eq!(cloud.backend.call_counts().ec2_requests(), 0);
}
