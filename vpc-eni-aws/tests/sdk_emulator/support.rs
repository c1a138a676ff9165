//! One instance in an emulated region, and a backend on it.

use std::{
    net::TcpListener,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};
use vpc_eni_aws::{
    AwsBackend, AwsConfig, AwsConfigBuilder,
    emulator::{Emulator, Service, serve, tokio_clock, wall_clock},
};
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudEni, CloudView, CreateEni},
    id::{EniId, InstanceId},
    testkit::ec2::{Ec2Action, Ec2Error, Eni, World, WorldConfig},
    time::Time,
};

/// A server that can be stopped, all its connections included.
pub(crate) struct Server {
    pub(crate) url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) fn start(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::on(listener, url, service)
    }

    pub(crate) fn restart(url: &str, service: Service) -> Self {
        let listener = TcpListener::bind(url.strip_prefix("http://").unwrap()).unwrap();
        Self::on(listener, url.to_owned(), service)
    }

    fn on(listener: TcpListener, url: String, service: Service) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, service, async move {
            stopped.await.ok();
        }));
        Self { url, stop, task }
    }

    pub(crate) async fn stop(self) -> String {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.url
    }
}

pub(crate) struct Cloud {
    pub(crate) emulator: Emulator,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) instance: InstanceId,
    pub(crate) ec2: Option<Server>,
    pub(crate) imds: Option<Server>,
    pub(crate) backend: AwsBackend,
    config: AwsConfig,
    /// By how much the emulator's clock is ahead.
    ahead_ms: Arc<AtomicU64>,
}

pub(crate) fn m5_large() -> WorldConfig {
    one("m5.large", "10.0.0.0/24")
}

pub(crate) fn one(instance_type: &str, subnet: &str) -> WorldConfig {
    WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet(subnet.parse().unwrap())
        .instance(0, instance_type)
        .start(wall_clock()())
}

impl Cloud {
    pub(crate) fn start(config: &WorldConfig) -> Self {
        Self::with(config, |config| config)
    }

    pub(crate) fn with(
        config: &WorldConfig,
        change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder,
    ) -> Self {
        let world = config.build().unwrap();
        let instance = world.instances()[0].id.clone();
        let world = Arc::new(Mutex::new(world));
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let (wall, ahead) = (wall_clock(), Arc::clone(&ahead_ms));
        let clock =
            move || -> Time { wall() + Duration::from_millis(ahead.load(Ordering::Relaxed)) };
        let emulator = Emulator::new(Arc::clone(&world), Arc::new(clock));
        let ec2 = Server::start(emulator.ec2_router());
        let imds = Server::start(emulator.imds_router(&instance));
        let config = AwsConfig::builder()
            .ec2_endpoint(&ec2.url)
            .imds_endpoint(&imds.url)
            .static_credentials("AKID", "secret");
        let config = change(config).build().unwrap();
        let backend = AwsBackend::new(config.clone()).unwrap();
        let (ec2, imds) = (Some(ec2), Some(imds));
        Self { emulator, world, instance, ec2, imds, backend, config, ahead_ms }
    }

    /// Without sockets, so that on a paused clock no time out is a real one.
    pub(crate) fn in_process(
        config: &WorldConfig,
        change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder,
    ) -> Self {
        let clock = tokio_clock();
        let world = config.clone().start(clock()).build().unwrap();
        let instance = world.instances()[0].id.clone();
        let world = Arc::new(Mutex::new(world));
        let emulator = Emulator::new(Arc::clone(&world), clock);
        let config = AwsConfig::builder().in_process(&emulator, &instance);
        let config = change(config).build().unwrap();
        let backend = AwsBackend::new(config.clone()).unwrap();
        let (ec2, imds, ahead_ms) = (None, None, Arc::default());
        Self { emulator, world, instance, ec2, imds, backend, config, ahead_ms }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn now(&self) -> Time {
        self.emulator.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) fn primary(&self) -> EniId {
        self.world().instances()[0].primary_eni.clone()
    }

    /// An ENI as the world has it.
    pub(crate) fn eni(&self, eni: &EniId) -> Eni {
        self.world().eni(eni).expect("no such ENI").clone()
    }

    /// Lets no listing of ENIs succeed from now on, and that without tries that take time.
    pub(crate) fn deny_ec2(&self) {
        let action = Ec2Action::DescribeNetworkInterfaces;
        self.world().faults_mut().fail(action, Ec2Error::unauthorized(), 10_000);
    }

    /// Puts a backend in place that remembers nothing of metadata.
    pub(crate) fn restart_backend(&mut self) {
        self.backend = AwsBackend::new(self.config.clone()).unwrap();
    }

    /// Ids of all ENIs in the world, attached or not.
    pub(crate) fn enis(&self) -> Vec<EniId> {
        let mut ids: Vec<_> = self.world().enis().map(|eni| eni.id.clone()).collect();
        ids.sort();
        ids
    }

    pub(crate) async fn stop_ec2(&mut self) -> String {
        self.ec2.take().unwrap().stop().await
    }

    pub(crate) async fn stop_imds(&mut self) -> String {
        self.imds.take().unwrap().stop().await
    }
}

pub(crate) fn secondary(n: u32) -> CreateEni {
    CreateEni::new(0, AddressCount::Secondary(n))
}

pub(crate) fn prefixes(n: u32) -> CreateEni {
    CreateEni::new(0, AddressCount::Prefixes(n))
}

pub(crate) fn sorted(mut cidrs: Vec<Prefix>) -> Vec<Prefix> {
    cidrs.sort();
    cidrs
}

pub(crate) fn find<'a>(view: &'a CloudView, eni: &EniId) -> &'a CloudEni {
    view.enis.iter().find(|e| e.id == *eni).expect("the ENI is not in the view")
}

pub(crate) fn ids(view: &CloudView) -> Vec<EniId> {
    let mut ids: Vec<_> = view.enis.iter().map(|eni| eni.id.clone()).collect();
    ids.sort();
    ids
}
