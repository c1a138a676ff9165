//! Echo servers that tell whom they see.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike},
};

use super::ASK_PEER;
use crate::testkit::ns::{Namespace, NsError};

/// How often a waiting server looks whether it should stop.
const WAKE: Duration = Duration::from_millis(50);

/// Connections at once. Probes open one at a time; this is for storms of them.
const CONNECTIONS_MAX: usize = 512;

/// Largest piece echoed at once: the largest UDP payload fits.
const BUFFER: usize = 1 << 16;

/// An echo server in a namespace. It stops when it is dropped.
///
/// By TCP it greets with a line that holds the peer's address as it sees it, then echoes. By UDP it
/// echoes every datagram, and answers the probes' question for the peer's address.
#[derive(Debug)]
pub struct EchoServer {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// A TCP server at `addr` inside `ns`; port 0 lets the kernel choose.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound in the namespace.
    pub fn tcp(ns: impl AsRef<Namespace>, addr: SocketAddr) -> Result<Self, NsError> {
        let ns = ns.as_ref();
        let listener = ns.bind_tcp(addr)?;
        let wake = TimeVal::milliseconds(i64::try_from(WAKE.as_millis()).unwrap_or(i64::MAX));
        let prepared = setsockopt(&listener, sockopt::ReceiveTimeout, &wake)
            .map_err(io::Error::from)
            .and_then(|()| listener.local_addr());
        let addr = prepared.map_err(NsError::step(ns.name(), "prepare a TCP server"))?;
        Ok(Self::start(addr, move |stop| accept(&listener, stop)))
    }

    /// A UDP server at `addr` inside `ns`; port 0 lets the kernel choose.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound in the namespace.
    pub fn udp(ns: impl AsRef<Namespace>, addr: SocketAddr) -> Result<Self, NsError> {
        let ns = ns.as_ref();
        let socket = ns.bind_udp(addr)?;
        let prepared = socket.set_read_timeout(Some(WAKE)).and_then(|()| socket.local_addr());
        let addr = prepared.map_err(NsError::step(ns.name(), "prepare a UDP server"))?;
        Ok(Self::start(addr, move |stop| answer(&socket, stop)))
    }

    fn start(addr: SocketAddr, serve: impl FnOnce(&Arc<AtomicBool>) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&seen));
        Self { addr, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>) {
    let open = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, peer)) = listener.accept() else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (stop, open) = (Arc::clone(stop), Arc::clone(&open));
        thread::spawn(move || {
            // The client notices whatever goes wrong here.
            let _ = echo(stream, peer, &stop);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn echo(mut stream: TcpStream, peer: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(WAKE))?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("{peer}\n").as_bytes())?;
    let mut buffer = vec![0; BUFFER];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => stream.write_all(buffer.get(..n).unwrap_or_default())?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    while !stop.load(Ordering::Relaxed) {
        let Ok((n, peer)) = socket.recv_from(&mut buffer) else { continue };
        let payload = buffer.get(..n).unwrap_or_default();
        let text = peer.to_string();
        let reply = if payload == ASK_PEER { text.as_bytes() } else { payload };
        let _ = socket.send_to(reply, peer);
    }
}
