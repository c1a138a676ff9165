//! Node and ENIs: the flat layout in a kernel, idempotent, repaired, and taken down without a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::process::ExitCode;

use common::{eni_prefix, eni_spec, mac_of_device, node, node_spec, prefix};
use vpc_datapath_linux::{
    cases, layout,
    netlink::{LinkChange, Rule, Socket},
    nft::{Chain, Table, Transaction},
    testkit::harness,
};
use vpc_ipam_core::datapath::{Datapath, DatapathErrorKind, MAIN_TABLE, Snat, SnatPorts};

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
        everything_of_ours_can_be_listed_and_removed,
        contradictions_are_refused_before_anything_changes,
        a_chain_of_another_release_is_replaced_and_a_foreign_table_left_alone,
        a_datapath_works_on_another_namespace,
    ])
}
