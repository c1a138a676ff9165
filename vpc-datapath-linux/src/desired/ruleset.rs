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

/// The base chains of a node and the rules in each; `pods` are the beginnings of host veth names.
pub fn node_chains(node: &NodeSpec, primary_if: &str, pods: &[String]) -> Vec<(Chain, Vec<Rule>)> {
    let mark = node.connmark;
    let from_pods = || pods.iter().map(|prefix| Rule::new().iifname_prefix(prefix));
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
        connmark.extend(from_pods().map(|rule| {
            rule.ct_original()
                .ct_new()
                .daddr_not_local()
                .daddr_not_in(SET_EXEMPT)
                .set_ct_mark(mark, mark)
        }));
        egress.push(Rule::new().oifname_prefix(VLAN_PREFIX).ret());
        egress.push(Rule::new().daddr_in(SET_EXEMPT).ret());
        egress.push(Rule::new().daddr_local().ret());
        egress.push(Rule::new().snat(IpAddr::V4(node.primary_ip), snat_flags(*ports)));
    }
    if needs_connmark(node) {
        let restore = |rule: Rule| rule.ct_mark(mark, mark).set_meta_mark(mark, mark);
        connmark.extend(from_pods().map(restore));
        if node.node_port {
            connmark.push(restore(Rule::new().iifname_prefix(VLAN_PREFIX)));
        }
    }
    let classify = from_pods().map(|rule| rule.saddr_vmap(MAP_SOURCES)).collect();
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
    pods: &[String],
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
    for (chain, rules) in node_chains(node, primary_if, pods) {
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
    let change = source_change(&verdict, sources, &observed.sources);
    let stale: Vec<_> = change.stale.iter().flat_map(Interval::elements).collect();
    let missing: Vec<_> =
        change.missing.iter().flat_map(|p| Element::of_prefix(p, Some(verdict.clone()))).collect();
    tx.delete_elements(&table(), MAP_SOURCES, &stale);
    tx.add_elements(&table(), MAP_SOURCES, &missing);
    tx
}

/// How the source map has to change.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct SourceChange {
    stale: Vec<Interval>,
    missing: Vec<Prefix>,
}

/// Makes exactly `sources` lead to `verdict`; whatever overlaps them and leads elsewhere goes.
fn source_change(verdict: &Verdict, sources: &[Prefix], present: &[Interval]) -> SourceChange {
    let wanted = merge_prefixes(sources.iter().copied());
    let is_mine = |i: &Interval| i.verdict.as_ref() == Some(verdict);
    let is_kept = |i: &Interval| is_mine(i) && i.prefix().is_some_and(|p| wanted.contains(&p));
    let is_stale =
        |i: &Interval| !is_kept(i) && (is_mine(i) || wanted.iter().any(|p| i.overlaps(p)));
    let kept: Vec<_> = present.iter().filter(|i| is_kept(i)).filter_map(Interval::prefix).collect();
    SourceChange {
        stale: present.iter().filter(|i| is_stale(i)).cloned().collect(),
        missing: wanted.into_iter().filter(|p| !kept.contains(p)).collect(),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn goto(n: u32) -> Verdict {
        Verdict::Goto(eni_chain(n))
    }

    /// Single addresses and prefixes from a space so small that they keep meeting.
    fn source() -> impl Strategy<Value = Prefix> {
        (0u8..64, prop_oneof![Just(32u8), Just(28)])
            .prop_map(|(host, len)| Prefix::new([10, 0, 0, host].into(), len).unwrap())
    }

    /// What the kernel does: refuses a deletion of what is not there and any overlap.
    fn apply(map: &mut Vec<Interval>, change: &SourceChange, verdict: &Verdict) {
        for stale in &change.stale {
            let at = map.iter().position(|i| i == stale).unwrap();
            map.remove(at);
        }
        for prefix in &change.missing {
            assert!(!map.iter().any(|i| i.overlaps(prefix)), "{prefix} overlaps {map:?}");
            let elements = Element::of_prefix(prefix, Some(verdict.clone()));
            map.extend(Interval::of_elements(&elements));
        }
    }

    fn owned_by(map: &[Interval], verdict: &Verdict) -> Vec<Prefix> {
        let mine = map.iter().filter(|i| i.verdict.as_ref() == Some(verdict));
        let mut all: Vec<_> = mine.map(|i| i.prefix().unwrap()).collect();
        all.sort();
        all
    }

    proptest! {
        #[test]
        fn an_eni_owns_exactly_its_sources_and_takes_only_what_it_must(
            history in vec((1u32..4, vec(source(), 0..12)), 1..12),
        ) {
            let mut map = Vec::new();
            for (n, sources) in history {
                let before = map.clone();
                let change = source_change(&goto(n), &sources, &map);
                apply(&mut map, &change, &goto(n));
                let wanted = merge_prefixes(sources.iter().copied());
                prop_assert_eq!(owned_by(&map, &goto(n)), wanted.clone());
                for other in (1..4).filter(|other| *other != n) {
                    let mut expected = owned_by(&before, &goto(other));
                    expected.retain(|p| !wanted.iter().any(|w| w.covers(p) || p.covers(w)));
                    prop_assert_eq!(owned_by(&map, &goto(other)), expected);
                }
                let again = source_change(&goto(n), &sources, &map);
                prop_assert_eq!(again, SourceChange::default());
            }
        }

        #[test]
        fn merging_keeps_the_addresses_and_leaves_no_overlap(all in vec(source(), 0..20)) {
            let merged = merge_prefixes(all.iter().copied());
            for host in 0u8..=255 {
                let ip = [10, 0, 0, host].into();
                let covers = |list: &[Prefix]| list.iter().filter(|p| p.contains(ip)).count();
                prop_assert_eq!(covers(&all) > 0, covers(&merged) == 1);
                prop_assert!(covers(&merged) <= 1);
            }
        }
    }
}
