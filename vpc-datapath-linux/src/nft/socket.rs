//! The blocking nfnetlink socket: transactions and dumps of nf_tables.

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    NetfilterSubsystem,
    nftables::{NfTablesMessage, NfTablesMessageType as Type},
};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{
    attr::{Attrs, be32, text},
    chain::{Chain, Family, Table},
    rule::{ListedRule, Rule},
    set::{Element, Set},
    transaction::{OBJ_DATA, OBJ_NAME, OBJ_TABLE, OBJ_TYPE, OBJ_TYPE_COUNTER, Op, Transaction},
};
use crate::{
    netlink::{ErrorKind, NetlinkError, Refusal},
    netns::{NetnsError, NetnsFd, run_in},
    wire::{DumpEnd, Frame, Verdict, Wire, frames},
};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BATCH_BEGIN: u8 = 0x10;
const BATCH_END: u8 = 0x11;
/// A batch names the subsystem that it is for.
const SUBSYSTEM_NFTABLES: u16 = 10;
/// Length of `struct nfgenmsg` in front of the attributes.
const NFGENMSG_LEN: usize = 4;
/// Most that one send takes: the kernel's default send buffer is 208 KiB, a part of which it keeps.
const TRANSACTION_LEN_MAX: usize = 200 * 1024;
/// See the socket of rtnetlink.
const DUMP_ATTEMPTS_MAX: u32 = 8;

/// A blocking nfnetlink socket. It belongs to the network namespace it was opened in.
///
/// Keep it: closing one after a delete waits 12 to 16 ms for the kernel.
#[derive(Debug)]
pub struct Socket {
    wire: Wire,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// If the kernel gives no socket: it lacks nfnetlink.
    pub fn open() -> Result<Self, NetlinkError> {
        let wire = Wire::open(NETLINK_NETFILTER).map_err(NetlinkError::io("socket"))?;
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

    /// Carries out all changes of `transaction`, or none.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Refused`] with all refused changes; none was carried out then.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<(), NetlinkError> {
        let Some(last) = transaction.ops.len().checked_sub(1) else { return Ok(()) };
        let begin = self.wire.next_seq();
        let mut bytes = batch_edge(BATCH_BEGIN, begin);
        let mut seqs = Vec::with_capacity(transaction.ops.len());
        for (index, op) in transaction.ops.iter().enumerate() {
            let seq = self.wire.next_seq();
            // The end of the batch is not acknowledged, so its last change has to be.
            let ack = if index == last { NLM_F_ACK } else { 0 };
            bytes.extend(encode(op, NLM_F_REQUEST | op.flags | ack, seq));
            seqs.push(seq);
        }
        let end = self.wire.next_seq();
        bytes.extend(batch_edge(BATCH_END, end));
        if bytes.len() > TRANSACTION_LEN_MAX {
            return Err(NetlinkError::TooLarge {
                label: "nftables transaction".to_owned(),
                why: format!("{} bytes, at most {TRANSACTION_LEN_MAX} fit", bytes.len()),
            });
        }
        self.wire.send(&bytes).map_err(NetlinkError::io("send"))?;
        self.outcome(transaction, begin, &seqs)
    }

    /// Reads verdicts up to that on the last change, or that on the batch as a whole.
    fn outcome(
        &mut self,
        transaction: &Transaction,
        begin: u32,
        seqs: &[u32],
    ) -> Result<(), NetlinkError> {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut finished = false;
        while !finished {
            for frame in frames(self.wire.recv()?) {
                let frame = frame?;
                let Some(verdict) = frame.verdict() else { continue };
                let index = seqs.iter().position(|seq| *seq == frame.seq);
                if index.is_none() && frame.seq != begin {
                    continue;
                }
                finished |= index.is_none_or(|i| i + 1 == seqs.len());
                if let Verdict::Refused { errno, detail } = verdict {
                    let op = index.and_then(|i| transaction.ops.get(i));
                    let label =
                        op.map_or_else(|| "nftables transaction".to_owned(), |op| op.label.clone());
                    refusals.push(Refusal { index: index.unwrap_or(0), label, errno, detail });
                }
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(NetlinkError::Refused(refusals)) }
    }

    /// All tables of the namespace.
    ///
    /// # Errors
    ///
    /// If the dump fails.
    pub fn tables(&mut self) -> Result<Vec<Table>, NetlinkError> {
        self.dump("tables", Family::Other(0), Type::GetTable, Vec::new(), |frame, attrs| {
            let family = Family::from_number(frame.payload.first().copied()?);
            Some(Table { family, name: attrs.text(1)? })
        })
    }

    /// All chains of `table`; none if there is no such table.
    ///
    /// # Errors
    ///
    /// If the dump fails.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<Chain>, NetlinkError> {
        self.dump("chains", table.family, Type::GetChain, Vec::new(), |_, attrs| {
            Chain::decode(attrs).filter(|(t, _)| *t == table.name).map(|(_, chain)| chain)
        })
    }

    /// All rules of `table`, chain by chain in order; none if there is no such table.
    ///
    /// # Errors
    ///
    /// If the dump fails.
    pub fn rules(&mut self, table: &Table) -> Result<Vec<ListedRule>, NetlinkError> {
        let filter = vec![text(1, &table.name)];
        self.dump("rules", table.family, Type::GetRule, filter, |_, attrs| {
            Rule::decode(attrs).filter(|(t, _)| *t == table.name).map(|(_, rule)| rule)
        })
    }

    /// Names of all sets and maps of `table`; none if there is no such table.
    ///
    /// # Errors
    ///
    /// If the dump fails.
    pub fn sets(&mut self, table: &Table) -> Result<Vec<String>, NetlinkError> {
        let filter = vec![text(1, &table.name)];
        self.dump("sets", table.family, Type::GetSet, filter, |_, attrs| {
            Set::decode_name(attrs).filter(|(t, _)| *t == table.name).map(|(_, name)| name)
        })
    }

    /// All elements of a set, in no particular order; none if there is no such set.
    ///
    /// # Errors
    ///
    /// If the dump fails.
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<Element>, NetlinkError> {
        let filter = Element::encode_list(&table.name, set, &[]);
        let lists =
            self.dump("elements", table.family, Type::GetSetElement, filter, |_, attrs| {
                Some(Element::decode_list(attrs))
            })?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Packets and bytes of each counter with a name, in the order the kernel lists them.
    ///
    /// # Errors
    ///
    /// If the dump fails.
    pub fn counters(&mut self, table: &Table) -> Result<Vec<(String, u64, u64)>, NetlinkError> {
        let filter = vec![text(OBJ_TABLE, &table.name), be32(OBJ_TYPE, OBJ_TYPE_COUNTER)];
        self.dump("counters", table.family, Type::GetObject, filter, |_, attrs| {
            let data = attrs.nested(OBJ_DATA)?;
            Some((attrs.text(OBJ_NAME)?, data.be64(2)?, data.be64(1)?))
        })
    }

    /// Number that every transaction in the namespace increases.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn generation(&mut self) -> Result<u32, NetlinkError> {
        const GEN_ID: u16 = 1;
        let op = get(Family::Other(0), Type::GetGen, Vec::new());
        let all = self.dump_once("generation", &op, NLM_F_ACK, &|_, attrs| attrs.be32(GEN_ID))?;
        all.unwrap_or_default().into_iter().next().ok_or_else(|| NetlinkError::Malformed {
            what: "generation",
            why: "no number in it".to_owned(),
        })
    }

    fn dump<T>(
        &mut self,
        what: &'static str,
        family: Family,
        kind: Type,
        filter: Vec<DefaultNla>,
        pick: impl Fn(&Frame<'_>, &Attrs<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let op = get(family, kind, filter);
        for _ in 0..DUMP_ATTEMPTS_MAX {
            match self.dump_once(what, &op, NLM_F_DUMP, &pick) {
                Ok(Some(all)) => return Ok(all),
                Ok(None) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(e) => return Err(e),
            }
        }
        Err(NetlinkError::Interrupted { what, attempts: DUMP_ATTEMPTS_MAX })
    }

    /// `None` if the dump was interrupted.
    fn dump_once<T>(
        &mut self,
        what: &'static str,
        op: &Op,
        flags: u16,
        pick: &impl Fn(&Frame<'_>, &Attrs<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetlinkError> {
        let seq = self.wire.next_seq();
        let bytes = encode(op, NLM_F_REQUEST | flags, seq);
        self.wire.send(&bytes).map_err(NetlinkError::io("send"))?;
        let mut all = Vec::new();
        let end = self.wire.read_dump(seq, |frame| -> Result<(), NetlinkError> {
            let payload = frame.payload.get(NFGENMSG_LEN..).unwrap_or(&[]);
            all.extend(pick(frame, &Attrs::parse(payload)));
            Ok(())
        })?;
        match end {
            DumpEnd::Complete => Ok(Some(all)),
            DumpEnd::Interrupted => Ok(None),
            DumpEnd::Refused { errno, detail } => {
                let label = format!("list nftables {what}");
                Err(NetlinkError::Refused(vec![Refusal { index: 0, label, errno, detail }]))
            }
        }
    }
}

fn get(family: Family, kind: Type, attributes: Vec<DefaultNla>) -> Op {
    Op { label: String::new(), family: family.number(), kind, flags: 0, attributes }
}

fn encode(op: &Op, flags: u16, seq: u32) -> Vec<u8> {
    let message =
        NfTablesMessage::Other { message_type: op.kind.into(), attributes: op.attributes.clone() };
    let header = NetfilterHeader::new(NetfilterProtoFamily::from(op.family), 0, 0);
    frame(NetfilterMessage::new(header, message), flags, seq)
}

#[cfg(test)]
impl Transaction {
    /// The first change as sent, with sequence number `seq`.
    pub(crate) fn encode_first(&self, seq: u32) -> Vec<u8> {
        self.ops.first().map(|op| encode(op, NLM_F_REQUEST | op.flags, seq)).unwrap_or_default()
    }
}

fn batch_edge(message_type: u8, seq: u32) -> Vec<u8> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM_NFTABLES);
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::None,
        message_type,
        attributes: Vec::new(),
    };
    frame(NetfilterMessage::new(header, inner), NLM_F_REQUEST, seq)
}

fn frame(message: NetfilterMessage, flags: u16, seq: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = seq;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}
