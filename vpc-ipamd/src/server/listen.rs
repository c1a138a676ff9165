//! Sockets that the servers listen on.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::Path,
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header::CONNECTION},
    middleware::map_response,
    response::Response,
};
use tokio::time::sleep;

use super::bounded::Bounded;
use crate::settings::BindAddress;

/// Port of the metrics server, on all interfaces.
pub(crate) const METRICS_PORT: u16 = 61678;
/// Access to a unix socket: its owner and group, as the reference has it.
const SOCKET_MODE: u32 = 0o660;
/// First pause before binding is tried again, doubled up to `RETRY_MAX`: the reference's figures.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Where an HTTP server listens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Endpoint {
    /// An address; binding it is retried for ever.
    Address(BindAddress),
    /// The metrics port on all interfaces, with IPv6 where there is IPv6; retried for ever.
    Metrics,
    /// A socket that is listening already.
    Tcp(std::net::TcpListener),
}

/// A unix socket at `path` that its owner and group may connect to. Its directory is created, and
/// a socket that a dead process left is replaced, so nobody finds the path without a listener.
///
/// # Errors
///
/// If any step fails, or if there is something at `path` that is not a socket.
pub fn unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) => {
            let message = format!("{} exists and is not a socket; move it away", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        _ => {}
    }
    // Bound under another name and renamed: until it is connectable by those it is for, and by
    // nobody else, it is not there.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&temporary);
    match fs::remove_file(temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(temporary)?;
    fs::set_permissions(temporary, Permissions::from_mode(SOCKET_MODE))?;
    fs::rename(temporary, path)?;
    Ok(listener)
}

/// Serves `router` at `endpoint` until the future is dropped.
pub(crate) async fn serve(what: &'static str, endpoint: Endpoint, router: Router) {
    let router = router.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }));
    let mut pause = RETRY_MIN;
    let mut endpoint = Some(endpoint);
    loop {
        let bound = match endpoint.take() {
            Some(Endpoint::Tcp(listener)) => from_std(listener).map(Bound::Tcp),
            Some(Endpoint::Address(address)) => {
                let bound = bind(&address).await;
                endpoint = Some(Endpoint::Address(address));
                bound
            }
            Some(Endpoint::Metrics) => {
                endpoint = Some(Endpoint::Metrics);
                bind_metrics().await.map(Bound::Tcp)
            }
            None => return,
        };
        let served = match bound {
            Ok(Bound::Tcp(listener)) => axum::serve(Bounded::new(listener), router.clone()).await,
            Ok(Bound::Unix(listener)) => axum::serve(Bounded::new(listener), router.clone()).await,
            Err(e) => Err(e),
        };
        if let Err(error) = served {
            tracing::warn!(%error, server = what, retry_s = pause.as_secs(), "cannot listen");
        }
        sleep(pause).await;
        pause = RETRY_MAX.min(pause.saturating_mul(2));
    }
}

enum Bound {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

async fn bind(address: &BindAddress) -> io::Result<Bound> {
    match address {
        BindAddress::Tcp(address) => {
            tokio::net::TcpListener::bind(address.as_str()).await.map(Bound::Tcp)
        }
        BindAddress::Unix(path) => unix_async(unix(path)?).map(Bound::Unix),
    }
}

async fn bind_metrics() -> io::Result<tokio::net::TcpListener> {
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, METRICS_PORT));
    match tokio::net::TcpListener::bind(v6).await {
        Ok(listener) => Ok(listener),
        // A kernel without IPv6.
        Err(_) => tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, METRICS_PORT)).await,
    }
}

fn from_std(listener: std::net::TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

pub(crate) fn unix_async(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_dead_daemon_s_socket_is_replaced_and_access_is_limited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/aws-node/ipamd.sock");
        drop(unix(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err(), "nobody listens");
        let listener = unix(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let dir = path.parent().unwrap();
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "the temporary name is gone");
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipamd.sock");
        fs::write(&path, "precious").unwrap();
        assert!(unix(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
