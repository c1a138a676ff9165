//! Traffic that shows whether a datapath works: echo servers, and clients that say what went wrong.
//!
//! ```no_run
//! # use vpc_datapath_linux::testkit::{ns::NodeNs, probe::{EchoServer, ProbeSpec, tcp_probe}};
//! # fn f(a: &NodeNs, b: &NodeNs) -> Result<(), Box<dyn std::error::Error>> {
//! let server = EchoServer::tcp(b, "10.0.1.20:7".parse()?)?;
//! let spec = ProbeSpec::new().round_trips(100).expect_peer("10.0.0.10".parse()?);
//! let outcome = tcp_probe(a, None, server.addr(), &spec);
//! assert!(outcome.is_ok(), "{outcome}");
//! # Ok(())
//! # }
//! ```

mod client;
mod kernel;
mod server;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

pub use self::{
    client::{refused_probe, tcp_probe, udp_probe},
    kernel::{Unsupported, nf_tables, policy_routing, veth},
    server::EchoServer,
};

/// Asks a UDP echo server for the address that it sees, instead of an echo.
const ASK_PEER: &[u8] = b"which peer am I?";

/// Bound on each step of a probe unless set: connecting, and every single answer. Packets here take
/// microseconds; a busy machine may stop a process for a second.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of IPv4 and UDP headers in a packet.
const UDP_HEADERS: usize = 28;

/// How often [`poll_until`] looks.
const POLL: Duration = Duration::from_millis(5);

/// What a probe sends and what it expects.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProbeSpec {
    /// How often a payload goes there and back on the same flow.
    pub round_trips: u32,
    /// Bytes in a payload.
    pub size: usize,
    /// Bound on connecting and on each round trip.
    pub timeout: Duration,
    /// Address that the server must see, if it matters.
    pub expect_peer: Option<IpAddr>,
}

impl Default for ProbeSpec {
    fn default() -> Self {
        Self { round_trips: 1, size: 64, timeout: TIMEOUT, expect_peer: None }
    }
}

impl ProbeSpec {
    /// One round trip of 64 bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// As many payloads there and back on one flow.
    #[must_use]
    pub fn round_trips(mut self, n: u32) -> Self {
        self.round_trips = n;
        self
    }

    /// Payloads of as many bytes.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Payloads that fill IPv4 packets of `mtu` bytes when sent by UDP.
    #[must_use]
    pub fn fill_mtu(self, mtu: u32) -> Self {
        let mtu = usize::try_from(mtu).unwrap_or(usize::MAX);
        self.size(mtu.saturating_sub(UDP_HEADERS))
    }

    /// Another bound on each step.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The server must see this address: the pod's own, or the node's if it is translated.
    #[must_use]
    pub fn expect_peer(mut self, ip: IpAddr) -> Self {
        self.expect_peer = Some(ip);
        self
    }
}

/// How a probe went.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// All payloads came back, and the server saw whom it should.
    Passed {
        /// Address that the server saw.
        peer: SocketAddr,
        /// Address that the client had.
        local: SocketAddr,
    },
    /// No socket, or no connection.
    NotConnected {
        /// What the kernel said.
        reason: String,
    },
    /// A round trip did not complete.
    Lost {
        /// How many had completed.
        after: u32,
        /// What the kernel said, or how the answer was wrong.
        reason: String,
    },
    /// The server saw another address.
    WrongPeer {
        /// The address that it should have seen.
        expected: IpAddr,
        /// The address that it saw.
        seen: SocketAddr,
    },
    /// Packets had to be smaller than the payload needs.
    PathMtu {
        /// Bytes that the path carries.
        mtu: usize,
        /// Bytes that a packet needs.
        needed: usize,
    },
}

impl ProbeOutcome {
    /// True if the probe passed.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }

    /// The address that the server saw, or the reason of the failure.
    ///
    /// # Errors
    ///
    /// The text of any outcome but a pass.
    pub fn into_result(self) -> Result<SocketAddr, String> {
        match self {
            Self::Passed { peer, .. } => Ok(peer),
            other => Err(other.to_string()),
        }
    }
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { peer, local } => write!(f, "passed: {local} was seen as {peer}"),
            Self::NotConnected { reason } => write!(f, "not connected: {reason}"),
            Self::Lost { after, reason } => write!(f, "lost after {after} round trips: {reason}"),
            Self::WrongPeer { expected, seen } => {
                write!(f, "the server saw {seen} instead of {expected}")
            }
            Self::PathMtu { mtu, needed } => {
                write!(f, "the path carries packets of {mtu} bytes, {needed} are needed")
            }
        }
    }
}

/// Calls `attempt` until it succeeds.
///
/// # Errors
///
/// The last attempt's error, once `limit` is over. There is always one attempt.
pub fn poll_until<T, E>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => thread::sleep(POLL),
        }
    }
}
