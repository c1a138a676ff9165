//! Whether this kernel can do it all, and whether we may.

use vpc_ipam_core::datapath::{DatapathError, DatapathErrorKind};

use super::LinuxDatapath;
use crate::{
    netlink::{ErrorKind, NetlinkError},
    nft::{Chain, ChainKind, Hook, KeyType, Rule, Set, Table, Transaction, nat_flag},
};

impl LinuxDatapath {
    /// Tries every nftables feature that is used, in one transaction that also takes it all away again,
    /// so that nothing ever appears.
    ///
    /// # Errors
    ///
    /// [`DatapathErrorKind::NotSupported`] with what is missing.
    pub fn probe(&self) -> Result<(), DatapathError> {
        let tx = probe_transaction();
        self.with_nft(|nft| nft.commit(&tx)).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::NotPermitted => "run with CAP_NET_ADMIN in this network namespace",
                _ => "the kernel needs nf_tables with nft_fib, nft_ct and nft_nat",
            };
            let message = format!("{}; {remedy}", first(&error));
            DatapathError::new(DatapathErrorKind::NotSupported, "nftables", message)
        })
    }

    /// True if [`probe`](Self::probe) succeeds.
    pub fn is_supported(&self) -> bool {
        self.probe().is_ok()
    }
}

/// The first refusal; those that follow it are its consequences.
fn first(error: &NetlinkError) -> String {
    error.refusals().first().map_or_else(|| error.to_string(), ToString::to_string)
}

fn probe_transaction() -> Transaction {
    let table = Table::ipv4("vpc-cni-probe");
    let base = |name, kind, hook, priority| Chain::base(name, kind, hook, priority);
    let mut tx = Transaction::new();
    tx.add_table(&table)
        .add_set(&table, &Set::of("set", &[KeyType::Ipv4Addr]).interval())
        .add_set(&table, &Set::of("map", &[KeyType::Ipv4Addr]).interval().verdict_map())
        .add_chain(&table, &base("filter", ChainKind::Filter, Hook::Prerouting, -80))
        .add_chain(&table, &base("nat", ChainKind::Nat, Hook::Postrouting, 110))
        .add_rule(&table, "filter", &Rule::new().daddr_local_on_iif())
        .add_rule(&table, "filter", &Rule::new().ct_original().ct_new().set_ct_mark(1, 1))
        .add_rule(&table, "filter", &Rule::new().iifname_prefix("eni").saddr_vmap("map"))
        .add_rule(&table, "nat", &Rule::new().daddr_in("set").ret())
        .add_rule(&table, "nat", &Rule::new().snat([127, 0, 0, 1].into(), nat_flag::FULLY_RANDOM))
        .delete_table(&table);
    tx
}
