//! How fast requests leave, in virtual time: what the emulator counts is what the buckets let through.

use std::time::Duration;

use tokio::time::Instant;
use vpc_eni_aws::{AwsBackend, CallClass, CallPace, PaceReport, emulator::Emulator};
use vpc_ipam_core::{
    budget::Rate,
    cloud::{AddressCount, CloudBackend as _, CloudErrorKind},
    id::EniId,
    testkit::ec2::{Ec2Action, Ec2Error},
};

use super::{
    in_process::{cloud, in_virtual_time, with},
    support::secondary,
};

/// More than any call is tried.
const ALWAYS: u32 = 1_000_000;

fn fail(emulator: &Emulator, action: Ec2Action, error: Ec2Error) {
    emulator.world().lock().unwrap().faults_mut().fail(action, error, ALWAYS);
}

fn requests(emulator: &Emulator) -> u64 {
    emulator.world().lock().unwrap().calls().values().sum()
}

fn primary(emulator: &Emulator) -> EniId {
    emulator.world().lock().unwrap().instances()[0].primary_eni.clone()
}

fn of(backend: &AwsBackend, class: CallClass) -> PaceReport {
    backend.pace().into_iter().find(|report| report.class == class).unwrap()
}

fn sent(backend: &AwsBackend) -> u64 {
    backend.pace().iter().map(|report| report.sent).sum()
}

#[test]
fn each_request_takes_a_token_retries_included() {
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        let eni = backend.create_eni(&secondary(3)).await.unwrap();
        backend.describe().await.unwrap();
        backend.unassign_addresses(&eni.id, &eni.cidrs).await.unwrap();
        backend.delete_eni(&eni.id).await.unwrap();
        assert_eq!(sent(&backend), requests(&emulator));

        let before = requests(&emulator);
        fail(&emulator, Ec2Action::AssignPrivateIpAddresses, Ec2Error::throttled());
        let count = AddressCount::Secondary(1);
        let error = backend.assign_addresses(&primary(&emulator), count).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Throttled);
        assert_eq!(requests(&emulator) - before, 3, "the SDK's attempts");
        assert_eq!(sent(&backend), requests(&emulator));
        let mutating = of(&backend, CallClass::Mutating);
        assert_eq!((mutating.throttled, mutating.held_back), (3, 0));
        assert!(mutating.rate_percent < 50, "{mutating:?}");
    });
}

#[test]
fn a_throttled_request_is_sent_again_when_there_is_a_token_and_not_before() {
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        backend.instance().await.unwrap();
        fail(&emulator, Ec2Action::AssignPrivateIpAddresses, Ec2Error::throttled());
        let start = Instant::now();
        let primary = primary(&emulator);
        backend.assign_addresses(&primary, AddressCount::Secondary(1)).await.unwrap_err();
        // The bucket was emptied, and filled at half the rate, then at a quarter.
        let waited = start.elapsed();
        assert!((6..7).contains(&waited.as_secs()), "{waited:?}");
    });
}

#[test]
fn who_was_held_back_is_told_so_and_ec2_is_not_asked() {
    in_virtual_time(async {
        let slow = |config: vpc_eni_aws::AwsConfigBuilder| {
            let mut pace = CallPace::default();
            pace.mutating = Rate { capacity: 1, interval: Duration::from_secs(600) };
            config.pace(pace)
        };
        let (emulator, backend) = with(slow);
        let primary = primary(&emulator);
        let one = AddressCount::Secondary(1);
        backend.assign_addresses(&primary, one).await.unwrap();
        let (before, start) = (requests(&emulator), Instant::now());
        let error = backend.assign_addresses(&primary, one).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Throttled);
        assert!(error.message.contains("held back by the client-side limit"), "{error}");
        assert!(error.message.contains("EC2 itself has not refused it"), "{error}");
        assert!(error.message.contains("0 waiting"), "{error}");
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(requests(&emulator), before);
        let report = of(&backend, CallClass::Mutating);
        assert_eq!((report.held_back, report.throttled, report.waiting), (1, 0, 0));
        // Not a request: nothing was sent.
        assert_eq!(backend.call_counts().ec2["AssignPrivateIpAddresses"].requests, 1);
    });
}

#[test]
fn an_address_for_a_pod_does_not_wait_behind_what_is_given_back() {
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        let backend = std::sync::Arc::new(backend);
        let primary = primary(&emulator);
        let given = backend.assign_addresses(&primary, AddressCount::Secondary(9)).await.unwrap();
        let mut releases = tokio::task::JoinSet::new();
        // More than the bucket holds: the last of them wait for half a minute.
        for n in 0..50 {
            let (backend, primary) = (std::sync::Arc::clone(&backend), primary.clone());
            let some = vec![given[n % given.len()]];
            releases.spawn(async move { backend.unassign_addresses(&primary, &some).await });
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let waiting = of(&backend, CallClass::Mutating).waiting;
        assert!(waiting > 10, "{waiting}");
        let start = Instant::now();
        backend.assign_addresses(&primary, AddressCount::Secondary(1)).await.unwrap();
        let waited = start.elapsed();
        assert!(waited <= Duration::from_secs(1), "{waited:?}");
        let mut ended = 0;
        while let Some(result) = releases.join_next().await {
            ended += u32::from(result.unwrap().is_ok());
        }
        assert!(ended > 30, "{ended}");
    });
}
