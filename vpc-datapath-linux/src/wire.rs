//! What rtnetlink and nfnetlink share: one blocking socket, framing, and the kernel's answers.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NlasIterator, nla_align,
};
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

/// The kernel never puts more than 32 KiB into one datagram of a dump; twice that leaves room for
/// drivers with many virtual functions.
const RECV_BUF_LEN: usize = 64 * 1024;
/// Length of `struct nlmsghdr`.
pub(crate) const HEADER_LEN: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's own words about a refusal.
const EXT_ACK_MSG: u16 = 1;
// The macro that aligns attribute lengths wants this name in scope.
use netlink_packet_core::NLA_ALIGNTO;

/// One blocking netlink socket, used by one caller at a time.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    buf: Vec<u8>,
    seq: u32,
    sends: u64,
}

impl Wire {
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        // Without this every refusal carries the whole request back.
        socket.set_cap_ack(true)?;
        Ok(Self { socket, buf: Vec::with_capacity(RECV_BUF_LEN), seq: 0, sends: 0 })
    }

    /// Makes the kernel refuse filters that it would ignore. Kernels before 4.20 do not know this
    /// and their dumps are then filtered by us alone.
    pub(crate) fn set_strict(&self) {
        let _ = self.socket.set_netlink_get_strict_chk(true);
    }

    pub(crate) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }

    /// Number of `send` calls so far.
    pub(crate) fn sends(&self) -> u64 {
        self.sends
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sends += 1;
        let sent = retry_eintr(|| self.socket.send(bytes, 0))?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Next datagram; blocks. Only call it when an answer is due.
    pub(crate) fn recv(&mut self) -> io::Result<&[u8]> {
        self.buf.clear();
        self.buf.reserve(RECV_BUF_LEN);
        let room = self.buf.capacity();
        let len = {
            let (socket, buf) = (&self.socket, &mut self.buf);
            retry_eintr(|| socket.recv(buf, libc::MSG_TRUNC))?
        };
        if len > room {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the kernel sent {len} bytes in one message, at most {room} are expected"),
            ));
        }
        Ok(&self.buf)
    }
}

fn retry_eintr<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match f() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) payload: &'a [u8],
}

/// Splits a datagram into messages; a malformed one ends the iteration with an error.
pub(crate) fn frames(datagram: &[u8]) -> impl Iterator<Item = io::Result<Frame<'_>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = NetlinkBuffer::new_checked(rest).map(|buf| {
            let len = usize::try_from(buf.length()).unwrap_or(usize::MAX);
            let frame = Frame {
                kind: buf.message_type(),
                flags: buf.flags(),
                seq: buf.sequence_number(),
                payload: buf.payload(),
            };
            (frame, len)
        });
        match parsed {
            Ok((frame, len)) => {
                rest = rest.get(nla_align!(len)..).unwrap_or(&[]);
                Some(Ok(frame))
            }
            Err(e) => {
                rest = &[];
                Some(Err(io::Error::new(io::ErrorKind::InvalidData, e)))
            }
        }
    })
}

/// The kernel's verdict on one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Done,
    Refused { errno: i32, detail: Option<String> },
}

impl Frame<'_> {
    /// The verdict, if this is an acknowledgement.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        let code = self.payload.first_chunk::<4>().map_or(-libc::EIO, |b| i32::from_ne_bytes(*b));
        Some(if code == 0 {
            Verdict::Done
        } else {
            Verdict::Refused { errno: code.saturating_abs(), detail: self.ext_ack() }
        })
    }

    fn ext_ack(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        // The header of the refused request comes first, and all of it unless it was capped.
        let echoed = if self.flags & NLM_F_CAPPED != 0 {
            HEADER_LEN
        } else {
            let len = self.payload.get(4..8)?.first_chunk::<4>().map(|b| u32::from_ne_bytes(*b))?;
            nla_align!(usize::try_from(len).ok()?)
        };
        ext_ack_text(self.payload.get(4 + echoed..)?)
    }
}

/// Text of an extended acknowledgement.
fn ext_ack_text(attributes: &[u8]) -> Option<String> {
    NlasIterator::new(attributes).map_while(Result::ok).find(|a| a.kind() == EXT_ACK_MSG).map(|a| {
        let text = a.value();
        String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()
    })
}

/// How a dump ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum DumpEnd {
    Complete,
    /// Something changed meanwhile: objects may be missing or twice in it.
    Interrupted,
    Refused {
        errno: i32,
        detail: Option<String>,
    },
}

/// Follows a dump from message to message.
#[derive(Debug, Default)]
struct DumpReader {
    interrupted: bool,
}

impl DumpReader {
    /// The end, if `frame` is it: an acknowledgement, a refusal, or a DONE that may carry an error.
    fn end(&mut self, frame: &Frame<'_>) -> Option<DumpEnd> {
        // Any one message of it may be the one that says so.
        self.interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
        let whole = if self.interrupted { DumpEnd::Interrupted } else { DumpEnd::Complete };
        if frame.kind == NLMSG_DONE {
            let code = frame.payload.first_chunk::<4>().map_or(0, |b| i32::from_ne_bytes(*b));
            let refused = DumpEnd::Refused { errno: code.saturating_abs(), detail: None };
            return Some(if code < 0 { refused } else { whole });
        }
        Some(match frame.verdict()? {
            Verdict::Done => whole,
            Verdict::Refused { errno, detail } => DumpEnd::Refused { errno, detail },
        })
    }
}

impl Wire {
    /// Reads the answer to dump `seq`, message by message.
    pub(crate) fn read_dump<E: From<io::Error>>(
        &mut self,
        seq: u32,
        mut each: impl FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<DumpEnd, E> {
        let mut reader = DumpReader::default();
        loop {
            for frame in frames(self.recv()?) {
                let frame = frame?;
                // Anything else is the tail of an exchange that failed halfway.
                if frame.seq != seq {
                    continue;
                }
                match reader.end(&frame) {
                    Some(end) => return Ok(end),
                    None => each(&frame)?,
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn nlmsgerr(errno: i32, flags: u16, tail: &[u8]) -> Vec<u8> {
        let mut m = Vec::new();
        let len = u32::try_from(HEADER_LEN + 4 + HEADER_LEN + tail.len()).unwrap();
        m.extend(len.to_ne_bytes());
        m.extend(NLMSG_ERROR.to_ne_bytes());
        m.extend(flags.to_ne_bytes());
        m.extend(7u32.to_ne_bytes());
        m.extend([0; 4]);
        m.extend((-errno).to_ne_bytes());
        m.extend([0; HEADER_LEN]);
        m.extend(tail);
        m
    }

    #[test]
    fn a_refusal_carries_the_kernels_words() {
        let mut tail = vec![10, 0, 1, 0];
        tail.extend(b"hello\0\0\0");
        let msg = nlmsgerr(17, NLM_F_CAPPED | NLM_F_ACK_TLVS, &tail);
        let frame = frames(&msg).next().unwrap().unwrap();
        assert_eq!(frame.seq, 7);
        assert_eq!(
            frame.verdict(),
            Some(Verdict::Refused { errno: 17, detail: Some("hello".to_owned()) })
        );
    }

    #[test]
    fn truncated_datagrams_are_errors_not_panics() {
        let msg = nlmsgerr(0, 0, &[]);
        for cut in 1..msg.len() {
            let last = frames(&msg[..cut]).last().unwrap();
            assert!(last.is_err(), "cut at {cut}");
        }
        assert_eq!(frames(&msg).count(), 1);
    }

    fn done(flags: u16, code: i32) -> (u16, [u8; 4]) {
        (flags, code.to_ne_bytes())
    }

    #[test]
    fn one_interrupted_message_spoils_the_whole_dump() {
        let object = |flags| Frame { kind: 16, flags, seq: 1, payload: &[] };
        let (flags, payload) = done(0, 0);
        let end = Frame { kind: NLMSG_DONE, flags, seq: 1, payload: &payload };
        let mut reader = DumpReader::default();
        assert_eq!(reader.end(&object(0)), None);
        assert_eq!(reader.end(&end), Some(DumpEnd::Complete));
        for spoiled in [0, 1] {
            let mut reader = DumpReader::default();
            for n in 0..3 {
                let flags = if n == spoiled { NLM_F_DUMP_INTR } else { 0 };
                assert_eq!(reader.end(&object(flags)), None);
            }
            assert_eq!(reader.end(&end), Some(DumpEnd::Interrupted));
        }
        let (flags, payload) = done(NLM_F_DUMP_INTR, 0);
        let end = Frame { kind: NLMSG_DONE, flags, seq: 1, payload: &payload };
        assert_eq!(DumpReader::default().end(&end), Some(DumpEnd::Interrupted));
    }

    #[test]
    fn a_dump_that_ends_in_an_error_is_refused() {
        let (flags, payload) = done(0, -nix::libc::ENOBUFS);
        let end = Frame { kind: NLMSG_DONE, flags, seq: 1, payload: &payload };
        let refused = DumpEnd::Refused { errno: nix::libc::ENOBUFS, detail: None };
        assert_eq!(DumpReader::default().end(&end), Some(refused));
    }
}
