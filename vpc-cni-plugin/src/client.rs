//! The daemon over gRPC on its unix socket.

use std::{error::Error as _, future::Future, io, path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, runtime, time};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    backend::{Backend, BackendError},
    rpc::{
        AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest, UNKNOWN_POD,
        cni_backend_client::CniBackendClient,
    },
};

/// How long ADD waits: an allocation may need several EC2 calls, and kubelet gives a sandbox two
/// minutes in all.
const ADD_DEADLINE: Duration = Duration::from_secs(60);

/// How long DEL waits: the daemon only writes its state file, and the plugin can finish without it.
const DEL_DEADLINE: Duration = Duration::from_secs(5);

/// Pause before another try when the daemon's queue of unaccepted connections is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// Calls the daemon; a connection and a single-threaded runtime per call, since the process
/// makes one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct IpamdClient;

impl IpamdClient {
    /// A client; it connects when it is called.
    pub fn new() -> Self {
        Self
    }
}

impl Backend for IpamdClient {
    fn add_network(
        &self,
        socket: &Path,
        request: AddNetworkRequest,
    ) -> Result<AddNetworkReply, BackendError> {
        call(socket, ADD_DEADLINE, |mut client| async move {
            client.add_network(with_deadline(request, ADD_DEADLINE)).await
        })
    }

    fn del_network(
        &self,
        socket: &Path,
        request: DelNetworkRequest,
    ) -> Result<DelNetworkReply, BackendError> {
        call(socket, DEL_DEADLINE, |mut client| async move {
            client.del_network(with_deadline(request, DEL_DEADLINE)).await
        })
    }
}

/// The daemon is told the deadline too, so that it gives up when the plugin does.
fn with_deadline<T>(message: T, deadline: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline);
    request
}

fn call<T, F>(
    socket: &Path,
    deadline: Duration,
    rpc: impl FnOnce(CniBackendClient<Channel>) -> F,
) -> Result<T, BackendError>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let unreachable = |source| BackendError::Unreachable { socket: socket.to_owned(), source };
    let late = || BackendError::Deadline { socket: socket.to_owned(), seconds: deadline.as_secs() };
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(unreachable)?;
    runtime.block_on(async {
        time::timeout(deadline, async {
            let stream = connect(socket).await.map_err(unreachable)?;
            let channel = channel(stream).await.map_err(unreachable)?;
            let reply = rpc(CniBackendClient::new(channel)).await;
            reply.map(tonic::Response::into_inner).map_err(|status| match status.code() {
                // The second is what the daemon's side of this library says when time is up.
                Code::DeadlineExceeded | Code::Cancelled => late(),
                _ => refused(socket, &status),
            })
        })
        .await
        .unwrap_or_else(|_| Err(late()))
    })
}

/// Connects, waiting while the daemon has more callers than it has accepted. The caller bounds it.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => time::sleep(BACKLOG_PAUSE).await,
            other => return other,
        }
    }
}

async fn channel(stream: UnixStream) -> io::Result<Channel> {
    let mut stream = Some(TokioIo::new(stream));
    // The address is never resolved; HTTP/2 wants one for its `:authority`.
    Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            async move { stream }
        }))
        .await
        .map_err(io::Error::other)
}

fn refused(socket: &Path, status: &Status) -> BackendError {
    let message = status.message().to_owned();
    if message.contains(UNKNOWN_POD) {
        return BackendError::UnknownPod;
    }
    // Only a status that was made on this side has a source: the transport failed.
    if status.source().is_some() {
        return BackendError::Broken { socket: socket.to_owned(), message };
    }
    match status.code() {
        Code::ResourceExhausted => BackendError::NoAddress { message },
        Code::Unavailable => BackendError::NotReady { message },
        Code::FailedPrecondition => BackendError::Version { message },
        code => BackendError::Failed { status: format!("{code:?}"), message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_kinds() {
        let of = |code, text: &str| refused(Path::new("/s"), &Status::new(code, text));
        assert!(matches!(of(Code::Unknown, "datastore: unknown pod"), BackendError::UnknownPod));
        assert!(matches!(of(Code::FailedPrecondition, "x"), BackendError::Version { .. }));
        assert!(matches!(of(Code::Unknown, "x"), BackendError::Failed { .. }));
        assert!(!of(Code::Internal, "x").is_transient());
        let full = of(Code::ResourceExhausted, "27 of 27 addresses in use");
        assert!(matches!(&full, BackendError::NoAddress { .. }) && full.is_transient());
        assert_eq!(full.to_string(), "27 of 27 addresses in use");
        let early = of(Code::Unavailable, "EC2 does not answer");
        assert!(matches!(&early, BackendError::NotReady { .. }) && early.is_transient());
    }

    #[test]
    fn a_missing_socket_is_unreachable() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let socket = dir.path().join("ipamd.sock");
        let got = IpamdClient::new().del_network(&socket, DelNetworkRequest::default());
        match got {
            Err(BackendError::Unreachable { source, .. }) => {
                assert_eq!(source.kind(), io::ErrorKind::NotFound);
            }
            other => unreachable!("{other:?}"),
        }
    }
}
