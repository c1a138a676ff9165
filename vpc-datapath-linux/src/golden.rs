//! What goes out, byte by byte: another release of the codec crates must not change it unseen.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use crate::{
    netlink::{LinkChange, Request, Route, Rule as PolicyRule, VethEnd, add_veth},
    nft::{Rule, Table, Transaction, nat_flag},
};

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).fold(String::new(), |mut text, line| {
        let _ = line.iter().try_for_each(|b| write!(text, "{b:02x}"));
        text.push('\n');
        text
    })
}

fn check(what: &str, bytes: &[u8], expected: &str) {
    let got = hex(bytes);
    let expected: String = expected.split_whitespace().fold(String::new(), |t, l| t + l + "\n");
    assert_eq!(got, expected, "{what}");
}

#[cfg(target_endian = "little")]
#[test]
fn rtnetlink_requests_are_these_bytes() {
    let sent = |request: Request| request.encode(7);
    let pod =
        Route::to("10.0.1.50/32".parse().unwrap()).dev(9).on_link().table(100_513).protocol(77);
    check(
        "route",
        &sent(pod.replace()),
        "34000000180005050700000000000000 \
         02200000004dfd010000000008000100 \
         0a00013208000f00a188010008000400 \
         09000000",
    );
    let rule = PolicyRule::lookup(1537, 2).fwmark(1, 0x7f).protocol(77);
    check(
        "rule",
        &sent(rule.add()),
        "44000000200005060700000000000000 \
         02000000020000010000000008000600 \
         0106000008000f000200000008000a00 \
         01000000080010007f00000005001500 \
         4d000000",
    );
    check(
        "rp_filter",
        &sent(LinkChange::of_index(9).rp_filter(2).request()),
        "34000000130005000700000000000000 \
         00000000090000000000000000000000 \
         14001a00100002000c00018008000800 \
         02000000",
    );
    let end = |name: &str| VethEnd { index: Some(9), mtu: Some(9001), ..VethEnd::new(name) };
    let host = VethEnd { up: true, ..end("enicc21c2d7785") };
    check(
        "veth",
        &sent(add_veth(&host, &end("eth0"))),
        "98000000100005060700000000000000 \
         00000000090000000100000001000000 \
         13000300656e69636332316332643737 \
         38350000080004002923000008001f00 \
         0100000008002000010000004c001200 \
         0900010076657468000000003c000200 \
         38000100000000000900000000000000 \
         00000000090003006574683000000000 \
         080004002923000008001f0001000000 \
         0800200001000000",
    );
}

#[cfg(target_endian = "little")]
#[test]
fn nftables_rules_are_these_bytes() {
    let sent = |rule: Rule| {
        let mut tx = Transaction::new();
        tx.add_rule(&Table::ipv4("vpc-cni"), "c", &rule);
        tx.encode_first(7)
    };
    check(
        "snat",
        &sent(Rule::new().snat([10, 0, 0, 10].into(), nat_flag::FULLY_RANDOM)),
        "88000000060a010c0700000000000000 \
         020000000c0001007670632d636e6900 \
         0600020063000000600004802c000180 \
         0e000100696d6d656469617465000000 \
         1800028008000100000000080c000280 \
         080001000a00000a3000018008000100 \
         6e617400240002800800010000000000 \
         08000200000000020800030000000008 \
         0800070000000010",
    );
    check(
        "mark",
        &sent(Rule::new().set_meta_mark(0x7f, 1)),
        "b8000000060a010c0700000000000000 \
         020000000c0001007670632d636e6900 \
         06000200630000009000048024000180 \
         090001006d6574610000000014000280 \
         08000200000000030800010000000008 \
         440001800c0001006269747769736500 \
         34000280080001000000000808000200 \
         0000000808000300000000040c000480 \
         0800010080ffffff0c00058008000100 \
         0100000024000180090001006d657461 \
         00000000140002800800020000000003 \
         0800030000000008",
    );
    check(
        "fib",
        &sent(Rule::new().iifname("eth0").daddr_local_on_iif()),
        "dc000000060a010c0700000000000000 \
         020000000c0001007670632d636e6900 \
         0600020063000000b400048024000180 \
         090001006d6574610000000014000280 \
         08000200000000060800010000000008 \
         3800018008000100636d70002c000280 \
         08000100000000080800020000000000 \
         18000380140001006574683000000000 \
         00000000000000002800018008000100 \
         666962001c0002800800010000000008 \
         0800020000000003080003000000000a \
         2c00018008000100636d700020000280 \
         08000100000000080800020000000000 \
         0c0003800800010002000000",
    );
    check(
        "vmap",
        &sent(Rule::new().iifname_prefix("eni").saddr_vmap("pod-src4")),
        "e4000000060a010c0700000000000000 \
         020000000c0001007670632d636e6900 \
         0600020063000000bc00048024000180 \
         090001006d6574610000000014000280 \
         08000200000000060800010000000008 \
         2c00018008000100636d700020000280 \
         08000100000000080800020000000000 \
         0c00038007000100656e690034000180 \
         0c0001007061796c6f61640024000280 \
         08000100000000080800020000000001 \
         080003000000000c0800040000000004 \
         340001800b0001006c6f6f6b75700000 \
         240002800d000100706f642d73726334 \
         00000000080002000000000808000300 \
         00000000",
    );
}
