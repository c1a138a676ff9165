//! Node and ENIs: the flat layout in a kernel, idempotent, repaired, and taken down without a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::process::ExitCode;

use common::{eni_prefix, eni_spec, ip, mac_of_device, node, node_spec, plug, prefix};
use vpc_datapath_linux::{
    cases, layout,
    netlink::{Address, LinkChange, Rule, Socket, delete_link},
    nft::{Chain, Table, Transaction},
    testkit::harness,
};
use vpc_ipam_core::datapath::{
    Datapath, DatapathErrorKind, MAIN_TABLE, Snat, SnatPorts, route_table,
};

fn table() -> Table {
    Table::ipv4("vpc-cni")
}

fn a_node_gets_the_flat_layout_and_keeps_it_unchanged() {
    let mut node = node(&[1, 2]);
    let spec = node_spec();
    assert!(node.datapath.is_supported());
    node.datapath.set_up_node(&spec).unwrap();
    let link = node.socket.link_by_name("eth0").unwrap().unwrap();
    assert_eq!((link.mtu, link.rp_filter, link.up), (9001, Some(2), true));
    let ours: Vec<_> = node
        .socket
        .rules(true)
        .unwrap()
        .into_iter()
        .filter(|r| r.protocol == layout::PROTOCOL)
        .map(|r| r.to_string())
        .collect();
    assert_eq!(
        ours,
        [
            "513: from all lookup 100513 proto 77",
            "1024: from all fwmark 0x80/0x80 lookup 254 proto 77"
        ]
    );
    let first = node.snapshot();
    let mut counts: Vec<_> = first
        .chains
        .iter()
        .map(|c| {
            let rules = first.nft_rules.iter().filter(|r| r.chain == c.name).count();
            (c.name.as_str(), c.base.unwrap().priority, rules)
        })
        .collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [("classify", -80, 1), ("connmark", -90, 3), ("egress", 110, 4), ("nodeport", -150, 1)]
    );
    for device in [1, 2] {
        node.datapath.set_up_eni(&eni_spec(device, &[])).unwrap();
    }
    node.datapath.set_up_eni(&eni_spec(0, &[])).unwrap();

    let before = node.snapshot();
    node.datapath.set_up_node(&spec).unwrap();
    for device in 0..=2 {
        node.datapath.set_up_eni(&eni_spec(device, &[])).unwrap();
        assert!(node.datapath.plan_eni(&eni_spec(device, &[])).unwrap().steps.is_empty());
    }
    assert_eq!(node.snapshot(), before);
}

fn settings_change_in_place_without_touching_the_chains() {
    let mut node = node(&[]);
    let mut spec = node_spec();
    node.datapath.set_up_node(&spec).unwrap();
    let chains = node.snapshot().chains;

    // Blocks that contain each other are merged; replacing a block by a wider one works.
    spec.vpc_cidrs = vec![prefix("10.0.0.0/8"), prefix("10.0.0.0/16"), prefix("100.64.0.0/16")];
    spec.snat = Snat::Node { ports: SnatPorts::Keep, exclude: vec![prefix("10.1.0.0/16")] };
    spec.external_service_cidrs = vec![prefix("203.0.113.0/24"), prefix("192.0.2.0/24")];
    node.datapath.set_up_node(&spec).unwrap();
    assert!(node.datapath.plan_node(&spec).unwrap().is_empty());
    assert_eq!(node.snapshot().chains, chains);
    let exempt = |node: &mut common::Node| -> Vec<String> {
        let elements = node.nft.elements(&table(), "exempt4").unwrap();
        let intervals = vpc_datapath_linux::nft::Interval::of_elements(&elements);
        intervals.iter().map(|i| i.prefix().unwrap().to_string()).collect()
    };
    assert_eq!(exempt(&mut node), ["10.0.0.0/8", "100.64.0.0/16"]);
    let external = |node: &mut common::Node| {
        let rules = node.socket.rules(true).unwrap();
        rules.iter().filter(|r| r.priority == 1535).count()
    };
    assert_eq!(external(&mut node), 2);

    spec.vpc_cidrs = vec![prefix("10.0.0.0/16"), prefix("0.0.0.0/0")];
    spec.external_service_cidrs = vec![prefix("192.0.2.0/24")];
    node.datapath.set_up_node(&spec).unwrap();
    assert_eq!(exempt(&mut node), ["0.0.0.0/0"]);
    assert_eq!(external(&mut node), 1);

    // Neither SNAT nor NodePort: no mark, no translation, and the chains that exist stay, empty.
    spec.snat = Snat::External;
    spec.node_port = false;
    spec.vpc_cidrs = vec![prefix("10.0.0.0/16")];
    node.datapath.set_up_node(&spec).unwrap();
    let after = node.snapshot();
    assert_eq!(after.chains, chains);
    assert!(after.nft_rules.iter().all(|r| r.chain == "classify"), "{:?}", after.nft_rules);
    assert!(after.rules.iter().all(|r| r.priority != 1024));
    assert!(node.datapath.plan_node(&spec).unwrap().is_empty());
}

fn without_snat_and_node_port_nothing_is_marked_from_the_start() {
    let mut node = node(&[]);
    let mut spec = node_spec();
    (spec.snat, spec.node_port) = (Snat::External, false);
    node.datapath.set_up_node(&spec).unwrap();
    let snapshot = node.snapshot();
    assert_eq!(snapshot.chains.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["classify"]);
    assert!(snapshot.rules.iter().all(|r| r.fwmark.is_none()));
}

fn what_somebody_deletes_is_missed_and_repaired() {
    let mut node = node(&[1]);
    let (spec, eni) = (node_spec(), eni_spec(1, &["10.0.1.64/28"]));
    node.datapath.set_up_node(&spec).unwrap();
    node.datapath.set_up_eni(&eni).unwrap();
    let before = node.snapshot();
    let is_whole = |node: &mut common::Node| {
        node.datapath.set_up_node(&spec).unwrap();
        node.datapath.set_up_eni(&eni).unwrap();
        let now = node.snapshot();
        assert_eq!(now.links, before.links);
        assert_eq!(now.addresses, before.addresses);
        assert_eq!(now.rules.len(), before.rules.len());
        assert_eq!(now.routes, before.routes);
        assert_eq!(now.chains.len(), before.chains.len());
        assert_eq!(now.nft_rules.len(), before.nft_rules.len());
        assert_eq!(now.elements, before.elements);
    };
    for rule in before.rules.iter().filter(|r| r.protocol == layout::PROTOCOL) {
        node.socket.request(rule.delete()).unwrap();
        is_whole(&mut node);
    }
    for listed in &before.nft_rules {
        let mut tx = Transaction::new();
        let handle = node
            .nft
            .rules(&table())
            .unwrap()
            .into_iter()
            .find(|r| r.chain == listed.chain && r.rule.is_same(&listed.rule))
            .unwrap()
            .handle;
        tx.delete_rule(&table(), &listed.chain, handle);
        node.nft.commit(&tx).unwrap();
        is_whole(&mut node);
    }
    for set in ["exempt4", "pod-src4"] {
        let mut tx = Transaction::new();
        tx.flush_set(&table(), set);
        node.nft.commit(&tx).unwrap();
        is_whole(&mut node);
    }
    for route in before.routes.iter().filter(|r| r.table == 2) {
        node.socket.request(route.delete()).unwrap();
        is_whole(&mut node);
    }
    node.socket.request(LinkChange::of_name("eth1").rp_filter(1).mtu(1500).request()).unwrap();
    is_whole(&mut node);
    let mut tx = Transaction::new();
    tx.delete_table(&table());
    node.nft.commit(&tx).unwrap();
    is_whole(&mut node);
}

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

    // The link appears late: an error by kind, and then it works.
    let late = eni_spec(2, &[]);
    let error = node.datapath.set_up_eni(&late).unwrap_err();
    assert_eq!(error.kind, DatapathErrorKind::LinkMissing);
    let vpc = node.vpc.clone();
    plug(&mut node.socket, &vpc, 2);
    node.datapath.set_up_eni(&late).unwrap();
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

fn everything_of_ours_can_be_listed_and_removed() {
    let mut node = node(&[1]);
    let prefix = eni_prefix();
    let before = node.snapshot();
    assert!(node.datapath.inventory(&prefix).unwrap().is_empty());
    node.datapath.set_up_node(&node_spec()).unwrap();
    node.datapath.set_up_eni(&eni_spec(1, &["10.0.1.50/32"])).unwrap();
    let foreign = Rule::lookup(2000, 4000);
    node.socket.request(foreign.add()).unwrap();
    let pod = common::netns();
    node.datapath.set_up_pod(&common::pod_spec("cart", "10.0.1.50", &pod)).unwrap();
    let inventory = node.datapath.inventory(&prefix).unwrap();
    // 513, 1024, 1537, 32765; two of the ENI's table, one to nowhere, two to the pod; a veth; a table.
    assert_eq!(
        (inventory.rules.len(), inventory.routes.len(), inventory.veths.len(), inventory.len()),
        (4, 5, 1, 11),
        "{:#?}",
        inventory.lines()
    );
    node.datapath.clean_node(&prefix).unwrap();
    node.datapath.clean_node(&prefix).unwrap();
    assert!(node.datapath.inventory(&prefix).unwrap().is_empty());
    let after = node.snapshot();
    assert_eq!(after.rules.len(), before.rules.len() + 1);
    assert!(after.rules.contains(&foreign));
    assert_eq!(after.links.len(), before.links.len());
    assert_eq!(node.nft.tables().unwrap(), []);
}

fn contradictions_are_refused_before_anything_changes() {
    let mut node = node(&[1]);
    let before = node.snapshot();
    let refused = |change: &dyn Fn(&mut vpc_ipam_core::datapath::NodeSpec)| {
        let mut spec = node_spec();
        change(&mut spec);
        node.datapath.set_up_node(&spec).unwrap_err()
    };
    assert_eq!(refused(&|s| s.connmark = 0x40).kind, DatapathErrorKind::NotSupported);
    refused(&|s| s.connmark = 0);
    refused(&|s| s.vpc_cidrs.clear());
    refused(&|s| s.veth_prefix.clear());
    let missing = refused(&|s| s.primary_mac = mac_of_device(9));
    assert_eq!(missing.kind, DatapathErrorKind::LinkMissing);
    let mut eni = eni_spec(1, &[]);
    eni.table = MAIN_TABLE;
    node.datapath.set_up_eni(&eni).unwrap_err();
    assert_eq!(node.snapshot(), before);
}

fn a_chain_of_another_release_is_replaced_and_a_foreign_table_left_alone() {
    let mut node = node(&[]);
    let other = Table::ipv4("kube-proxy");
    let base = |name: &str, priority| {
        let (kind, hook) =
            (vpc_datapath_linux::nft::ChainKind::Filter, vpc_datapath_linux::nft::Hook::Prerouting);
        Chain::base(name, kind, hook, priority)
    };
    let mut tx = Transaction::new();
    tx.add_table(&other).add_chain(&other, &base("classify", -155));
    tx.add_table(&table()).add_chain(&table(), &base("classify", -155));
    node.nft.commit(&tx).unwrap();
    node.datapath.set_up_node(&node_spec()).unwrap();
    let priority = |node: &mut common::Node, table: &Table| {
        let chains = node.nft.chains(table).unwrap();
        chains.iter().find(|c| c.name == "classify").unwrap().base.unwrap().priority
    };
    assert_eq!(priority(&mut node, &table()), -80);
    assert_eq!(priority(&mut node, &other), -155);
    assert!(node.datapath.plan_node(&node_spec()).unwrap().is_empty());
}

fn a_datapath_works_on_another_namespace() {
    let vpc = common::netns();
    let host = common::netns();
    let mut socket = Socket::open_in(&host).unwrap();
    common::boot(&mut socket, &vpc);
    let datapath = vpc_datapath_linux::LinuxDatapath::open_in(&host).unwrap();
    datapath.set_up_node(&node_spec()).unwrap();
    let pod = common::netns();
    datapath.set_up_pod(&common::pod_spec("cart", "10.0.0.50", &pod)).unwrap();
    assert_eq!(datapath.inventory(&eni_prefix()).unwrap().veths.len(), 1);
    let mut here = Socket::open().unwrap();
    assert_eq!(here.links().unwrap().len(), 1);
    assert_eq!(here.rules(true).unwrap().len(), 3);
}

fn main() -> ExitCode {
    harness::main(&cases![
        a_node_gets_the_flat_layout_and_keeps_it_unchanged,
        settings_change_in_place_without_touching_the_chains,
        without_snat_and_node_port_nothing_is_marked_from_the_start,
        what_somebody_deletes_is_missed_and_repaired,
        an_eni_gets_link_address_table_rules_and_sources,
        sources_follow_the_eni_that_owns_them,
        hundreds_of_sources_fit,
        several_callers_at_once_do_not_disturb_each_other,
        links_that_share_a_mac_are_told_apart,
        enis_of_other_cards_get_free_numbers_and_keep_them,
        an_eni_goes_without_a_trace_with_or_without_its_link,
        everything_of_ours_can_be_listed_and_removed,
        contradictions_are_refused_before_anything_changes,
        a_chain_of_another_release_is_replaced_and_a_foreign_table_left_alone,
        a_datapath_works_on_another_namespace,
    ])
}
