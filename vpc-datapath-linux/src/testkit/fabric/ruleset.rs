//! The router's nftables rules: the source check, who may talk to the internet, and whom ARP finds.

use vpc_ipam_core::addr::Prefix;

use super::port::Port;
use crate::nft::{
    Chain, ChainKind, Element, Expr, Family, Hook, KeyType, Meta, PayloadBase, Reg, Rule, Set,
    Table, Transaction, Verdict,
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
const TABLE: &str = "vpc-fabric";
const ON_LINK: &str = "on-link";
const SOURCE_CHECK: &str = "source-check";
const INTERNET: &str = "internet";

/// `NFPROTO_ARP` of `linux/netfilter.h`.
const NFPROTO_ARP: u8 = 3;
/// `NF_ARP_IN` of `linux/netfilter_arp.h`.
const NF_ARP_IN: u32 = 0;
/// Where an ARP packet over Ethernet has the address that is asked for.
const ARP_TARGET_OFFSET: u32 = 24;
/// Before connection tracking and everything else.
const PRIORITY_RAW: i32 = -300;
const PRIORITY_FILTER: i32 = 0;
/// Dropped sources remembered. A failing test makes a handful.
const DROPPED_MAX: u32 = 1024;
/// How long they are remembered, in milliseconds: longer than a test takes to look.
const DROPPED_MS: u64 = 600_000;

pub(super) fn table() -> Table {
    Table::ipv4(TABLE)
}

fn arp_table() -> Table {
    Table { family: Family::Other(NFPROTO_ARP), name: TABLE.to_owned() }
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
    t.add_rule(&table, SOURCE_CHECK, &by_port());
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

fn by_port() -> Rule {
    Rule::new()
        .expr(Expr::Meta { key: Meta::Iif, reg: Reg::A })
        .expr(Expr::Vmap { map: PORTS.to_owned(), reg: Reg::A })
}

/// The kernel answers ARP for everything that is routed to another port, the whole internet even. A
/// VPC answers for the ENI's subnet; a route that takes more to be on the link must fail here too.
pub(super) fn base_arp() -> Transaction {
    let table = arp_table();
    let mut t = Transaction::new();
    t.add_table(&table)
        .add_set(&table, &Set::of(PORTS, &[KeyType::IfIndex]).verdict_map())
        .add_chain(
            &table,
            &Chain::base(ON_LINK, ChainKind::Filter, Hook::Other(NF_ARP_IN), PRIORITY_FILTER),
        )
        .add_rule(&table, ON_LINK, &by_port());
    t
}

/// ARP on one port.
pub(super) fn add_port_arp(t: &mut Transaction, port: &Port) {
    let table = arp_table();
    let load = Expr::Payload {
        base: PayloadBase::Network,
        offset: ARP_TARGET_OFFSET,
        len: 4,
        reg: Reg::A,
    };
    let (chain, set) = (chain(port), owned(port));
    t.add_set(&table, &Set::of(&set, &[KeyType::Ipv4Addr]).interval())
        .add_elements(&table, &set, &Element::of_prefix(&port.eni.subnet, None))
        .add_chain(&table, &Chain::regular(&chain))
        .add_rule(&table, &chain, &Rule::new().expr(load).lookup(&set, true).drop())
        .add_elements(&table, PORTS, &[port_element(port)]);
}

/// Undoes [`add_port_arp`].
pub(super) fn remove_port_arp(t: &mut Transaction, port: &Port) {
    let table = arp_table();
    let (chain, set) = (chain(port), owned(port));
    t.delete_elements(&table, PORTS, &[port_element(port)])
        .flush_chain(&table, &chain)
        .delete_chain(&table, &chain)
        .delete_set(&table, &set);
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
    own(&mut t, port, &port.primary());
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

fn port_element(port: &Port) -> Element {
    let mut element = Element::key(port.index.to_ne_bytes().to_vec());
    element.verdict = Some(Verdict::Goto(chain(port)));
    element
}

fn public_element(port: &Port) -> Element {
    Element::key(port.eni.primary_ip.octets().to_vec())
}
