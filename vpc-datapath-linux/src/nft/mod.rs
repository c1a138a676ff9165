//! nftables over nfnetlink: tables, chains, rules, sets and counters as plain data, written in
//! transactions and read back for comparison.
//!
//! `netlink-packet-netfilter` frames the messages. The attributes inside are our own vocabulary, one
//! for both directions, since the crate has no words for `ct`, `fib`, `nat` and `counter`.

mod attr;
mod chain;
mod codec;
mod expr;
mod interval;
mod rule;
mod set;
mod socket;
mod transaction;

pub use chain::{BaseChain, Chain, ChainKind, Family, Hook, Table};
pub use expr::{
    Cmp, Ct, Expr, FibResult, Meta, PayloadBase, Reg, Verdict, ct_state, fib_flag, nat_flag,
};
pub use interval::Interval;
pub use rule::{ListedRule, Rule};
pub use set::{Element, KeyType, Set};
pub use socket::Socket;
pub use transaction::Transaction;
