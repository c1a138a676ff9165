//! Breaking the datapath on purpose, as a clumsy neighbour on the node would: by deleting and
//! changing kernel objects. The probes must notice; the tests see that they do.

use thiserror::Error;
use vpc_datapath_linux::{
    netlink::{Batch, LinkChange, NetlinkError, Socket},
    nft::{self, Table, Transaction},
};
use vpc_ipam_core::{datapath::MAIN_TABLE, id::MacAddr};

use crate::options::Sabotage;

/// Mask of the ENI number in a packet's mark.
const ENI_MARK_MASK: u32 = 0x7f;
/// The daemon's nftables table.
const TABLE: &str = "vpc-cni";
/// Chain that sorts packets by source.
const CLASSIFY: &str = "classify";
/// Chain that translates sources.
const EGRESS: &str = "egress";
/// rp_filter's strict value.
const STRICT: i32 = 1;

/// Why nothing was broken.
#[derive(Debug, Error)]
pub(crate) enum SabotageError {
    #[error("sabotage: {0}")]
    Netlink(#[from] NetlinkError),

    #[error("sabotage found nothing to break: {0}")]
    Nothing(&'static str),
}

/// Breaks one node. To be called in its network namespace, with the MACs of its secondary ENIs.
pub(crate) fn apply(what: Sabotage, secondary: &[MacAddr]) -> Result<(), SabotageError> {
    match what {
        Sabotage::NoSnat => flush(EGRESS),
        Sabotage::NoSourceMap => flush(CLASSIFY),
        Sabotage::StrictRpFilter => strict(secondary),
        Sabotage::WrongTable => cross_tables(),
    }
}

fn flush(chain: &str) -> Result<(), SabotageError> {
    let table = Table::ipv4(TABLE);
    let mut socket = nft::Socket::open()?;
    if !socket.rules(&table)?.iter().any(|listed| listed.chain == chain) {
        return Err(SabotageError::Nothing("the chain has no rules"));
    }
    let mut transaction = Transaction::new();
    transaction.flush_chain(&table, chain);
    Ok(socket.commit(&transaction)?)
}

/// Leads each ENI's mark to the next ENI's table; with a single one, to the main table.
fn cross_tables() -> Result<(), SabotageError> {
    let mut socket = Socket::open()?;
    let mut rules = socket.rules(true)?;
    rules.retain(|r| r.fwmark.is_some_and(|(_, mask)| mask == ENI_MARK_MASK));
    let mut tables: Vec<_> = rules.iter().map(|r| r.table).collect();
    match tables.len() {
        0 => return Err(SabotageError::Nothing("no ENI has a mark rule")),
        1 => tables = vec![MAIN_TABLE],
        _ => tables.rotate_left(1),
    }
    let mut batch = Batch::new();
    for (mut rule, table) in rules.into_iter().zip(tables) {
        batch.push(rule.delete());
        rule.table = table;
        batch.push(rule.add());
    }
    Ok(socket.run(&batch)?)
}

fn strict(secondary: &[MacAddr]) -> Result<(), SabotageError> {
    let mut socket = Socket::open()?;
    let mut batch = Batch::new();
    for mac in secondary {
        for link in socket.links_by_mac(*mac)? {
            batch.push(LinkChange::of_index(link.index).rp_filter(STRICT).request());
        }
    }
    if batch.is_empty() {
        return Err(SabotageError::Nothing("there is no secondary ENI"));
    }
    Ok(socket.run(&batch)?)
}
