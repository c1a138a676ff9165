//! ENIs: link, table, rules and sources of each, and all of it gone when it goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::process::ExitCode;

use common::{eni_spec, ip, mac_of_device, node, node_spec, plug, prefix};
use vpc_datapath_linux::{
    cases, layout,
    netlink::{Address, LinkChange, delete_link},
    testkit::harness,
};
use vpc_ipam_core::datapath::{Datapath, DatapathErrorKind, MAIN_TABLE, route_table};

fn an_eni_gets_link_address_table_rules_and_sources() {
    let mut node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    // A DHCP client was there before.
    let eth1 = node.socket.link_by_name("eth1").unwrap().unwrap().index;
    node.socket.request(LinkChange::of_index(eth1).up().request()).unwrap();
    // Ours comes second, so that it would go along with the first.
    node.socket.request(Address::new(eth1, ip("10.0.1.77"), 24).add()).unwrap();
    node.socket.request(Address::new(eth1, ip("10.0.1.10"), 24).add()).unwrap();
    let connected = |node: &mut common::Node| {
        node.routes_in(MAIN_TABLE).iter().any(|r| r.dst == prefix("10.0.1.0/24"))
    };
    assert!(connected(&mut node));

    let eni = eni_spec(1, &["10.0.1.50/32", "10.0.1.64/28"]);
    node.datapath.set_up_eni(&eni).unwrap();
    let link = node.socket.link_by_name("eth1").unwrap().unwrap();
    assert_eq!((link.mtu, link.rp_filter, link.up), (9001, Some(2), true));
    let addresses: Vec<_> = node
        .socket
        .addresses(true)
        .unwrap()
        .into_iter()
        .filter(|a| a.dev == eth1)
        .map(|a| (a.ip.to_string(), a.len))
        .collect();
    assert_eq!(addresses, [("10.0.1.10".to_owned(), 24)]);
    assert!(!connected(&mut node));
    let routes: Vec<_> = node.routes_in(2).iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            format!("0.0.0.0/0 via 10.0.1.1 dev {eth1} table 2"),
            format!("10.0.1.1/32 dev {eth1} scope link table 2")
        ]
    );
    let rules: Vec<_> = node.socket.rules(true).unwrap().iter().map(ToString::to_string).collect();
    assert!(rules.contains(&"32765: from 10.0.1.10/32 lookup 2 proto 77".to_owned()), "{rules:?}");
    assert!(rules.contains(&"1537: from all fwmark 0x1/0x7f lookup 2 proto 77".to_owned()));
    let goto = |p: &str, n: u32| (p.to_owned(), format!("goto eni-{n}"));
    assert_eq!(node.sources(), [goto("10.0.1.50/32", 1), goto("10.0.1.64/28", 1)]);
    // The link appears late: an error by kind, and then it works.
    let late = eni_spec(2, &[]);
    let error = node.datapath.set_up_eni(&late).unwrap_err();
    assert_eq!(error.kind, DatapathErrorKind::LinkMissing);
    let vpc = node.vpc.clone();
    plug(&mut node.socket, &vpc, 2);
    node.datapath.set_up_eni(&late).unwrap();
}

fn what_an_eni_owns_leads_nowhere_without_a_pod() {
    let mut node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.50/32", "10.0.1.64/28"])).unwrap();
    let vacant = |node: &mut common::Node| -> Vec<String> {
        node.routes_in(layout::POD_TABLE).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        vacant(&mut node),
        [
            "blackhole 10.0.1.50/32 table 100513 metric 1000000001",
            "blackhole 10.0.1.64/28 table 100513 metric 1000000001"
        ]
    );
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.64/28"])).unwrap();
    node.datapath.set_up_eni(&eni_spec(0, &["10.0.0.50/32"])).unwrap();
    assert_eq!(
        vacant(&mut node),
        [
            "blackhole 10.0.0.50/32 table 100513 metric 1000000000",
            "blackhole 10.0.1.64/28 table 100513 metric 1000000001"
        ]
    );
}

fn sources_follow_the_eni_that_owns_them() {
    let mut node = node(&[1, 2]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    let goto = |p: &str, n: u32| (p.to_owned(), format!("goto eni-{n}"));
    let set = |node: &mut common::Node, device, sources: &[&str]| {
        node.datapath.set_up_eni(&eni_spec(device, sources)).unwrap();
        assert!(node.datapath.plan_eni(&eni_spec(device, sources)).unwrap().steps.is_empty());
    };
    set(&mut node, 1, &["10.0.9.1/32", "10.0.9.2/32", "10.0.9.16/28"]);
    set(&mut node, 2, &["10.0.9.3/32"]);
    // An address and a prefix move in one call, while their old owner still claims them.
    set(&mut node, 2, &["10.0.9.3/32", "10.0.9.2/32", "10.0.9.16/28"]);
    assert_eq!(
        node.sources(),
        [
            goto("10.0.9.1/32", 1),
            goto("10.0.9.2/32", 2),
            goto("10.0.9.3/32", 2),
            goto("10.0.9.16/28", 2)
        ]
    );
    // A prefix takes the place of single addresses in it, and the other way round.
    set(&mut node, 1, &["10.0.9.0/28"]);
    assert_eq!(node.sources(), [goto("10.0.9.0/28", 1), goto("10.0.9.16/28", 2)]);
    set(&mut node, 2, &["10.0.9.16/32", "10.0.9.5/32"]);
    assert_eq!(node.sources(), [goto("10.0.9.5/32", 2), goto("10.0.9.16/32", 2)]);
    set(&mut node, 1, &[]);
    set(&mut node, 2, &[]);
    assert_eq!(node.sources(), []);
}

fn hundreds_of_sources_fit() {
    let mut node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    let all: Vec<String> =
        (0..3u32).flat_map(|a| (0..250u32).map(move |b| format!("10.7.{a}.{b}/32"))).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    node.datapath.set_up_eni(&eni_spec(1, &all)).unwrap();
    assert_eq!(node.sources().len(), 750);
    let generation = node.nft.generation().unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &all[1..])).unwrap();
    assert_eq!(node.nft.generation().unwrap(), generation + 1);
    assert_eq!(node.sources().len(), 749);
}

fn several_callers_at_once_do_not_disturb_each_other() {
    let mut node = node(&[1, 2]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    let shared = &node.datapath;
    let other = vpc_datapath_linux::LinuxDatapath::open().unwrap();
    std::thread::scope(|scope| {
        for (device, phase) in [(1, 0), (1, 1), (1, 2), (2, 0)] {
            scope.spawn(move || {
                for n in 0..40 {
                    // They take one address from each other, and others come and go.
                    let own = format!("10.0.{device}.{}/32", 100 + (n + phase) % 5);
                    let eni = eni_spec(device, &["10.0.9.9/32", &own]);
                    shared.set_up_eni(&eni).unwrap();
                }
            });
        }
        // Another process, such as the release before this one.
        scope.spawn(|| {
            for n in 0..40 {
                let mut spec = node_spec();
                spec.node_port = n % 2 == 0;
                other.set_up_node(&spec).unwrap();
            }
        });
    });
    for device in [1, 2] {
        node.datapath.set_up_eni(&eni_spec(device, &[])).unwrap();
    }
    assert_eq!(node.sources(), []);
}

fn links_that_share_a_mac_are_told_apart() {
    let mut node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    // A bridge with the ENI's address, as a bond or a macvlan would have.
    node.socket.request(vpc_datapath_linux::netlink::add_bridge("br1", true)).unwrap();
    node.socket.request(LinkChange::of_name("br1").mac(mac_of_device(1)).request()).unwrap();
    assert_eq!(node.socket.links_by_mac(mac_of_device(1)).unwrap().len(), 2);
    node.datapath.set_up_eni(&eni_spec(1, &[])).unwrap();
    let eth1 = node.socket.link_by_name("eth1").unwrap().unwrap();
    assert!(node.routes_in(2).iter().all(|r| r.dev == Some(eth1.index)));
    let bridge = node.socket.link_by_name("br1").unwrap().unwrap();
    assert_ne!(bridge.rp_filter, Some(2));
}

fn enis_of_other_cards_get_free_numbers_and_keep_them() {
    let mut node = node(&[1, 2, 3]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    let card = |device: u32, card: u32, at: u32| {
        let mut eni = eni_spec(device, &[]);
        (eni.card, eni.device, eni.table) = (card, at, route_table(card, at));
        eni
    };
    let (a, b) = (card(1, 1, 1), card(2, 2, 1));
    for eni in [&a, &b, &a] {
        node.datapath.set_up_eni(eni).unwrap();
    }
    node.datapath.set_up_eni(&eni_spec(3, &[])).unwrap();
    assert_eq!(node.datapath.plan_eni(&a).unwrap().number, 16);
    assert_eq!(node.datapath.plan_eni(&b).unwrap().number, 17);
    let rules = node.socket.rules(true).unwrap();
    let marks: Vec<_> =
        rules.iter().filter_map(|r| r.fwmark.map(|(m, _)| (r.priority, m, r.table))).collect();
    assert_eq!(marks, [(1024, 0x80, 254), (1539, 3, 4), (1552, 16, 10_101), (1553, 17, 10_201)]);
    node.datapath.tear_down_eni(&a).unwrap();
    node.datapath.set_up_eni(&b).unwrap();
    assert_eq!(node.datapath.plan_eni(&b).unwrap().number, 17);
    assert_eq!(node.datapath.plan_eni(&a).unwrap().number, 16);
}

fn an_eni_goes_without_a_trace_with_or_without_its_link() {
    let mut node = node(&[1, 2]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(2, &["10.0.2.80/28"])).unwrap();
    let before = node.snapshot();
    let eni = eni_spec(1, &["10.0.1.50/32", "10.0.1.64/28"]);
    for link_goes_first in [false, true] {
        node.datapath.set_up_eni(&eni).unwrap();
        if link_goes_first {
            let link = node.socket.link_by_name("eth1").unwrap().unwrap();
            node.socket.request(delete_link(link.index)).unwrap();
        }
        node.datapath.tear_down_eni(&eni).unwrap();
        node.datapath.tear_down_eni(&eni).unwrap();
        let after = node.snapshot();
        assert_eq!(after.rules, before.rules);
        assert_eq!(after.chains, before.chains);
        assert_eq!(after.nft_rules, before.nft_rules);
        assert_eq!(after.elements, before.elements);
        assert!(after.routes.iter().all(|r| r.table != 2), "{:?}", after.routes);
        let vacant = node.routes_in(layout::POD_TABLE);
        assert_eq!(vacant.len(), 1, "{vacant:?}");
    }
    // Another ENI's number and the primary's routes are not mistaken for this one's.
    node.datapath.tear_down_eni(&eni_spec(0, &[])).unwrap();
    assert!(node.datapath.plan_eni(&eni_spec(2, &["10.0.2.80/28"])).unwrap().steps.is_empty());
    assert!(node.routes_in(MAIN_TABLE).iter().any(|r| r.gateway.is_some()));
}

fn an_eni_that_went_while_nobody_looked_does_not_swallow_its_old_addresses() {
    let mut node = node(&[1, 2]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(0, &["10.0.0.50/32"])).unwrap();
    node.datapath.set_up_eni(&eni_spec(2, &["10.0.2.80/28"])).unwrap();
    let before = node.snapshot();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.50/32", "10.0.1.64/28"])).unwrap();
    // EC2 detaches it while no daemon runs, and may give its addresses to another node at once.
    let link = node.socket.link_by_name("eth1").unwrap().unwrap();
    node.socket.request(delete_link(link.index)).unwrap();
    node.datapath.set_up_node(&node_spec()).unwrap();
    let after = node.snapshot();
    assert_eq!(node.sources(), [("10.0.2.80/28".to_owned(), "goto eni-2".to_owned())]);
    assert_eq!(after.rules, before.rules);
    assert_eq!(after.chains, before.chains);
    assert_eq!(
        after.routes,
        before.routes.iter().filter(|r| r.dev != Some(link.index)).cloned().collect::<Vec<_>>()
    );
    assert!(node.datapath.plan_node(&node_spec()).unwrap().is_empty());
    assert!(node.datapath.plan_eni(&eni_spec(2, &["10.0.2.80/28"])).unwrap().steps.is_empty());
}

fn addresses_that_lead_nowhere_for_nobody_are_freed() {
    let mut node = node(&[1, 2]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    let other = eni_spec(2, &["10.0.2.80/28"]);
    node.datapath.set_up_eni(&other).unwrap();
    let before = node.routes_in(layout::POD_TABLE);
    let mut eni = eni_spec(1, &["10.0.1.64/28"]);
    (eni.card, eni.table) = (1, route_table(1, 1));
    node.datapath.set_up_eni(&eni).unwrap();
    // Only its rule says which number it has.
    let rules = node.socket.rules(true).unwrap();
    let mark = rules.iter().find(|r| r.fwmark == Some((16, 0x7f))).unwrap();
    node.socket.request(mark.delete()).unwrap();
    node.datapath.tear_down_eni(&eni).unwrap();
    node.datapath.set_up_node(&node_spec()).unwrap();
    assert_eq!(node.routes_in(layout::POD_TABLE), before);
}

fn an_eni_that_is_merely_down_or_without_address_is_not_taken_for_gone() {
    let mut node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.64/28"])).unwrap();
    let eth1 = node.socket.link_by_name("eth1").unwrap().unwrap().index;
    // Down, and its routes with it; the address stays.
    node.socket.request(LinkChange::of_index(eth1).down().request()).unwrap();
    assert_eq!(node.routes_in(2), []);
    assert!(node.datapath.plan_node(&node_spec()).unwrap().is_empty());
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.64/28"])).unwrap();
    // Another address in the place of its own; the routes stay.
    node.socket.request(Address::new(eth1, ip("192.0.2.1"), 24).add()).unwrap();
    node.socket.request(Address::new(eth1, ip("10.0.1.10"), 24).delete()).unwrap();
    assert_eq!(node.routes_in(2).len(), 2);
    assert!(node.datapath.plan_node(&node_spec()).unwrap().is_empty());
}

fn an_eni_in_the_place_of_another_takes_over_its_table() {
    let mut node = node(&[1]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    let mut old = eni_spec(1, &["10.0.1.64/28"]);
    old.primary_ip = ip("10.0.1.99");
    node.datapath.set_up_eni(&old).unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.64/28"])).unwrap();
    let rules = node.socket.rules(true).unwrap();
    let own: Vec<_> =
        rules.iter().filter(|r| r.priority == 32_765).map(ToString::to_string).collect();
    assert_eq!(own, ["32765: from 10.0.1.10/32 lookup 2 proto 77"]);
    assert_eq!(node.routes_in(2).len(), 2);
}

fn an_enis_table_survives_the_removal_of_foreign_addresses() {
    let mut node = node(&[1]);
    let eni = eni_spec(1, &[]);
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni).unwrap();
    let before = node.routes_in(2);
    let eth1 = node.socket.link_by_name("eth1").unwrap().unwrap().index;
    // The kernel drops all routes of a link with its last address. This one is the last for a moment
    // if it is removed before ours is there.
    node.socket.request(Address::new(eth1, ip("192.0.2.1"), 24).add()).unwrap();
    node.socket.request(Address::new(eth1, ip("10.0.1.10"), 24).delete()).unwrap();
    assert_eq!(node.routes_in(2), before);
    node.datapath.set_up_eni(&eni).unwrap();
    assert_eq!(node.routes_in(2), before);
    assert!(node.datapath.plan_eni(&eni).unwrap().steps.is_empty());
}

fn main() -> ExitCode {
    harness::main(&cases![
        an_eni_gets_link_address_table_rules_and_sources,
        what_an_eni_owns_leads_nowhere_without_a_pod,
        sources_follow_the_eni_that_owns_them,
        hundreds_of_sources_fit,
        several_callers_at_once_do_not_disturb_each_other,
        links_that_share_a_mac_are_told_apart,
        enis_of_other_cards_get_free_numbers_and_keep_them,
        an_eni_goes_without_a_trace_with_or_without_its_link,
        an_eni_that_went_while_nobody_looked_does_not_swallow_its_old_addresses,
        addresses_that_lead_nowhere_for_nobody_are_freed,
        an_eni_that_is_merely_down_or_without_address_is_not_taken_for_gone,
        an_eni_in_the_place_of_another_takes_over_its_table,
        an_enis_table_survives_the_removal_of_foreign_addresses,
    ])
}
