//! A daemon for tests: the real gRPC contract on a unix socket, with scripted answers.
#![allow(dead_code)]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use tokio::{net::UnixListener, runtime, sync::oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use vpc_cni_plugin::rpc::{
    AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest,
    cni_backend_server::{CniBackend, CniBackendServer},
};

type Answer<Q, R> = Box<dyn Fn(&Q) -> Result<R, Status> + Send + Sync>;

/// What the daemon does.
pub(crate) struct Script {
    pub(crate) add: Answer<AddNetworkRequest, AddNetworkReply>,
    pub(crate) del: Answer<DelNetworkRequest, DelNetworkReply>,
}

/// What the daemon was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) adds: Vec<AddNetworkRequest>,
    pub(crate) dels: Vec<DelNetworkRequest>,
    /// `grpc-timeout` of each call.
    pub(crate) deadlines: Vec<String>,
}

struct Service {
    script: Script,
    asked: Arc<Mutex<Asked>>,
}

fn deadline<T>(request: &Request<T>) -> String {
    let value = request.metadata().get("grpc-timeout");
    value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

#[tonic::async_trait]
impl CniBackend for Service {
    async fn add_network(
        &self,
        request: Request<AddNetworkRequest>,
    ) -> Result<Response<AddNetworkReply>, Status> {
        let deadline = deadline(&request);
        let request = request.into_inner();
        let reply = (self.script.add)(&request);
        let mut asked = self.asked.lock().unwrap();
        asked.adds.push(request);
        asked.deadlines.push(deadline);
        reply.map(Response::new)
    }

    async fn del_network(
        &self,
        request: Request<DelNetworkRequest>,
    ) -> Result<Response<DelNetworkReply>, Status> {
        let deadline = deadline(&request);
        let request = request.into_inner();
        let reply = (self.script.del)(&request);
        let mut asked = self.asked.lock().unwrap();
        asked.dels.push(request);
        asked.deadlines.push(deadline);
        reply.map(Response::new)
    }
}

/// A running daemon; it stops when dropped.
pub(crate) struct Daemon {
    pub(crate) socket: PathBuf,
    pub(crate) asked: Arc<Mutex<Asked>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    /// Serves on `socket` from a thread of its own; connections are accepted when this returns.
    pub(crate) fn start(socket: &Path, script: Script) -> Self {
        let asked = Arc::new(Mutex::new(Asked::default()));
        let service = CniBackendServer::new(Service { script, asked: Arc::clone(&asked) });
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(socket).unwrap()
        };
        let thread = thread::spawn(move || {
            let incoming = UnixListenerStream::new(listener);
            let server = Server::builder().add_service(service);
            let until = async {
                let _ = stopped.await;
            };
            runtime.block_on(server.serve_with_incoming_shutdown(incoming, until)).unwrap();
        });
        Self { socket: socket.to_owned(), asked, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
