//! The blocking rtnetlink socket: single requests, batches and dumps.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    ParseableParametrized,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::{NetlinkError, Refusal};
use crate::{
    netns::{NetnsError, NetnsFd, run_in},
    wire::{DumpEnd, Frame, Verdict, Wire, frames},
};

/// Attempts at a dump that other changes keep interrupting. Each takes about as long as one change,
/// so a few are enough unless something floods the kernel.
const DUMP_ATTEMPTS_MAX: u32 = 8;
/// Messages in one send. Every acknowledgement takes about 800 bytes of the 208 KiB that a socket's
/// receive queue holds by default, and a queue that overflows loses acknowledgements.
pub const BATCH_MAX: usize = 128;

/// One change to be asked of the kernel, with words for the error message.
///
/// Made by the builders of this module ([`Link`](super::Link), [`Route`](super::Route), …).
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) label: String,
    pub(super) message: RouteNetlinkMessage,
    pub(super) flags: u16,
    /// Keeps the descriptor alive that the message names by number.
    pub(super) _netns: Vec<NetnsFd>,
}

impl Request {
    pub(super) fn new(label: String, message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { label, message, flags, _netns: Vec::new() }
    }

    /// What the request is to do.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The request as sent, with sequence number `seq`.
    pub(crate) fn encode(&self, seq: u32) -> Vec<u8> {
        encode(self.message.clone(), self.flags | NLM_F_REQUEST | NLM_F_ACK, seq)
    }
}

/// Requests that go out in one send.
///
/// Not atomic: the kernel carries on after a refusal, so the caller looks at each
/// [`Refusal`](super::Refusal) and undoes what is to be undone.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    requests: Vec<Request>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a request and tells its position, which refusals refer to.
    pub fn push(&mut self, request: Request) -> usize {
        self.requests.push(request);
        self.requests.len() - 1
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// True without any request.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}

impl FromIterator<Request> for Batch {
    fn from_iter<I: IntoIterator<Item = Request>>(requests: I) -> Self {
        Self { requests: requests.into_iter().collect() }
    }
}

/// A blocking rtnetlink socket. It belongs to the network namespace it was opened in, wherever it is
/// used.
#[derive(Debug)]
pub struct Socket {
    wire: Wire,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// If the kernel gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let wire = Wire::open(NETLINK_ROUTE).map_err(NetlinkError::io("socket"))?;
        wire.set_strict();
        Ok(Self { wire })
    }

    /// Opens a socket in another network namespace.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel gives no socket.
    pub fn open_in(netns: &NetnsFd) -> Result<Self, NetnsError> {
        run_in(netns, Self::open)?.map_err(NetnsError::Socket)
    }

    /// Number of sends so far, for tests and metrics.
    pub fn sends(&self) -> u64 {
        self.wire.sends()
    }

    /// Asks for one change and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Refused`] with exactly one refusal, or a failure of the socket.
    pub fn request(&mut self, request: Request) -> Result<(), NetlinkError> {
        self.run(&Batch::from_iter([request]))
    }

    /// Sends all requests of `batch` at once (beyond [`BATCH_MAX`], in several sends) and waits for
    /// every answer.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Refused`] with every refusal; requests not listed were carried out.
    pub fn run(&mut self, batch: &Batch) -> Result<(), NetlinkError> {
        let mut refusals = Vec::new();
        for (nth, chunk) in batch.requests.chunks(BATCH_MAX).enumerate() {
            self.run_chunk(chunk, nth * BATCH_MAX, &mut refusals)?;
        }
        if refusals.is_empty() { Ok(()) } else { Err(NetlinkError::Refused(refusals)) }
    }

    fn run_chunk(
        &mut self,
        chunk: &[Request],
        offset: usize,
        refusals: &mut Vec<Refusal>,
    ) -> Result<(), NetlinkError> {
        let mut bytes = Vec::new();
        let mut waiting: Vec<(u32, usize)> = Vec::with_capacity(chunk.len());
        for (index, request) in chunk.iter().enumerate() {
            let seq = self.wire.next_seq();
            bytes.extend(request.encode(seq));
            waiting.push((seq, index));
        }
        self.wire.send(&bytes).map_err(NetlinkError::io("send"))?;
        let mut refused = Vec::new();
        while !waiting.is_empty() {
            for frame in frames(self.wire.recv()?) {
                let frame = frame?;
                let Some(verdict) = frame.verdict() else { continue };
                let Some(at) = waiting.iter().position(|(seq, _)| *seq == frame.seq) else {
                    continue;
                };
                let (_, index) = waiting.swap_remove(at);
                if let Verdict::Refused { errno, detail } = verdict {
                    let label = chunk.get(index).map(|r| r.label.clone()).unwrap_or_default();
                    refused.push(Refusal { index: offset + index, label, errno, detail });
                }
            }
        }
        refused.sort_by_key(|r| r.index);
        refusals.append(&mut refused);
        Ok(())
    }

    /// All objects that a dump request yields.
    pub(super) fn dump<T>(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS_MAX {
            if let Some(all) = self.dump_once(what, request, NLM_F_DUMP, &pick)? {
                return Ok(all);
            }
        }
        Err(NetlinkError::Interrupted { what, attempts: DUMP_ATTEMPTS_MAX })
    }

    /// The one object that a get request yields.
    pub(super) fn one<T>(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let all = self.dump_once(what, request, NLM_F_ACK, &pick)?;
        Ok(all.unwrap_or_default().into_iter().next())
    }

    /// `None` if the dump was interrupted.
    fn dump_once<T>(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        flags: u16,
        pick: &impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetlinkError> {
        let seq = self.wire.next_seq();
        let bytes = encode(request.clone(), flags | NLM_F_REQUEST, seq);
        self.wire.send(&bytes).map_err(NetlinkError::io("send"))?;
        let mut all = Vec::new();
        let end = self.wire.read_dump(seq, |frame| -> Result<(), NetlinkError> {
            all.extend(pick(decode(what, frame)?));
            Ok(())
        })?;
        match end {
            DumpEnd::Complete => Ok(Some(all)),
            DumpEnd::Interrupted => Ok(None),
            DumpEnd::Refused { errno, detail } => {
                let label = format!("list {what}");
                Err(NetlinkError::Refused(vec![Refusal { index: 0, label, errno, detail }]))
            }
        }
    }
}

fn encode(message: RouteNetlinkMessage, flags: u16, seq: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = seq;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}

fn decode(what: &'static str, frame: &Frame<'_>) -> Result<RouteNetlinkMessage, NetlinkError> {
    RouteNetlinkMessage::parse_with_param(frame.payload, frame.kind)
        .map_err(|e| NetlinkError::Malformed { what, why: e.to_string() })
}
