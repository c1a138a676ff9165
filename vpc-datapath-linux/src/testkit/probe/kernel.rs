//! What this kernel can do, so that tests can skip what it cannot.

use std::fmt;

use crate::{
    netlink::{self, Rule, VethEnd, add_veth},
    nft::{self, Table, Transaction},
    testkit::{
        harness::Outcome,
        ns::{Namespace, NsError},
    },
};

/// A feature that is missing, with the kernel's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// A test that needs the feature is skipped for that reason.
impl From<Unsupported> for Outcome {
    fn from(missing: Unsupported) -> Self {
        Self::Skip(missing.0)
    }
}

/// Whether nf_tables rules can be made, tried in a namespace that is then gone.
///
/// # Errors
///
/// What is missing.
pub fn nf_tables() -> Result<(), Unsupported> {
    attempt("nf_tables (CONFIG_NF_TABLES_IPV4)", || {
        let mut t = Transaction::new();
        nft::Socket::open()?.commit(t.add_table(&Table::ipv4("probe")))
    })
}

/// Whether veth pairs can be made, tried in a namespace that is then gone.
///
/// # Errors
///
/// What is missing.
pub fn veth() -> Result<(), Unsupported> {
    attempt("veth (CONFIG_VETH)", || {
        netlink::Socket::open()?.request(add_veth(&VethEnd::new("a"), &VethEnd::new("b")))
    })
}

/// Whether routing rules can be made, tried in a namespace that is then gone.
///
/// # Errors
///
/// What is missing.
pub fn policy_routing() -> Result<(), Unsupported> {
    attempt("policy routing (CONFIG_IP_MULTIPLE_TABLES)", || {
        netlink::Socket::open()?.request(Rule::lookup(513, 100_513).fwmark(1, 0x7f).add())
    })
}

fn attempt(
    what: &str,
    work: impl FnOnce() -> Result<(), netlink::NetlinkError> + Send,
) -> Result<(), Unsupported> {
    let tried = Namespace::new("probe", &[]).and_then(|ns| ns.run(work)?.map_err(NsError::from));
    tried.map_err(|e| Unsupported(format!("this kernel lacks {what}: {e}")))
}
