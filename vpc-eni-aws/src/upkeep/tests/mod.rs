//! Upkeep on an EC2 in memory, in virtual time.

mod adopt;
mod groups;
mod sweep;
mod termination;

use std::{sync::Arc, time::Duration};

use vpc_ipam_core::cloud::{AddressCount, CloudBackend as _, CreateEni};

use super::{Upkeep, UpkeepConfig};
use crate::{
    AwsBackend,
    fake::{Fake, id, instance},
};

fn upkeep(backend: &Arc<AwsBackend>) -> Arc<Upkeep> {
    backend.upkeep(UpkeepConfig::default())
}

fn count(fake: &Fake, method: &str) -> usize {
    fake.state().log.iter().filter(|called| **called == method).count()
}

/// A backend whose EC2 has shown the primary ENI and `eni-1`, both with the group `sg-1`.
async fn two_enis() -> (Arc<AwsBackend>, Fake) {
    let (backend, fake) = Fake::backend();
    let request = CreateEni::new(0, AddressCount::Secondary(1));
    assert_eq!(backend.create_eni(&request).await.unwrap().id, id("eni-1"));
    backend.describe().await.unwrap();
    (backend, fake)
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_does_not_happen() {
    let (backend, fake) = two_enis().await;
    fake.state().log.clear();
    let off = UpkeepConfig {
        security_groups: false,
        leaked_enis: false,
        termination: false,
        tags: false,
        ..UpkeepConfig::default()
    };
    let running = tokio::spawn(backend.upkeep(off).run());
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert!(!running.is_finished());
    assert_eq!(fake.state().log, [""; 0]);
}
