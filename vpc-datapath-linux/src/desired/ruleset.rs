//! Our nftables table: what should be in it, and the transaction that makes it so.
//!
//! On a live node the table and its base chains are never deleted and made again: even within one
//! transaction packets slip through and leave by the wrong ENI. What is missing is created, what
//! differs is flushed and filled again, all in one transaction.

use std::net::IpAddr;

use vpc_ipam_core::{
    addr::Prefix,
    datapath::{NodeSpec, Snat, SnatPorts},
};

use crate::{
    layout::{
        CHAIN_CLASSIFY, CHAIN_CONNMARK, CHAIN_EGRESS, CHAIN_NODEPORT, ENI_MARK_MASK, MAP_SOURCES,
        NFT_TABLE, SET_EXEMPT, VLAN_PREFIX, eni_chain,
    },
    nft::{
        Chain, ChainKind, Element, Hook, Interval, KeyType, ListedRule, Rule, Set, Table,
        Transaction, Verdict, nat_flag,
    },
};

/// Our table as the kernel has it.
#[derive(Clone, Debug, Default)]
pub struct ObservedTable {
    /// There is one.
    pub exists: bool,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// Its rules.
    pub rules: Vec<ListedRule>,
    /// Names of its sets and maps.
    pub sets: Vec<String>,
    /// Destinations that see a pod's own address.
    pub exempt: Vec<Interval>,
    /// Which ENI owns which source.
    pub sources: Vec<Interval>,
}

/// Our table's name and family.
pub(crate) fn table() -> Table {
    Table::ipv4(NFT_TABLE)
}

impl ObservedTable {
    fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|c| c.name == name)
    }

    fn has_set(&self, name: &str) -> bool {
        self.sets.iter().any(|s| s == name)
    }

    fn rules_of(&self, chain: &str) -> Vec<&Rule> {
        self.rules.iter().filter(|r| r.chain == chain).map(|r| &r.rule).collect()
    }

    /// Adds what both halves of the table need.
    fn create_frame(&self, tx: &mut Transaction) {
        if !self.exists {
            tx.add_table(&table());
        }
        if !self.has_set(SET_EXEMPT) {
            tx.add_set(&table(), &Set::of(SET_EXEMPT, &[KeyType::Ipv4Addr]).interval());
        }
        if !self.has_set(MAP_SOURCES) {
            let map = Set::of(MAP_SOURCES, &[KeyType::Ipv4Addr]).interval().verdict_map();
            tx.add_set(&table(), &map);
        }
    }

    /// Makes `chain` hold exactly `rules`.
    fn fill_chain(&self, tx: &mut Transaction, chain: &Chain, rules: &[Rule]) {
        let present = self.rules_of(&chain.name);
        let fits = match self.chain(&chain.name) {
            // A base chain without rules is left out until it gets some.
            None if rules.is_empty() && chain.base.is_some() => return,
            None => {
                tx.add_chain(&table(), chain);
                false
            }
            Some(existing) if existing.base != chain.base => {
                // Another release's idea of the chain: hook and priority cannot be changed in place.
                tx.delete_chain(&table(), &chain.name).add_chain(&table(), chain);
                false
            }
            Some(_) => {
                let same = present.len() == rules.len()
                    && present.iter().zip(rules).all(|(a, b)| a.is_same(b));
                if !same && !present.is_empty() {
                    tx.flush_chain(&table(), &chain.name);
                }
                same
            }
        };
        if !fits {
            for rule in rules {
                tx.add_rule(&table(), &chain.name, rule);
            }
        }
    }
}

/// `prefixes` of IPv4 in order, without any that another one contains: interval sets refuse overlaps.
pub fn merge_prefixes(prefixes: impl IntoIterator<Item = Prefix>) -> Vec<Prefix> {
    let mut sorted: Vec<_> = prefixes.into_iter().filter(Prefix::is_v4).collect();
    sorted.sort();
    let mut merged: Vec<Prefix> = Vec::new();
    // In this order a container comes before what it contains.
    for prefix in sorted {
        if !merged.last().is_some_and(|last| last.covers(&prefix)) {
            merged.push(prefix);
        }
    }
    merged
}

/// The base chains of a node and the rules in each.
pub fn node_chains(node: &NodeSpec, primary_if: &str) -> Vec<(Chain, Vec<Rule>)> {
    let (mark, pods) = (node.connmark, node.veth_prefix.as_str());
    let prerouting =
        |name, priority| Chain::base(name, ChainKind::Filter, Hook::Prerouting, priority);
    let mut nodeport = Vec::new();
    let mut connmark = Vec::new();
    let mut egress = Vec::new();
    if node.node_port {
        // Before DNAT (-100): afterwards the destination is no longer local.
        nodeport.push(Rule::new().iifname(primary_if).daddr_local_on_iif().set_ct_mark(mark, mark));
    }
    if let Snat::Node { ports, .. } = &node.snat {
        connmark.push(
            Rule::new()
                .iifname_prefix(pods)
                .ct_original()
                .ct_new()
                .daddr_not_local()
                .daddr_not_in(SET_EXEMPT)
                .set_ct_mark(mark, mark),
        );
        egress.push(Rule::new().oifname_prefix(VLAN_PREFIX).ret());
        egress.push(Rule::new().daddr_in(SET_EXEMPT).ret());
        egress.push(Rule::new().daddr_local().ret());
        egress.push(Rule::new().snat(IpAddr::V4(node.primary_ip), snat_flags(*ports)));
    }
    if needs_connmark(node) {
        let restore = |rule: Rule| rule.ct_mark(mark, mark).set_meta_mark(mark, mark);
        connmark.push(restore(Rule::new().iifname_prefix(pods)));
        if node.node_port {
            connmark.push(restore(Rule::new().iifname_prefix(VLAN_PREFIX)));
        }
    }
    let classify = vec![Rule::new().iifname_prefix(pods).saddr_vmap(MAP_SOURCES)];
    vec![
        (prerouting(CHAIN_NODEPORT, -150), nodeport),
        // After DNAT, so that it sees where a Service's packets really go.
        (prerouting(CHAIN_CONNMARK, -90), connmark),
        // After -90, where older releases overwrite the whole mark.
        (prerouting(CHAIN_CLASSIFY, -80), classify),
        (Chain::base(CHAIN_EGRESS, ChainKind::Nat, Hook::Postrouting, 110), egress),
    ]
}

/// True if connections are marked at all.
pub(super) fn needs_connmark(node: &NodeSpec) -> bool {
    node.node_port || matches!(node.snat, Snat::Node { .. })
}

fn snat_flags(ports: SnatPorts) -> u32 {
    match ports {
        SnatPorts::Prng => nat_flag::FULLY_RANDOM,
        SnatPorts::Hash => nat_flag::RANDOM,
        _ => 0,
    }
}

fn exempt(node: &NodeSpec) -> Vec<Prefix> {
    match &node.snat {
        Snat::Node { exclude, .. } => merge_prefixes(node.vpc_cidrs.iter().chain(exclude).copied()),
        _ => merge_prefixes(node.vpc_cidrs.iter().copied()),
    }
}

/// The transaction that makes the node's half of the table right; empty if it is.
pub(super) fn node_transaction(
    node: &NodeSpec,
    primary_if: &str,
    observed: &ObservedTable,
) -> Transaction {
    let mut tx = Transaction::new();
    observed.create_frame(&mut tx);
    let wanted = exempt(node);
    let stale: Vec<_> = observed
        .exempt
        .iter()
        .filter(|i| !i.prefix().is_some_and(|p| wanted.contains(&p)))
        .flat_map(Interval::elements)
        .collect();
    let present: Vec<_> = observed.exempt.iter().filter_map(Interval::prefix).collect();
    let missing: Vec<_> = wanted
        .iter()
        .filter(|p| !present.contains(p))
        .flat_map(|p| Element::of_prefix(p, None))
        .collect();
    tx.delete_elements(&table(), SET_EXEMPT, &stale);
    tx.add_elements(&table(), SET_EXEMPT, &missing);
    for (chain, rules) in node_chains(node, primary_if) {
        observed.fill_chain(&mut tx, &chain, &rules);
    }
    tx
}

/// The transaction that makes ENI number `n` own exactly `sources`; empty if it does.
///
/// An address that moves from another ENI leaves that one in the same transaction.
pub(super) fn eni_transaction(n: u32, sources: &[Prefix], observed: &ObservedTable) -> Transaction {
    let mut tx = Transaction::new();
    observed.create_frame(&mut tx);
    let chain = eni_chain(n);
    let mark = [Rule::new().set_meta_mark(ENI_MARK_MASK, n)];
    observed.fill_chain(&mut tx, &Chain::regular(&chain), &mark);
    let verdict = Verdict::Goto(chain);
    let wanted = merge_prefixes(sources.iter().copied());
    let is_kept = |i: &Interval| {
        i.verdict.as_ref() == Some(&verdict) && i.prefix().is_some_and(|p| wanted.contains(&p))
    };
    let is_stale = |i: &Interval| {
        !is_kept(i)
            && (i.verdict.as_ref() == Some(&verdict) || wanted.iter().any(|p| i.overlaps(p)))
    };
    let stale: Vec<_> =
        observed.sources.iter().filter(|i| is_stale(i)).flat_map(Interval::elements).collect();
    let kept: Vec<_> =
        observed.sources.iter().filter(|i| is_kept(i)).filter_map(Interval::prefix).collect();
    let missing: Vec<_> = wanted
        .iter()
        .filter(|p| !kept.contains(p))
        .flat_map(|p| Element::of_prefix(p, Some(verdict.clone())))
        .collect();
    tx.delete_elements(&table(), MAP_SOURCES, &stale);
    tx.add_elements(&table(), MAP_SOURCES, &missing);
    tx
}

/// The transaction that removes all of ENI number `n`; empty if there is nothing.
pub(super) fn eni_removal(n: u32, observed: &ObservedTable) -> Transaction {
    let mut tx = Transaction::new();
    let chain = eni_chain(n);
    let verdict = Verdict::Goto(chain.clone());
    let stale: Vec<_> = observed
        .sources
        .iter()
        .filter(|i| i.verdict.as_ref() == Some(&verdict))
        .flat_map(Interval::elements)
        .collect();
    tx.delete_elements(&table(), MAP_SOURCES, &stale);
    if observed.chain(&chain).is_some() {
        tx.delete_chain(&table(), &chain);
    }
    tx
}
