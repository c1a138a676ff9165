//! A running daemon, and what it says of itself.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use vpc_eni_aws::{AwsBackend, emulator::Emulator};
use vpc_ipam_core::{
    datapath::Datapath,
    id::InstanceId,
    store::Store,
    testkit::{FakeDatapath, MemoryStore},
};
use vpc_ipamd::{
    DaemonError, Endpoint, aws,
    settings::{BindAddress, Settings},
};

/// Decides how the daemon spreads its retries.
const SEED: u64 = 7;
/// Between two tries to reach a server that has just been started.
const PAUSE: Duration = Duration::from_millis(1);
/// Such tries.
const TRIES: u32 = 1000;
/// Connections that wait to be taken.
const CALLERS_MAX: usize = 256;
/// Bytes on their way in one direction of a connection.
const BUFFER_LEN: usize = 1 << 16;

/// A daemon composed as the program composes it, but for kernel, disk and sockets.
pub(crate) struct Node {
    dir: TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), DaemonError>>,
    /// What it speaks to AWS through.
    pub(crate) backend: Arc<AwsBackend>,
}

impl Node {
    pub(super) fn start(
        socket: &Socket,
        emulator: &Emulator,
        instance: &InstanceId,
        datapath: &Arc<FakeDatapath>,
        store: &Arc<MemoryStore>,
        env: &BTreeMap<String, String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut env = env.clone();
        let introspection = dir.path().join("introspection.sock");
        let address = format!("unix:{}", introspection.display());
        env.insert("INTROSPECTION_BIND_ADDRESS".to_owned(), address);
        let (mut settings, warnings) = Settings::parse(&env).unwrap();
        assert_eq!(warnings, []);
        settings.seed = Some(SEED);
        let config = aws::config(&settings).in_process(emulator, instance).build().unwrap();
        let datapath: Arc<dyn Datapath> = Arc::<FakeDatapath>::clone(datapath);
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(store);
        let (daemon, backend) = aws::daemon(config, datapath, store, settings).unwrap();
        let metrics = BindAddress::Unix(dir.path().join("metrics.sock"));
        let daemon = daemon.with_metrics(Endpoint::Address(metrics));
        let callers = socket.listen();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(daemon.run_in_memory(callers, async {
            let _ = stopped.await;
        }));
        Self { dir, stop, task, backend }
    }

    /// What SIGTERM does.
    pub(super) async fn stop(self) {
        self.stop.send(()).expect("the daemon has ended by itself");
        self.task.await.unwrap().unwrap();
    }

    /// What SIGKILL does: whatever was under way ends here.
    pub(super) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Status and body of an introspection page.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        self.get("introspection.sock", path).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (_, body) = self.page(path).await;
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// What is wrong with the node, as `/healthz` has it: `reason: sentence`.
    pub(crate) async fn degraded(&self) -> Vec<String> {
        serde_json::from_value(self.json("/healthz").await["degraded"].clone()).unwrap()
    }

    /// The page for Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let (status, body) = self.get("metrics.sock", "/metrics").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn get(&self, socket: &str, path: &str) -> (u16, String) {
        let socket = self.dir.path().join(socket);
        for _ in 0..TRIES {
            if let Some(answer) = at_once(http(&socket, path)).await {
                return answer;
            }
            assert!(!self.task.is_finished(), "the daemon has ended");
            sleep(PAUSE).await;
        }
        panic!("{} does not answer", socket.display());
    }
}

/// Where the plugin finds the daemon, whichever of them runs.
#[derive(Clone, Default)]
pub(crate) struct Socket(Arc<Mutex<Option<mpsc::Sender<DuplexStream>>>>);

impl Socket {
    /// Connections to the daemon that starts now.
    fn listen(&self) -> mpsc::Receiver<DuplexStream> {
        let (sender, callers) = mpsc::channel(CALLERS_MAX);
        *self.0.lock().unwrap() = Some(sender);
        callers
    }

    /// A connection; `None` if nobody is there.
    pub(super) async fn connect(&self) -> Option<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(BUFFER_LEN);
        let sender = self.0.lock().unwrap().clone()?;
        sender.send(theirs).await.ok()?;
        Some(ours)
    }
}

/// Waits for IO while the clock stands. A paused clock jumps to the next timer while bytes are in a
/// socket, but not while a blocking task runs.
async fn at_once<T>(io: impl Future<Output = T>) -> T {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = spawn_blocking(move || held.recv());
    let result = io.await;
    drop(release);
    let _ = holding.await.unwrap();
    result
}

/// Status and body; `None` if nobody listens.
async fn http(socket: &Path, path: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Ends because each connection carries one request.
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}
