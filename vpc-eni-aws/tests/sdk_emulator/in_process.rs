//! The SDK and the emulator in one process, with a clock that jumps.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use vpc_eni_aws::{
    AwsBackend, AwsConfig, AwsConfigBuilder,
    emulator::{Emulator, tokio_clock},
};
use vpc_ipam_core::{
    cloud::{CloudBackend as _, CloudErrorKind},
    testkit::ec2::{Delays, Ec2Action, Ec2Error},
};

use super::support::{m5_large, prefixes};

pub(crate) fn in_virtual_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test);
}

pub(crate) fn cloud() -> (Emulator, AwsBackend) {
    with(|config| config)
}

pub(crate) fn with(
    change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder,
) -> (Emulator, AwsBackend) {
    let delays = Delays { attach: Duration::from_secs(20), ..Delays::USUAL };
    let clock = tokio_clock();
    let world = m5_large().delays(delays).start(clock()).build().unwrap();
    let instance = world.instances()[0].id.clone();
    let emulator = Emulator::new(Arc::new(Mutex::new(world)), clock);
    let config = change(AwsConfig::builder().in_process(&emulator, &instance)).build().unwrap();
    (emulator, AwsBackend::new(config).unwrap())
}

#[test]
fn waiting_for_ec2_passes_at_once_and_without_sockets() {
    // Without IO enabled, a socket would be an error.
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        let start = Instant::now();
        let eni = backend.create_eni(&prefixes(2)).await.unwrap();
        assert_eq!(eni.cidrs.len(), 2);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(20), "{waited:?}");
        let world = emulator.world().lock().unwrap();
        let created = &world.eni(&eni.id).unwrap().tags;
        assert!(created.contains_key("node.k8s.amazonaws.com/createdAt"));
    });
}

#[test]
fn the_sdk_retries_a_throttled_call_there_as_on_aws() {
    in_virtual_time(async {
        let (emulator, backend) = cloud();
        let fail = |times| {
            let mut world = emulator.world().lock().unwrap();
            world.faults_mut().fail(
                Ec2Action::DescribeNetworkInterfaces,
                Ec2Error::throttled(),
                times,
            );
        };
        fail(2);
        let view = backend.describe().await.unwrap();
        assert_eq!(view.authority, vpc_ipam_core::cloud::Authority::Ec2);
        fail(3);
        backend.describe().await.unwrap();
        assert_eq!(backend.ec2_failure().unwrap().kind, CloudErrorKind::Throttled);
    });
}
