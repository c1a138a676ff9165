//! Expressions: the instructions that rules are made of.
//!
//! One vocabulary for what we write and what the kernel shows, so that rules can be compared. Where
//! the kernel shows the same thing differently from how it was given, decoding normalises.

use std::fmt;

/// A register of the nf_tables machine: 16 slots of 4 bytes.
///
/// A 16-byte value starts in slot 0, 4, 8 or 12. Keys of several fields lie in consecutive slots.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Reg(pub(super) u32);

/// `NFT_REG32_00` of `linux/netfilter/nf_tables.h`.
const FIRST_SLOT: u32 = 8;

impl Reg {
    /// The first slot, enough for almost everything.
    pub const A: Self = Self(FIRST_SLOT);

    /// Slot `n`, 0 to 15.
    pub const fn slot(n: u8) -> Self {
        Self(FIRST_SLOT + (n as u32 & 15))
    }

    /// From the kernel, which names every fourth slot by the number of the 16-byte register there.
    pub(super) fn from_number(n: u32) -> Self {
        match n {
            1..=4 => Self(FIRST_SLOT + (n - 1) * 4),
            n => Self(n),
        }
    }
}

/// Where a packet goes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Passes this base chain.
    Accept,
    /// Is dropped.
    Drop,
    /// Goes on with the next rule.
    Continue,
    /// Goes back to the calling chain; in a base chain, the policy decides.
    Return,
    /// Goes to another chain and comes back.
    Jump(String),
    /// Goes to another chain for good.
    Goto(String),
    /// Another value.
    Other(u32),
}

/// Header that a payload offset counts from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PayloadBase {
    /// Link layer.
    Link,
    /// IP.
    Network,
    /// TCP, UDP, ….
    Transport,
}

/// What is known of a packet apart from its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Meta {
    /// Length in bytes, 4 bytes.
    Len,
    /// Mark, 4 bytes in host order.
    Mark,
    /// Index of the incoming link, 4 bytes in host order.
    Iif,
    /// Index of the outgoing link, 4 bytes in host order.
    Oif,
    /// Name of the incoming link, 16 bytes.
    IifName,
    /// Name of the outgoing link, 16 bytes.
    OifName,
    /// Layer 3 protocol family, 1 byte.
    NfProto,
    /// Layer 4 protocol, 1 byte.
    L4Proto,
    /// Another value.
    Other(u32),
}

/// What is known of a packet's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ct {
    /// State bits, 4 bytes in host order; see [`ct_state`].
    State,
    /// 0 for the direction of the first packet, 1 for answers; 1 byte.
    Direction,
    /// Status bits, 4 bytes in host order.
    Status,
    /// Mark, 4 bytes in host order.
    Mark,
    /// Another value.
    Other(u32),
}

/// Bits of [`Ct::State`].
pub mod ct_state {
    /// Belongs to no connection.
    pub const INVALID: u32 = 1;
    /// Of a connection that has seen packets both ways.
    pub const ESTABLISHED: u32 = 2;
    /// Of a connection that another one announced.
    pub const RELATED: u32 = 4;
    /// First packets.
    pub const NEW: u32 = 8;
}

/// What a lookup in the routing tables tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FibResult {
    /// Index of the outgoing link.
    Oif,
    /// Name of the outgoing link.
    OifName,
    /// Type of the address, 4 bytes in host order: 2 is local.
    AddrType,
    /// Another value.
    Other(u32),
}

/// Bits that say what is looked up in the routing tables.
pub mod fib_flag {
    /// The source address.
    pub const SADDR: u32 = 1;
    /// The destination address.
    pub const DADDR: u32 = 2;
    /// With the packet's mark.
    pub const MARK: u32 = 4;
    /// On the incoming link only.
    pub const IIF: u32 = 8;
    /// On the outgoing link only.
    pub const OIF: u32 = 16;
}

/// How two values compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// Bits that say how a translation picks ports.
pub mod nat_flag {
    /// Hash of the connection (`random`).
    pub const RANDOM: u32 = 4;
    /// The same address for a client every time.
    pub const PERSISTENT: u32 = 8;
    /// Fully random (`fully-random`).
    pub const FULLY_RANDOM: u32 = 16;
}

/// One instruction. Bytes compared with addresses are in network order, others as [`Meta`], [`Ct`] and
/// [`FibResult`] say.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expr {
    /// Loads bytes of the packet.
    Payload {
        /// Header that the offset counts from.
        base: PayloadBase,
        /// Bytes to skip.
        offset: u32,
        /// Bytes to load.
        len: u32,
        /// Where to.
        reg: Reg,
    },
    /// Loads something known of the packet.
    Meta {
        /// What.
        key: Meta,
        /// Where to.
        reg: Reg,
    },
    /// Writes something known of the packet, such as its mark.
    SetMeta {
        /// What.
        key: Meta,
        /// Where from.
        reg: Reg,
    },
    /// Loads something known of the connection.
    Ct {
        /// What.
        key: Ct,
        /// Where to.
        reg: Reg,
    },
    /// Writes something known of the connection, such as its mark.
    SetCt {
        /// What.
        key: Ct,
        /// Where from.
        reg: Reg,
    },
    /// Asks the routing tables.
    Fib {
        /// For what.
        result: FibResult,
        /// About what, bits of [`fib_flag`].
        flags: u32,
        /// Where to.
        reg: Reg,
    },
    /// Goes on only if a register compares so with `data`; shorter data compares a prefix.
    Cmp {
        /// How.
        op: Cmp,
        /// Which register.
        reg: Reg,
        /// With what.
        data: Vec<u8>,
    },
    /// `reg = (reg & mask) ^ xor`.
    Bitwise {
        /// Which register.
        reg: Reg,
        /// Bits to keep.
        mask: Vec<u8>,
        /// Bits to turn.
        xor: Vec<u8>,
    },
    /// Goes on only if a set has (or, inverted, lacks) the key in a register.
    Lookup {
        /// Name of the set.
        set: String,
        /// Where the key is.
        reg: Reg,
        /// True for "has not".
        inverted: bool,
    },
    /// Takes the verdict that a map has for the key in a register.
    Vmap {
        /// Name of the map.
        map: String,
        /// Where the key is.
        reg: Reg,
    },
    /// Adds the key in a register to a dynamic set, or refreshes it.
    AddToSet {
        /// Name of the set.
        set: String,
        /// Where the key is.
        reg: Reg,
        /// How long it stays, in milliseconds; 0 is the set's default.
        timeout_ms: u64,
    },
    /// Loads a constant.
    Immediate {
        /// Where to.
        reg: Reg,
        /// Which.
        data: Vec<u8>,
    },
    /// Decides.
    Verdict(Verdict),
    /// Translates the source address.
    Snat {
        /// Packets of this family.
        v4: bool,
        /// Where the new address is.
        addr: Reg,
        /// Port choice, bits of [`nat_flag`].
        flags: u32,
    },
    /// Translates the destination address, and the port if one is given.
    Dnat {
        /// Packets of this family.
        v4: bool,
        /// Where the new address is.
        addr: Reg,
        /// Where the new port is.
        port: Option<Reg>,
        /// Port choice, bits of [`nat_flag`].
        flags: u32,
    },
    /// Translates the source address to that of the outgoing link.
    Masquerade {
        /// Port choice, bits of [`nat_flag`].
        flags: u32,
    },
    /// Counts. Numbers are the kernel's when read and the start values when written.
    Counter {
        /// Packets.
        packets: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Counts in a counter that has a name of its own.
    NamedCounter(String),
    /// Something this module has no word for.
    Other(String),
}

impl Expr {
    /// True if both do the same; what counters have counted does not matter.
    pub fn is_same(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Counter { .. }, Self::Counter { .. })) || self == other
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Other(n) => write!(f, "verdict {n}"),
        }
    }
}
