//! What an operation costs at the most when all goes wrong: the table in `docs/ec2-calls.md`.

use std::time::Duration;

use vpc_eni_aws::{AwsBackend, emulator::Emulator};
use vpc_ipam_core::{
    cloud::{AddressCount, CloudBackend as _, CloudEni},
    testkit::ec2::{Delays, Ec2Action as A, Ec2Error},
};

use super::{
    in_process::{cloud, in_virtual_time},
    support::secondary,
};

const DOCS: &str = include_str!("../../../docs/ec2-calls.md");
/// More than any call is tried.
const ALWAYS: u32 = 1_000_000;

fn requests(emulator: &Emulator) -> u64 {
    emulator.world().lock().unwrap().calls().values().sum()
}

fn fail(emulator: &Emulator, faults: &[(A, &Ec2Error)]) {
    let mut world = emulator.world().lock().unwrap();
    for (action, error) in faults {
        world.faults_mut().fail(*action, (*error).clone(), ALWAYS);
    }
}

/// The figure in the docs.
fn documented(operation: &str, trouble: &str) -> u64 {
    let row = format!("| {operation} | {trouble} | ");
    let row = DOCS.lines().find_map(|line| line.strip_prefix(&row));
    let row = row.unwrap_or_else(|| panic!("no row {operation}: {trouble}"));
    row.trim_end_matches(" |").parse().unwrap()
}

/// Requests of a failing `operation` on a node with an ENI of its own making.
fn count(faults: &[(A, &Ec2Error)], operation: impl AsyncFnOnce(&AwsBackend, &CloudEni)) -> u64 {
    let mut count = 0;
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        let eni = backend.create_eni(&secondary(2)).await.unwrap();
        // The listing of subnets that this needed has grown old.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let before = requests(&emulator);
        fail(&emulator, faults);
        operation(&backend, &eni).await;
        count = requests(&emulator) - before;
    });
    count
}

fn check(
    operation: &str,
    rows: &[(&str, &[(A, &Ec2Error)])],
    run: impl AsyncFn(&AwsBackend, &CloudEni),
) {
    for (trouble, faults) in rows {
        let requests = count(faults, async |backend, eni| run(backend, eni).await);
        assert_eq!(requests, documented(operation, trouble), "{operation}: {trouble}");
    }
}

#[test]
fn assigning() {
    let throttled = Ec2Error::throttled();
    let full = Ec2Error::new("InsufficientFreeAddressesInSubnet", "injected");
    let rows: [(&str, &[(A, &Ec2Error)]); 2] = [
        ("EC2 throttles", &[(A::AssignPrivateIpAddresses, &throttled)]),
        (
            "the subnet has not enough: one is asked for instead",
            &[(A::AssignPrivateIpAddresses, &full)],
        ),
    ];
    check("assign", &rows, async |backend, eni| {
        backend.assign_addresses(&eni.id, AddressCount::Secondary(3)).await.unwrap_err();
    });
}

#[test]
fn unassigning() {
    let throttled = Ec2Error::throttled();
    let rows: [(&str, &[(A, &Ec2Error)]); 1] =
        [("EC2 throttles", &[(A::UnassignPrivateIpAddresses, &throttled)])];
    check("unassign", &rows, async |backend, eni| {
        backend.unassign_addresses(&eni.id, &eni.cidrs).await.unwrap_err();
    });
}

#[test]
fn describing() {
    let throttled = Ec2Error::throttled();
    let rows: [(&str, &[(A, &Ec2Error)]); 1] =
        [("EC2 throttles listings", &[(A::DescribeNetworkInterfaces, &throttled)])];
    check("describe", &rows, async |backend, _| {
        backend.describe().await.unwrap();
        assert!(backend.ec2_failure().is_some());
    });
}

#[test]
fn creating() {
    let throttled = Ec2Error::throttled();
    let full = Ec2Error::new("AttachmentLimitExceeded", "injected");
    let modify = (A::ModifyNetworkInterfaceAttribute, &throttled);
    let rows: [(&str, &[(A, &Ec2Error)]); 5] = [
        ("EC2 throttles creating", &[(A::CreateNetworkInterface, &throttled)]),
        ("EC2 throttles attaching", &[(A::AttachNetworkInterface, &throttled)]),
        ("the instance is full", &[(A::AttachNetworkInterface, &full)]),
        (
            "EC2 throttles delete-on-termination and detaching",
            &[modify, (A::DetachNetworkInterface, &throttled)],
        ),
        (
            "EC2 throttles delete-on-termination and deleting",
            &[modify, (A::DeleteNetworkInterface, &throttled)],
        ),
    ];
    check("create", &rows, async |backend, _| {
        backend.create_eni(&secondary(2)).await.unwrap_err();
    });
}

#[test]
fn creating_what_is_never_attached() {
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        backend.describe().await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let before = requests(&emulator);
        let never = Delays { attach: Duration::from_secs(3600), ..Delays::USUAL };
        emulator.world().lock().unwrap().set_delays(never);
        let error = backend.create_eni(&secondary(2)).await.unwrap_err();
        assert!(error.message.contains("did not become usable in time"), "{error}");
        let documented = documented("create", "it is never attached");
        assert_eq!(requests(&emulator) - before, documented);
    });
}

#[test]
fn deleting() {
    let throttled = Ec2Error::throttled();
    let in_use = Ec2Error::new("InvalidParameterValue", "the interface is currently in use");
    let rows: [(&str, &[(A, &Ec2Error)]); 3] = [
        ("EC2 throttles detaching", &[(A::DetachNetworkInterface, &throttled)]),
        ("EC2 throttles deleting", &[(A::DeleteNetworkInterface, &throttled)]),
        ("the ENI stays in use", &[(A::DeleteNetworkInterface, &in_use)]),
    ];
    check("delete", &rows, async |backend, eni| {
        backend.delete_eni(&eni.id).await.unwrap_err();
    });
}
