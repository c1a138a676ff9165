//! Rules, built from what they match and do.

use std::net::IpAddr;

use netlink_packet_core::DefaultNla;
use vpc_ipam_core::addr::Prefix;

use super::{
    attr::{Attrs, be64, text},
    codec::{decode_all, encode_all},
    expr::{Cmp, Ct, Expr, FibResult, Meta, PayloadBase, Reg, Verdict, ct_state, fib_flag},
};

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
/// `IFNAMSIZ`.
const IF_NAME_LEN: usize = 16;
/// `RTN_LOCAL`.
const ADDR_TYPE_LOCAL: u32 = 2;

/// What a rule consists of. Matches come first, then statements; both are appended in call order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// The instructions.
    pub exprs: Vec<Expr>,
}

/// A rule as the kernel shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListedRule {
    /// Chain it is in.
    pub chain: String,
    /// What deleting it needs.
    pub handle: u64,
    /// The rule itself.
    pub rule: Rule,
}

impl ListedRule {
    /// Packets and bytes of the rule's first counter.
    pub fn counted(&self) -> Option<(u64, u64)> {
        self.rule.exprs.iter().find_map(|expr| match expr {
            Expr::Counter { packets, bytes } => Some((*packets, *bytes)),
            _ => None,
        })
    }
}

impl Rule {
    /// A rule that matches everything and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if both do the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.exprs.len() == other.exprs.len()
            && self.exprs.iter().zip(&other.exprs).all(|(a, b)| a.is_same(b))
    }

    /// Appends any instruction.
    #[must_use]
    pub fn expr(mut self, expr: Expr) -> Self {
        self.exprs.push(expr);
        self
    }

    fn meta(self, key: Meta) -> Self {
        self.expr(Expr::Meta { key, reg: Reg::A })
    }

    fn ct(self, key: Ct) -> Self {
        self.expr(Expr::Ct { key, reg: Reg::A })
    }

    fn cmp(self, op: Cmp, data: Vec<u8>) -> Self {
        self.expr(Expr::Cmp { op, reg: Reg::A, data })
    }

    fn bitwise(self, mask: Vec<u8>, xor: Vec<u8>) -> Self {
        self.expr(Expr::Bitwise { reg: Reg::A, mask, xor })
    }

    fn masked(self, mask: u32, value: u32) -> Self {
        self.bitwise(host(mask), host(0)).cmp(Cmp::Eq, host(value))
    }

    /// Came by the link called `name`.
    #[must_use]
    pub fn iifname(self, name: &str) -> Self {
        self.meta(Meta::IifName).cmp(Cmp::Eq, whole_name(name))
    }

    /// Came by a link whose name begins with `prefix`.
    #[must_use]
    pub fn iifname_prefix(self, prefix: &str) -> Self {
        self.meta(Meta::IifName).cmp(Cmp::Eq, prefix.as_bytes().to_vec())
    }

    /// Leaves by the link called `name`.
    #[must_use]
    pub fn oifname(self, name: &str) -> Self {
        self.meta(Meta::OifName).cmp(Cmp::Eq, whole_name(name))
    }

    /// Leaves by a link whose name begins with `prefix`.
    #[must_use]
    pub fn oifname_prefix(self, prefix: &str) -> Self {
        self.meta(Meta::OifName).cmp(Cmp::Eq, prefix.as_bytes().to_vec())
    }

    /// Came by the link with `index`.
    #[must_use]
    pub fn iif(self, index: u32) -> Self {
        self.meta(Meta::Iif).cmp(Cmp::Eq, host(index))
    }

    /// Leaves by the link with `index`.
    #[must_use]
    pub fn oif(self, index: u32) -> Self {
        self.meta(Meta::Oif).cmp(Cmp::Eq, host(index))
    }

    /// Layer 4 protocol: 1 ICMP, 6 TCP, 17 UDP.
    #[must_use]
    pub fn l4proto(self, number: u8) -> Self {
        self.meta(Meta::L4Proto).cmp(Cmp::Eq, vec![number])
    }

    /// Destination port of TCP or UDP; match the protocol first.
    #[must_use]
    pub fn dport(self, port: u16) -> Self {
        let load = Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, reg: Reg::A };
        self.expr(load).cmp(Cmp::Eq, port.to_be_bytes().to_vec())
    }

    /// Loads the source address into `reg`.
    #[must_use]
    pub fn load_saddr(self, v4: bool, reg: Reg) -> Self {
        let (offset, len) = if v4 { (12, 4) } else { (8, 16) };
        self.expr(Expr::Payload { base: PayloadBase::Network, offset, len, reg })
    }

    /// Loads the destination address into `reg`.
    #[must_use]
    pub fn load_daddr(self, v4: bool, reg: Reg) -> Self {
        let (offset, len) = if v4 { (16, 4) } else { (24, 16) };
        self.expr(Expr::Payload { base: PayloadBase::Network, offset, len, reg })
    }

    fn in_prefix(self, prefix: &Prefix) -> Self {
        let zero = vec![0; if prefix.is_v4() { 4 } else { 16 }];
        let rule = if prefix.is_host() { self } else { self.bitwise(net_mask(prefix), zero) };
        rule.cmp(Cmp::Eq, octets(prefix.base()))
    }

    /// Source address in `prefix`.
    #[must_use]
    pub fn saddr(self, prefix: &Prefix) -> Self {
        self.load_saddr(prefix.is_v4(), Reg::A).in_prefix(prefix)
    }

    /// Destination address in `prefix`.
    #[must_use]
    pub fn daddr(self, prefix: &Prefix) -> Self {
        self.load_daddr(prefix.is_v4(), Reg::A).in_prefix(prefix)
    }

    /// IPv4 source address in `set`.
    #[must_use]
    pub fn saddr_in(self, set: &str) -> Self {
        self.load_saddr(true, Reg::A).lookup(set, false)
    }

    /// IPv4 destination address in `set`.
    #[must_use]
    pub fn daddr_in(self, set: &str) -> Self {
        self.load_daddr(true, Reg::A).lookup(set, false)
    }

    /// IPv4 destination address not in `set`.
    #[must_use]
    pub fn daddr_not_in(self, set: &str) -> Self {
        self.load_daddr(true, Reg::A).lookup(set, true)
    }

    /// Register A in (or not in) `set`.
    #[must_use]
    pub fn lookup(self, set: &str, inverted: bool) -> Self {
        self.expr(Expr::Lookup { set: set.to_owned(), reg: Reg::A, inverted })
    }

    /// IPv4 source address decides by `map`.
    #[must_use]
    pub fn saddr_vmap(self, map: &str) -> Self {
        self.load_saddr(true, Reg::A).expr(Expr::Vmap { map: map.to_owned(), reg: Reg::A })
    }

    fn fib(self, flags: u32, op: Cmp) -> Self {
        self.expr(Expr::Fib { result: FibResult::AddrType, flags, reg: Reg::A })
            .cmp(op, host(ADDR_TYPE_LOCAL))
    }

    /// Destination is this host.
    #[must_use]
    pub fn daddr_local(self) -> Self {
        self.fib(fib_flag::DADDR, Cmp::Eq)
    }

    /// Destination is not this host.
    #[must_use]
    pub fn daddr_not_local(self) -> Self {
        self.fib(fib_flag::DADDR, Cmp::Ne)
    }

    /// Destination is an address of the link that the packet came by.
    #[must_use]
    pub fn daddr_local_on_iif(self) -> Self {
        self.fib(fib_flag::DADDR | fib_flag::IIF, Cmp::Eq)
    }

    /// In the direction of the connection's first packet.
    #[must_use]
    pub fn ct_original(self) -> Self {
        self.ct(Ct::Direction).cmp(Cmp::Eq, vec![0])
    }

    /// Before the connection has seen an answer.
    #[must_use]
    pub fn ct_new(self) -> Self {
        self.ct(Ct::State).bitwise(host(ct_state::NEW), host(0)).cmp(Cmp::Ne, host(0))
    }

    /// The connection's mark under `mask` is `value`.
    #[must_use]
    pub fn ct_mark(self, mask: u32, value: u32) -> Self {
        self.ct(Ct::Mark).masked(mask, value)
    }

    /// The packet's mark under `mask` is `value`.
    #[must_use]
    pub fn meta_mark(self, mask: u32, value: u32) -> Self {
        self.meta(Meta::Mark).masked(mask, value)
    }

    /// Replaces the bits of `mask` in the connection's mark by `value`.
    #[must_use]
    pub fn set_ct_mark(self, mask: u32, value: u32) -> Self {
        self.ct(Ct::Mark)
            .bitwise(host(!mask), host(value & mask))
            .expr(Expr::SetCt { key: Ct::Mark, reg: Reg::A })
    }

    /// Replaces the bits of `mask` in the packet's mark by `value`.
    #[must_use]
    pub fn set_meta_mark(self, mask: u32, value: u32) -> Self {
        self.meta(Meta::Mark)
            .bitwise(host(!mask), host(value & mask))
            .expr(Expr::SetMeta { key: Meta::Mark, reg: Reg::A })
    }

    /// Counts.
    #[must_use]
    pub fn counter(self) -> Self {
        self.expr(Expr::Counter { packets: 0, bytes: 0 })
    }

    /// Counts in the counter called `name`.
    #[must_use]
    pub fn named_counter(self, name: &str) -> Self {
        self.expr(Expr::NamedCounter(name.to_owned()))
    }

    /// Decides.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.expr(Expr::Verdict(verdict))
    }

    /// Passes this base chain.
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    /// Is dropped.
    #[must_use]
    pub fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    /// Goes back to the calling chain.
    #[must_use]
    pub fn ret(self) -> Self {
        self.verdict(Verdict::Return)
    }

    /// Goes to `chain` and comes back.
    #[must_use]
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(Verdict::Jump(chain.to_owned()))
    }

    /// Goes to `chain` for good.
    #[must_use]
    pub fn goto(self, chain: &str) -> Self {
        self.verdict(Verdict::Goto(chain.to_owned()))
    }

    /// Translates the source to `ip`; port choice in bits of [`nat_flag`](super::nat_flag).
    #[must_use]
    pub fn snat(self, ip: IpAddr, flags: u32) -> Self {
        self.expr(Expr::Immediate { reg: Reg::A, data: octets(ip) }).expr(Expr::Snat {
            v4: ip.is_ipv4(),
            addr: Reg::A,
            flags,
        })
    }

    /// Translates the destination to `ip`, and to `port` if one is given.
    #[must_use]
    pub fn dnat(self, ip: IpAddr, port: Option<u16>) -> Self {
        const PORT: Reg = Reg::slot(4);
        let mut rule = self.expr(Expr::Immediate { reg: Reg::A, data: octets(ip) });
        if let Some(port) = port {
            rule = rule.expr(Expr::Immediate { reg: PORT, data: port.to_be_bytes().to_vec() });
        }
        rule.expr(Expr::Dnat { v4: ip.is_ipv4(), addr: Reg::A, port: port.map(|_| PORT), flags: 0 })
    }

    pub(super) fn encode(&self, table: &str, chain: &str) -> Vec<DefaultNla> {
        vec![
            text(RULE_TABLE, table),
            text(RULE_CHAIN, chain),
            encode_all(RULE_EXPRESSIONS, &self.exprs),
        ]
    }

    pub(super) fn reference(table: &str, chain: &str, handle: Option<u64>) -> Vec<DefaultNla> {
        let mut all = vec![text(RULE_TABLE, table), text(RULE_CHAIN, chain)];
        all.extend(handle.map(|h| be64(RULE_HANDLE, h)));
        all
    }

    /// Table name and rule.
    pub(super) fn decode(attrs: &Attrs<'_>) -> Option<(String, ListedRule)> {
        let exprs = attrs.nested(RULE_EXPRESSIONS).map(|l| decode_all(&l)).unwrap_or_default();
        let listed = ListedRule {
            chain: attrs.text(RULE_CHAIN)?,
            handle: attrs.be64(RULE_HANDLE)?,
            rule: Self { exprs },
        };
        Some((attrs.text(RULE_TABLE)?, listed))
    }
}

/// A number that the kernel keeps in host order.
fn host(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// A name with all its padding, so that nothing longer matches.
fn whole_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IF_NAME_LEN, 0);
    bytes
}

pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn net_mask(prefix: &Prefix) -> Vec<u8> {
    let len = u32::from(prefix.len());
    if prefix.is_v4() {
        u32::MAX.checked_shl(32 - len).unwrap_or(0).to_be_bytes().to_vec()
    } else {
        u128::MAX.checked_shl(128 - len).unwrap_or(0).to_be_bytes().to_vec()
    }
}
