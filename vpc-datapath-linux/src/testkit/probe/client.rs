//! Clients of the echo servers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt,
            setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};

use super::{ASK_PEER, ProbeOutcome, ProbeSpec, UDP_HEADERS};
use crate::testkit::ns::Namespace;

/// Longest greeting of a server: an address with port.
const GREETING_MAX: u64 = 64;

/// Connects by TCP from inside `ns` and exchanges payloads; `from` is the source address if it is
/// not the kernel's choice.
pub fn tcp_probe(
    ns: impl AsRef<Namespace>,
    from: Option<IpAddr>,
    to: SocketAddr,
    spec: &ProbeSpec,
) -> ProbeOutcome {
    match ns.as_ref().run(|| connect_tcp(from, to, spec.timeout)) {
        Ok(Ok(stream)) => exchange_tcp(stream, spec).unwrap_or_else(|outcome| outcome),
        Ok(Err(e)) => ProbeOutcome::NotConnected { reason: format!("{to}: {e}") },
        Err(e) => ProbeOutcome::NotConnected { reason: e.to_string() },
    }
}

/// Sends datagrams by UDP from inside `ns` and awaits their echoes, none of them fragmented.
pub fn udp_probe(
    ns: impl AsRef<Namespace>,
    from: Option<IpAddr>,
    to: SocketAddr,
    spec: &ProbeSpec,
) -> ProbeOutcome {
    let any = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let connected = ns.as_ref().run(|| {
        let socket = UdpSocket::bind((from.unwrap_or(any), 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(spec.timeout))?;
        Ok::<_, io::Error>(socket)
    });
    match connected {
        Ok(Ok(socket)) => exchange_udp(&socket, spec).unwrap_or_else(|outcome| outcome),
        Ok(Err(e)) => ProbeOutcome::NotConnected { reason: format!("{to}: {e}") },
        Err(e) => ProbeOutcome::NotConnected { reason: e.to_string() },
    }
}

/// Tries to connect by TCP and expects to fail.
///
/// # Errors
///
/// If it connected within `limit`, or no attempt could be made: an address that is not there proves
/// nothing.
pub fn refused_probe(
    ns: impl AsRef<Namespace>,
    from: Option<IpAddr>,
    to: SocketAddr,
    limit: Duration,
) -> Result<(), String> {
    let ns = ns.as_ref();
    match ns.run(|| connect_tcp(from, to, limit)) {
        Ok(Ok(_)) => Err(format!("{} could connect to {to}", ns.name())),
        Ok(Err(e)) if e.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => {
            Err(format!("{} has no address {from:?}", ns.name()))
        }
        Ok(Err(_)) => Ok(()),
        Err(e) => Err(e.to_string()),
    }
}

/// The standard library cannot choose the source of a connection. A send timeout bounds `connect`.
fn connect_tcp(from: Option<IpAddr>, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::milliseconds(limit_ms))?;
    if let Some(ip) = from {
        bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(ip, 0)))?;
    }
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
        Err(Errno::EINPROGRESS | Errno::EAGAIN) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")))
        }
        other => {
            other?;
            Ok(TcpStream::from(fd))
        }
    }
}

fn exchange_tcp(stream: TcpStream, spec: &ProbeSpec) -> Result<ProbeOutcome, ProbeOutcome> {
    let lost = |after| move |e: io::Error| ProbeOutcome::Lost { after, reason: reason(&e) };
    stream.set_nodelay(true).map_err(lost(0))?;
    stream.set_read_timeout(Some(spec.timeout)).map_err(lost(0))?;
    let local = stream.local_addr().map_err(lost(0))?;
    let mut reader = BufReader::new(&stream);
    let mut greeting = String::new();
    reader.by_ref().take(GREETING_MAX).read_line(&mut greeting).map_err(lost(0))?;
    let peer = check_peer(&greeting, spec)?;
    let mut answer = vec![0; spec.size];
    for n in 0..spec.round_trips {
        let payload = payload(n, spec.size);
        // Both directions at once: a payload larger than all buffers on the way must not block.
        let (written, read) = thread::scope(|scope| {
            let writer = scope.spawn(|| (&stream).write_all(&payload));
            let read = reader.read_exact(&mut answer);
            (writer.join(), read)
        });
        read.map_err(lost(n))?;
        if let Ok(written) = written {
            written.map_err(lost(n))?;
        }
        if answer != payload {
            return Err(ProbeOutcome::Lost { after: n, reason: "the echo differs".to_owned() });
        }
    }
    Ok(ProbeOutcome::Passed { peer, local })
}

fn exchange_udp(socket: &UdpSocket, spec: &ProbeSpec) -> Result<ProbeOutcome, ProbeOutcome> {
    let lost = |after| move |e: io::Error| ProbeOutcome::Lost { after, reason: reason(&e) };
    let local = socket.local_addr().map_err(lost(0))?;
    let mut answer = vec![0; spec.size.max(ASK_PEER.len()).max(128)];
    for n in 0..spec.round_trips {
        let payload = payload(n, spec.size);
        socket.send(&payload).map_err(lost(n))?;
        let len = socket.recv(&mut answer).map_err(lost(n))?;
        if answer.get(..len) != Some(payload.as_slice()) {
            return Err(ProbeOutcome::Lost { after: n, reason: "the echo differs".to_owned() });
        }
    }
    // The kernel sets the do-not-fragment bit as long as a datagram fits what it knows of the path,
    // so nothing was cut if it still fits.
    let needed = spec.size + UDP_HEADERS;
    let mtu = getsockopt(socket, sockopt::IpMtu).map_err(|e| lost(spec.round_trips)(e.into()))?;
    let mtu = usize::try_from(mtu).unwrap_or(0);
    if mtu < needed {
        return Err(ProbeOutcome::PathMtu { mtu, needed });
    }
    // Last, so that the first packet of the flow is a payload.
    socket.send(ASK_PEER).map_err(lost(spec.round_trips))?;
    let len = socket.recv(&mut answer).map_err(lost(spec.round_trips))?;
    let text = String::from_utf8_lossy(answer.get(..len).unwrap_or_default()).into_owned();
    let peer = check_peer(&text, spec)?;
    Ok(ProbeOutcome::Passed { peer, local })
}

fn check_peer(text: &str, spec: &ProbeSpec) -> Result<SocketAddr, ProbeOutcome> {
    let peer: SocketAddr = text.trim().parse().map_err(|_| ProbeOutcome::Lost {
        after: 0,
        reason: format!("{text:?} is no answer of an echo server"),
    })?;
    match spec.expect_peer {
        Some(expected) if expected != peer.ip() => {
            Err(ProbeOutcome::WrongPeer { expected, seen: peer })
        }
        _ => Ok(peer),
    }
}

/// Differs from one round trip to the next, so that a late echo is no echo.
fn payload(n: u32, size: usize) -> Vec<u8> {
    n.to_be_bytes().into_iter().chain((0..=250).cycle()).take(size).collect()
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}
