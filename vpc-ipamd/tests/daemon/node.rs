//! A daemon under test and its surroundings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use vpc_cni_plugin::rpc::{
    AddNetworkReply, AddNetworkRequest, CLIENT_VERSION, DelNetworkReply, DelNetworkRequest,
    cni_backend_client::CniBackendClient,
};
use vpc_ipam_core::{
    datapath::Datapath,
    store::Store,
    testkit::{FakeDatapath, MemoryStore, ModelCloud, ec2::WorldConfig},
};
use vpc_ipamd::{Daemon, DaemonError, Housekeeping, listen_unix, settings::Settings};

/// Longer than anything here takes, so that what goes wrong ends.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(3 * PATIENCE, test).await.expect("the test hangs") });
}

/// Waits until `ask` says something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
}

/// What a daemon finds.
pub(crate) struct Scene {
    pub cloud: Arc<ModelCloud>,
    pub datapath: Arc<FakeDatapath>,
    pub store: Arc<MemoryStore>,
    house: Option<Arc<dyn Housekeeping>>,
    change: Box<dyn Fn(Daemon) -> Daemon>,
    env: BTreeMap<String, String>,
}

impl Scene {
    /// An m5.large in 10.0.0.0/16; the pool keeps two addresses ready.
    pub(crate) fn new() -> Self {
        Self::with_store(MemoryStore::new())
    }

    pub(crate) fn with_store(store: MemoryStore) -> Self {
        let world = WorldConfig::new("10.0.0.0/16".parse().unwrap())
            .subnet("10.0.0.0/24".parse().unwrap())
            .instance(0, "m5.large")
            .build()
            .unwrap();
        let instance = world.instances()[0].id.clone();
        let env = [("WARM_IP_TARGET", "2"), ("IP_COOLDOWN_PERIOD", "0")];
        Self {
            cloud: Arc::new(ModelCloud::new(Arc::new(Mutex::new(world)), instance)),
            datapath: Arc::new(FakeDatapath::new()),
            store: Arc::new(store),
            house: None,
            change: Box::new(|daemon| daemon),
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn house(mut self, house: Arc<dyn Housekeeping>) -> Self {
        self.house = Some(house);
        self
    }

    /// What else the daemon is given.
    pub(crate) fn daemon(mut self, change: impl Fn(Daemon) -> Daemon + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    pub(crate) fn start(&self) -> Node {
        self.start_on(Arc::<MemoryStore>::clone(&self.store))
    }

    pub(crate) fn start_on(&self, store: Arc<dyn Store>) -> Node {
        self.start_with(Arc::<FakeDatapath>::clone(&self.datapath), store)
    }

    pub(crate) fn start_with(&self, datapath: Arc<dyn Datapath>, store: Arc<dyn Store>) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let introspection = dir.path().join("introspection.sock");
        let mut env = self.env.clone();
        let address = format!("unix:{}", introspection.display());
        env.insert("INTROSPECTION_BIND_ADDRESS".to_owned(), address);
        let (settings, warnings) = Settings::parse(&env).unwrap();
        assert_eq!(warnings, []);
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics_address = metrics.local_addr().unwrap();
        let socket = dir.path().join("ipamd.sock");
        let listener = listen_unix(&socket).unwrap();
        let (stop, stopped) = oneshot::channel();
        let cloud = Arc::<ModelCloud>::clone(&self.cloud);
        let mut daemon = Daemon::new(cloud, datapath, store, settings)
            .with_metrics(vpc_ipamd::Endpoint::Tcp(metrics));
        if let Some(house) = &self.house {
            daemon = daemon.with_housekeeping(Arc::clone(house));
        }
        daemon = (self.change)(daemon);
        let task = tokio::spawn(daemon.run(listener, async {
            let _ = stopped.await;
        }));
        Node { _dir: dir, socket, introspection, metrics: metrics_address, stop, task }
    }
}

/// A running daemon.
pub(crate) struct Node {
    _dir: TempDir,
    socket: PathBuf,
    introspection: PathBuf,
    metrics: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    pub task: JoinHandle<Result<(), DaemonError>>,
}

impl Node {
    pub(crate) async fn channel(&self) -> Channel {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_| {
            let stream = stream.take().ok_or_else(|| std::io::Error::other("one connection"));
            async move { stream }
        });
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
    }

    /// An ADD whose answer is not waited for here.
    pub(crate) async fn call_add(
        &self,
        id: &str,
    ) -> JoinHandle<Result<AddNetworkReply, tonic::Status>> {
        let mut client = CniBackendClient::new(self.channel().await);
        let request = add_request(id);
        tokio::spawn(
            async move { client.add_network(request).await.map(tonic::Response::into_inner) },
        )
    }

    pub(crate) async fn add(&self, id: &str) -> Result<AddNetworkReply, tonic::Status> {
        let mut client = CniBackendClient::new(self.channel().await);
        client.add_network(add_request(id)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn del(&self, id: &str) -> Result<DelNetworkReply, tonic::Status> {
        let mut client = CniBackendClient::new(self.channel().await);
        client.del_network(del_request(id)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn serves(&self, service: &str) -> bool {
        let mut client = HealthClient::new(self.channel().await);
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = client.check(request).await.unwrap().into_inner();
        reply.status() == ServingStatus::Serving
    }

    pub(crate) async fn ready(&self) {
        until("a ready daemon", || async { self.serves("").await.then_some(()) }).await;
    }

    /// Status, headers and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String, String) {
        let connect = || UnixStream::connect(&self.introspection);
        let stream = until("introspection", || async { connect().await.ok() }).await;
        http(stream, path).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (_, _, body) = self.get(path).await;
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// The reasons that `/healthz` gives.
    pub(crate) async fn degraded(&self) -> Vec<String> {
        let reasons = self.json("/healthz").await["degraded"].clone();
        serde_json::from_value(reasons).unwrap()
    }

    pub(crate) async fn metrics(&self) -> (u16, String, String) {
        http(TcpStream::connect(self.metrics).await.unwrap(), "/metrics").await
    }

    /// Addresses in use, as the daemon counts them.
    pub(crate) async fn assigned(&self) -> u64 {
        self.json("/v1/status").await["addresses"]["assigned"].as_u64().unwrap()
    }

    /// What SIGTERM does.
    pub(crate) async fn stop(self) -> Result<(), DaemonError> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

async fn http(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    path: &str,
) -> (u16, String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Ends because each connection carries one request.
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

pub(crate) fn add_request(id: &str) -> AddNetworkRequest {
    AddNetworkRequest {
        k8s_pod_name: format!("pod-{id}"),
        k8s_pod_namespace: "shop".to_owned(),
        k8s_pod_infra_container_id: id.to_owned(),
        netns: "/run/netns/x".to_owned(),
        if_name: "eth0".to_owned(),
        network_name: "aws-cni".to_owned(),
        container_id: id.to_owned(),
        client_version: CLIENT_VERSION.to_owned(),
        requires_multi_nic_attachment: false,
    }
}

pub(crate) fn del_request(id: &str) -> DelNetworkRequest {
    DelNetworkRequest {
        reason: "PodDeleted".to_owned(),
        if_name: "eth0".to_owned(),
        network_name: "aws-cni".to_owned(),
        container_id: id.to_owned(),
        client_version: CLIENT_VERSION.to_owned(),
        ..DelNetworkRequest::default()
    }
}

pub(crate) fn ip(reply: &AddNetworkReply) -> String {
    reply.ip_allocation_metadata[0].ipv4_addr.clone()
}
