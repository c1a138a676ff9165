//! The router's nftables rules: the source check, and who may talk to the internet.

use std::net::IpAddr;

use vpc_ipam_core::addr::Prefix;

use super::port::Port;
use crate::nft::{
    Chain, ChainKind, Element, Expr, Hook, KeyType, Meta, Reg, Rule, Set, Table, Transaction,
    Verdict,
};

/// The router's link to the internet host.
pub(super) const INTERNET_IF: &str = "internet0";

/// Map from a port's index to its chain.
const PORTS: &str = "ports";
/// Primary addresses of primary ENIs.
const PUBLIC: &str = "public";
/// Port and source address of what was dropped.
pub(super) const DROPPED: &str = "dropped";
pub(super) const OUTBOUND: &str = "internet-outbound-refused";
pub(super) const INBOUND: &str = "internet-inbound-refused";
const SOURCE_CHECK: &str = "source-check";
const INTERNET: &str = "internet";

/// Before connection tracking and everything else.
const PRIORITY_RAW: i32 = -300;
const PRIORITY_FILTER: i32 = 0;
/// Dropped sources remembered. A failing test makes a handful.
const DROPPED_MAX: u32 = 1024;
/// How long they are remembered, in milliseconds: longer than a test takes to look.
const DROPPED_MS: u64 = 600_000;

pub(super) fn table() -> Table {
    Table::ipv4("vpc-fabric")
}

pub(super) fn counter(port: &Port) -> String {
    format!("spoofed-{}", port.index)
}

fn chain(port: &Port) -> String {
    format!("port-{}", port.index)
}

fn owned(port: &Port) -> String {
    format!("owned-{}", port.index)
}

/// Everything that does not depend on a port.
pub(super) fn base() -> Transaction {
    let table = table();
    let mut t = Transaction::new();
    t.add_table(&table)
        .add_set(&table, &Set::of(PORTS, &[KeyType::IfIndex]).verdict_map())
        .add_set(&table, &Set::of(PUBLIC, &[KeyType::Ipv4Addr]))
        .add_set(
            &table,
            &Set::of(DROPPED, &[KeyType::IfIndex, KeyType::Ipv4Addr])
                .dynamic(DROPPED_MAX, DROPPED_MS),
        )
        .add_counter(&table, OUTBOUND)
        .add_counter(&table, INBOUND)
        .add_chain(
            &table,
            &Chain::base(SOURCE_CHECK, ChainKind::Filter, Hook::Prerouting, PRIORITY_RAW),
        )
        .add_chain(
            &table,
            &Chain::base(INTERNET, ChainKind::Filter, Hook::Forward, PRIORITY_FILTER),
        );
    let by_port = Rule::new()
        .expr(Expr::Meta { key: Meta::Iif, reg: Reg::A })
        .expr(Expr::Vmap { map: PORTS.to_owned(), reg: Reg::A });
    t.add_rule(&table, SOURCE_CHECK, &by_port);
    for rule in [
        Rule::new().oifname(INTERNET_IF).saddr_in(PUBLIC).accept(),
        Rule::new().oifname(INTERNET_IF).named_counter(OUTBOUND).drop(),
        Rule::new().iifname(INTERNET_IF).daddr_in(PUBLIC).accept(),
        Rule::new().iifname(INTERNET_IF).named_counter(INBOUND).drop(),
    ] {
        t.add_rule(&table, INTERNET, &rule);
    }
    t
}

/// The source check of a port whose ENI owns nothing but its primary address.
pub(super) fn add_port(port: &Port) -> Transaction {
    let table = table();
    let (chain, set, counter) = (chain(port), owned(port), counter(port));
    let mut t = Transaction::new();
    t.add_set(&table, &Set::of(&set, &[KeyType::Ipv4Addr]).interval())
        .add_counter(&table, &counter)
        .add_chain(&table, &Chain::regular(&chain))
        .add_rule(&table, &chain, &Rule::new().saddr_in(&set).accept())
        .add_rule(&table, &chain, &remember_and_drop(&counter))
        .add_elements(&table, PORTS, &[port_element(port)]);
    own(&mut t, port, &primary(port));
    if port.eni.primary {
        t.add_elements(&table, PUBLIC, &[public_element(port)]);
    }
    t
}

fn remember_and_drop(counter: &str) -> Rule {
    Rule::new()
        .expr(Expr::Meta { key: Meta::Iif, reg: Reg::slot(0) })
        .load_saddr(true, Reg::slot(1))
        .expr(Expr::AddToSet { set: DROPPED.to_owned(), reg: Reg::slot(0), timeout_ms: 0 })
        .named_counter(counter)
        .drop()
}

/// Undoes [`add_port`].
pub(super) fn remove_port(port: &Port) -> Transaction {
    let table = table();
    let (chain, set, counter) = (chain(port), owned(port), counter(port));
    let mut t = Transaction::new();
    t.delete_elements(&table, PORTS, &[port_element(port)])
        .flush_chain(&table, &chain)
        .delete_chain(&table, &chain)
        .delete_set(&table, &set)
        .delete_counter(&table, &counter);
    if port.eni.primary {
        t.delete_elements(&table, PUBLIC, &[public_element(port)]);
    }
    t
}

/// Lets packets from `prefix` in by `port`.
pub(super) fn own(t: &mut Transaction, port: &Port, prefix: &Prefix) {
    t.add_elements(&table(), &owned(port), &Element::of_prefix(prefix, None));
}

/// Undoes [`own`].
pub(super) fn disown(t: &mut Transaction, port: &Port, prefix: &Prefix) {
    t.delete_elements(&table(), &owned(port), &Element::of_prefix(prefix, None));
}

fn primary(port: &Port) -> Prefix {
    Prefix::host(IpAddr::V4(port.eni.primary_ip))
}

fn port_element(port: &Port) -> Element {
    let mut element = Element::key(port.index.to_ne_bytes().to_vec());
    element.verdict = Some(Verdict::Goto(chain(port)));
    element
}

fn public_element(port: &Port) -> Element {
    Element::key(port.eni.primary_ip.octets().to_vec())
}
