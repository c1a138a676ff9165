//! Upkeep through the SDK, against the emulator in the same process, in virtual time.

mod groups;
mod memory;
mod permissions;
mod sweep;
mod wire;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use vpc_eni_aws::{
    AwsBackend, AwsConfig, AwsConfigBuilder, CallObserver,
    emulator::{Emulator, tokio_clock},
};
use vpc_ipam_core::{
    id::EniId,
    testkit::ec2::{Delays, World, WorldConfig},
};

pub(crate) struct Region {
    pub(crate) emulator: Emulator,
    pub(crate) backend: Arc<AwsBackend>,
}

impl Region {
    /// Must be made inside of a runtime whose clock is paused.
    pub(crate) fn start(config: WorldConfig) -> Self {
        Self::with(config, None, |config| config)
    }

    pub(crate) fn with(
        config: WorldConfig,
        observer: Option<Arc<dyn CallObserver>>,
        change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder,
    ) -> Self {
        let clock = tokio_clock();
        let delays = Delays { address_to_imds: Duration::from_secs(5), ..Delays::USUAL };
        let world = config.delays(delays).start(clock()).build().unwrap();
        let instance = world.instances()[0].id.clone();
        let emulator = Emulator::new(Arc::new(Mutex::new(world)), clock);
        let config = AwsConfig::builder().in_process(&emulator, &instance);
        let backend = AwsBackend::with_observer(change(config).build().unwrap(), observer).unwrap();
        Self { emulator, backend: Arc::new(backend) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.emulator.world().lock().unwrap()
    }

    pub(crate) fn primary(&self) -> EniId {
        self.world().instances()[0].primary_eni.clone()
    }

    /// Requests of one EC2 action so far.
    pub(crate) fn requests(&self, action: &str) -> u64 {
        self.backend.call_counts().ec2.get(action).map_or(0, |count| count.requests)
    }
}
