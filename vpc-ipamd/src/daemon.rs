//! The daemon as a library: ports, settings and sockets in, a running node out.

use std::{
    fmt, future::Future, io, os::unix::net::UnixListener, pin::Pin, sync::Arc, time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use vpc_cni_plugin::rpc::{
    HEALTH_SERVICE, cni_backend_server::CniBackendServer,
    config_server_backend_server::ConfigServerBackendServer,
};
use vpc_ipam_core::{
    cloud::{CloudBackend, InstanceFacts},
    config::ConfigError,
    datapath::Datapath,
    driver::Driver,
    store::Store,
};

use crate::{
    clock::Clock,
    cloud::{CloudReport, ReportCloud},
    engine::{Engine, EngineError, Parts},
    handle::{Handle, Identity, REQUESTS_MAX},
    housekeeping::{self, Housekeeping},
    node,
    restore::{RestoreError, recall, restore},
    server::{
        grpc::Grpc,
        introspect,
        listen::{self, Endpoint},
        metrics,
    },
    settings::Settings,
    snapshot::Degraded,
    telemetry::Counters,
};

/// What a stop may take. Kubernetes gives the pod 10 s; what matters is durable before anyone is
/// answered, so the rest is courtesy to whoever waits.
const GRACE: Duration = Duration::from_secs(5);
/// Findings of the node task that may queue; it waits for its next turn anyway.
const NODE_EVENTS_MAX: usize = 4;

/// Why the daemon ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pool cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state file cannot be used.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The gRPC server ended.
    #[error("cannot serve gRPC: {0}")]
    Serve(String),
    /// The gRPC socket cannot be used.
    #[error("cannot use the gRPC socket: {0}")]
    Socket(#[from] io::Error),
}

type Companion = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A node daemon, ready to run.
pub struct Daemon {
    cloud: Arc<dyn CloudBackend>,
    datapath: Arc<dyn Datapath>,
    store: Arc<dyn Store>,
    settings: Arc<Settings>,
    report: Arc<ReportCloud>,
    house: Option<Arc<dyn Housekeeping>>,
    companions: Vec<(&'static str, Companion)>,
    introspection: Option<Endpoint>,
    metrics: Option<Endpoint>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Daemon {
    /// A daemon on these ports. Introspection and metrics listen where `settings` say.
    pub fn new(
        cloud: Arc<dyn CloudBackend>,
        datapath: Arc<dyn Datapath>,
        store: Arc<dyn Store>,
        settings: Settings,
    ) -> Self {
        Self {
            cloud,
            datapath,
            store,
            report: Arc::new(CloudReport::default),
            house: None,
            companions: Vec::new(),
            introspection: settings.introspection.clone().map(Endpoint::Address),
            metrics: settings.metrics.then_some(Endpoint::Metrics),
            settings: Arc::new(settings),
        }
    }

    /// What the cloud backend says of itself: counts of requests, and troubles that its answers do
    /// not show. Called at each scrape; must not block.
    #[must_use]
    pub fn with_cloud_report(
        mut self,
        report: impl Fn() -> CloudReport + Send + Sync + 'static,
    ) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// What looks after the pods of the node now and then. Without it, addresses of pods that went
    /// while the daemon was away stay leased.
    #[must_use]
    pub fn with_housekeeping(mut self, house: Arc<dyn Housekeeping>) -> Self {
        self.house = Some(house);
        self
    }

    /// Work that goes on beside the pool, under a name for the log: what a cloud needs now and then and no
    /// pod waits for. It begins when the daemon runs, and is dropped, wherever it is, as soon as the daemon
    /// is told to stop. Its end, or its panic, changes nothing for the pool.
    #[must_use]
    pub fn with_companion(
        mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.companions.push((name, Box::pin(work)));
        self
    }

    /// Serves introspection at `endpoint` instead.
    #[must_use]
    pub fn with_introspection(mut self, endpoint: Endpoint) -> Self {
        self.introspection = Some(endpoint);
        self
    }

    /// Serves metrics at `endpoint` instead.
    #[must_use]
    pub fn with_metrics(mut self, endpoint: Endpoint) -> Self {
        self.metrics = Some(endpoint);
        self
    }

    /// Restores the state file, serves the plugin on `socket`, and keeps the pool until `shutdown`
    /// ends. Needs a tokio runtime with time and IO.
    ///
    /// EC2 and instance metadata may be away: that is reported, not an error. Dropping the future
    /// is safe at any time.
    ///
    /// # Errors
    ///
    /// If the state file cannot be read, or the daemon cannot go on.
    pub async fn run(
        self,
        socket: UnixListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        let incoming = UnixListenerStream::new(listen::unix_async(socket)?);
        self.run_on(incoming, shutdown).await
    }

    /// The same for callers in this process, each with a connection in memory. For tests with a clock
    /// that is paused: it runs ahead while bytes are in a socket, and stands while they are here.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub async fn run_in_memory(
        self,
        callers: mpsc::Receiver<DuplexStream>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        self.run_on(ReceiverStream::new(callers).map(Ok), shutdown).await
    }

    async fn run_on<C: Connection>(
        self,
        incoming: impl Stream<Item = io::Result<C>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        let clock = Clock::start();
        let config = self.settings.provisional_config()?;
        let (mut pool, corrupt) =
            restore(&*self.store, self.house.as_deref(), config, clock.now())?;
        let hint = recall(&*self.store);
        pool.recall(&hint.enis, clock.now());
        let (requests_in, requests) = mpsc::channel(REQUESTS_MAX);
        let (node_in, node_events) = mpsc::channel(NODE_EVENTS_MAX);
        let (identity_in, identity) =
            watch::channel(Identity::Unknown("the daemon is starting".to_owned()));
        let (ready_in, ready) = watch::channel(false);
        let (stop_in, stop) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let engine = Engine::new(Parts {
            driver: Driver::new(
                pool,
                Arc::clone(&self.cloud),
                Arc::clone(&self.datapath),
                Arc::clone(&self.store),
            ),
            clock,
            settings: Arc::clone(&self.settings),
            counters: Arc::clone(&counters),
            requests,
            node: node_events,
            identity: identity_in,
            ready: ready_in,
            stop: stop.clone(),
            report: Arc::clone(&self.report),
            degraded: corrupt
                .map(|message| Degraded { reason: "state_file", message })
                .into_iter()
                .collect(),
        });
        let grpc = Grpc {
            handle: Handle::new(requests_in, identity),
            settings: Arc::clone(&self.settings),
            counters,
        };
        // Dropped, and so stopped, with this future.
        let mut background = JoinSet::new();
        let remembered = hint.node.map(Arc::new);
        self.start_background(&mut background, &grpc, node_in, clock, remembered, &stop);
        let served = serve_grpc(incoming, grpc, ready, stop);
        run_until(engine.run(), served, stop_in, shutdown).await
    }

    fn start_background(
        self,
        tasks: &mut JoinSet<()>,
        grpc: &Grpc,
        node_events: mpsc::Sender<node::NodeEvent>,
        clock: Clock,
        remembered: Option<Arc<InstanceFacts>>,
        stop: &watch::Receiver<bool>,
    ) {
        if let Some(endpoint) = self.introspection {
            let router = introspect::router(grpc.handle.clone(), Arc::clone(&self.settings));
            tasks.spawn(listen::serve("introspection", endpoint, router));
        }
        if let Some(endpoint) = self.metrics {
            let counters = Arc::clone(&grpc.counters);
            let router = metrics::router(grpc.handle.clone(), counters, self.report);
            tasks.spawn(listen::serve("metrics", endpoint, router));
        }
        if let Some(house) = self.house {
            let counters = Arc::clone(&grpc.counters);
            tasks.spawn(housekeeping::keep(house, grpc.handle.clone(), counters, clock));
        }
        for (name, work) in self.companions {
            tasks.spawn(until_stopped(name, work, stop.clone()));
        }
        let node = node::Node {
            cloud: self.cloud,
            datapath: self.datapath,
            settings: self.settings,
            remembered,
        };
        tasks.spawn(node.watch(node_events));
    }
}

async fn until_stopped(name: &'static str, work: Companion, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = work => tracing::debug!(name, "ended"),
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn run_until(
    engine: impl Future<Output = Result<(), EngineError>>,
    served: impl Future<Output = Result<(), DaemonError>>,
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let mut engine = std::pin::pin!(engine);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        result = &mut engine => return Ok(result?),
        result = &mut served => {
            return result.and(Err(DaemonError::Serve("the server ended".to_owned())));
        }
        () = shutdown => {}
    }
    stop.send_replace(true);
    // Both end by themselves: the server when its callers are answered, the engine when its jobs are.
    let both = async { tokio::join!(engine, served) };
    match timeout(GRACE, both).await {
        Ok((engine, served)) => {
            engine?;
            served?;
            tracing::info!("stopped");
        }
        Err(_) => tracing::warn!(grace_s = GRACE.as_secs(), "stopped with operations under way"),
    }
    Ok(())
}

/// What gRPC can be spoken over.
trait Connection: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static> Connection for T {}

async fn serve_grpc<C: Connection>(
    incoming: impl Stream<Item = io::Result<C>>,
    grpc: Grpc,
    mut ready: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), DaemonError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in ["", HEALTH_SERVICE] {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
    let report = async {
        // The sender lives in the engine; without it there is nothing to report any more.
        if ready.wait_for(|ready| *ready).await.is_ok() {
            for service in ["", HEALTH_SERVICE] {
                reporter.set_service_status(service, ServingStatus::Serving).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let server = tonic::transport::Server::builder()
        .add_service(CniBackendServer::new(grpc.clone()))
        .add_service(ConfigServerBackendServer::new(grpc))
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, async move {
            let _ = stop.wait_for(|stop| *stop).await;
        });
    tokio::select! {
        served = server => served.map_err(|e| DaemonError::Serve(e.to_string())),
        () = report => Ok(()),
    }
}
