//! The netlink and nftables primitives against a real kernel, each case in namespaces of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs::File, net::IpAddr, process::ExitCode};

use vpc_datapath_linux::{
    cases,
    netlink::{
        self, Address, Batch, ErrorKind, LinkChange, Neighbour, Route, RouteFilter, RouteType,
        Rule, Socket, VethEnd, add_bridge, add_veth, delete_link,
    },
    netns::{NetnsFd, run_in},
    nft::{
        self, Chain, ChainKind, Element, Hook, Interval, KeyType, Set, Table, Transaction, Verdict,
    },
    testkit::harness,
};
use vpc_ipam_core::{addr::Prefix, id::MacAddr};

fn prefix(s: &str) -> Prefix {
    s.parse().unwrap()
}

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

/// A second network namespace, held by its descriptor.
fn other_netns() -> NetnsFd {
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        NetnsFd::current().unwrap()
    })
    .join()
    .unwrap()
}

const MAC_A: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xa]);
const MAC_B: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xb]);

fn veth(pod: &NetnsFd) -> (VethEnd, VethEnd) {
    let host = VethEnd {
        mac: Some(MAC_A),
        mtu: Some(9001),
        index: Some(4711),
        up: true,
        ..VethEnd::new("host0")
    };
    let peer = VethEnd {
        mac: Some(MAC_B),
        mtu: Some(9001),
        index: Some(815),
        netns: Some(pod.clone()),
        ..VethEnd::new("eth0")
    };
    (host, peer)
}

fn a_veth_is_born_complete_with_its_peer_elsewhere() {
    let pod = other_netns();
    let mut socket = Socket::open().unwrap();
    let (host, peer) = veth(&pod);
    socket.request(add_veth(&host, &peer)).unwrap();
    let link = socket.link_by_name("host0").unwrap().unwrap();
    assert_eq!((link.index, link.mac, link.mtu, link.up), (4711, Some(MAC_A), 9001, true));
    assert_eq!(link.kind.as_deref(), Some("veth"));
    assert_eq!((link.tx_queues, link.rx_queues), (Some(1), Some(1)));
    let mut inside = Socket::open_in(&pod).unwrap();
    let link = inside.link_by_index(815).unwrap().unwrap();
    assert_eq!((link.name.as_str(), link.mac, link.mtu), ("eth0", Some(MAC_B), 9001));
    assert_eq!((link.tx_queues, link.rx_queues), (Some(1), Some(1)));
    assert!(socket.link_by_name("eth0").unwrap().is_none());
    assert_eq!(run_in(&pod, || Socket::open().unwrap().links().unwrap().len()).unwrap(), 2);
    // A second pair of the same name or index is refused.
    let error = socket.request(add_veth(&host, &peer)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    socket.request(delete_link(4711)).unwrap();
    assert!(socket.link_by_index(4711).unwrap().is_none());
}

fn a_batch_is_one_send_and_tells_every_refusal() {
    let mut socket = Socket::open().unwrap();
    let mut batch = Batch::new();
    batch.push(LinkChange::of_name("lo").up().request());
    batch.push(LinkChange::of_index(999).up().request());
    batch.push(Address::new(1, ip("10.9.9.9"), 32).add());
    batch.push(Address::new(1, ip("10.9.9.9"), 32).add());
    batch.push(Rule::lookup(700, 4242).add());
    let before = socket.sends();
    let error = socket.run(&batch).unwrap_err();
    assert_eq!(socket.sends() - before, 1);
    let refused: Vec<_> = error.refusals().iter().map(|r| (r.index, r.kind())).collect();
    assert_eq!(refused, [(1, ErrorKind::NotFound), (3, ErrorKind::Exists)]);
    assert!(error.to_string().contains("set link 999 up"), "{error}");
    assert!(socket.rules(true).unwrap().iter().any(|r| r.priority == 700 && r.table == 4242));
    // The socket still works, and more requests than fit into one send are split.
    let many: Batch = (1..=300u32).map(|n| Rule::lookup(1000 + n, n).add()).collect();
    let before = socket.sends();
    socket.run(&many).unwrap();
    assert_eq!(socket.sends() - before, 3);
    assert_eq!(socket.rules(true).unwrap().len(), 3 + 1 + 300);
}

fn routes_rules_addresses_and_neighbours_read_back_as_written() {
    let pod = other_netns();
    let mut socket = Socket::open().unwrap();
    let (host, peer) = veth(&pod);
    socket.request(add_veth(&host, &peer)).unwrap();

    let address = Address::new(4711, ip("10.0.1.10"), 24).without_prefix_route();
    socket.request(address.replace()).unwrap();
    assert!(socket.addresses(true).unwrap().contains(&address));
    assert!(socket.routes(true, RouteFilter { table: Some(254), dev: None }).unwrap().is_empty());
    assert!(
        socket.routes(true, RouteFilter { table: Some(77_777), dev: None }).unwrap().is_empty()
    );

    let table = RouteFilter { table: Some(100_513), dev: None };
    let gateway = Route::to(prefix("10.0.1.1/32")).dev(4711).on_link().table(100_513).protocol(77);
    let default = Route::default_route(true).via(ip("10.0.1.1")).dev(4711).table(100_513);
    let hole = Route::to(prefix("10.5.0.0/16")).kind(RouteType::Blackhole).table(100_513);
    let batch: Batch = [gateway.replace(), default.replace(), hole.add()].into_iter().collect();
    socket.run(&batch).unwrap();
    let listed = socket.routes(true, table).unwrap();
    for route in [&gateway, &default, &hole] {
        assert!(listed.contains(route), "{route} is not in {listed:?}");
    }
    // Replacing the same routes changes nothing.
    socket.request(default.replace()).unwrap();
    assert_eq!(socket.routes(true, table).unwrap(), listed);
    let by_dev = RouteFilter { table: None, dev: Some(4711) };
    assert!(socket.routes(true, by_dev).unwrap().iter().all(|r| r.dev == Some(4711)));
    socket.request(hole.delete()).unwrap();
    assert_eq!(socket.request(hole.delete()).unwrap_err().kind(), ErrorKind::NotFound);

    let rules = [
        Rule::lookup(513, 100_513).protocol(77),
        Rule::lookup(1537, 2).fwmark(1, 0x7f).protocol(77),
        Rule::lookup(1535, 254).to(prefix("198.51.100.0/24")),
        Rule { iif: Some("host0".into()), ..Rule::lookup(1538, 3).from(prefix("10.0.1.10/32")) },
    ];
    socket.run(&rules.iter().map(Rule::add).collect()).unwrap();
    let listed = socket.rules(true).unwrap();
    for rule in &rules {
        assert!(listed.contains(rule), "{rule} is not in {listed:?}");
        assert_eq!(socket.request(rule.add()).unwrap_err().kind(), ErrorKind::Exists);
        socket.request(rule.delete()).unwrap();
        assert_eq!(socket.request(rule.delete()).unwrap_err().kind(), ErrorKind::NotFound);
    }

    let neighbour = Neighbour::permanent(4711, ip("169.254.1.1"), MAC_B);
    socket.request(neighbour.replace()).unwrap();
    assert!(socket.neighbours(true).unwrap().contains(&neighbour));
    socket.request(Neighbour::proxied(4711, ip("10.0.1.99")).replace()).unwrap();
}

fn link_settings_travel_through_netlink() {
    let mut socket = Socket::open().unwrap();
    socket.request(add_bridge("br0", true)).unwrap();
    let link = socket.link_by_name("br0").unwrap().unwrap();
    assert_eq!(link.kind.as_deref(), Some("bridge"));
    assert!(link.up);
    assert_ne!(link.rp_filter, Some(2));
    let change = LinkChange::of_index(link.index).rp_filter(2).mtu(1400).mac(MAC_A);
    socket.request(change.request()).unwrap();
    socket.request(LinkChange::of_index(link.index).proxy_arp().request()).unwrap();
    socket.request(LinkChange::of_index(link.index).forwarding().request()).unwrap();
    socket.request(LinkChange::of_index(link.index).no_link_local().request()).unwrap();
    let link = socket.link_by_name("br0").unwrap().unwrap();
    assert_eq!((link.rp_filter, link.mtu, link.mac), (Some(2), 1400, Some(MAC_A)));
    assert_eq!(socket.links_by_mac(MAC_A).unwrap().len(), 1);
    socket.request(LinkChange::of_name("br0").down().request()).unwrap();
    assert!(!socket.link_by_name("br0").unwrap().unwrap().up);
    socket.request(LinkChange::of_index(link.index).group(77).request()).unwrap();
    socket.request(netlink::delete_link_group(77)).unwrap();
    assert!(socket.link_by_name("br0").unwrap().is_none());
}

fn every_kind_of_rule_reads_back_as_written() {
    let table = Table::ipv4("t");
    let mut socket = nft::Socket::open().unwrap();
    let mut tx = Transaction::new();
    tx.add_table(&table)
        .add_set(&table, &Set::of("nets", &[KeyType::Ipv4Addr]).interval())
        .add_set(&table, &Set::of("src", &[KeyType::Ipv4Addr]).interval().verdict_map())
        .add_set(&table, &Set::of("pairs", &[KeyType::IfIndex, KeyType::Ipv4Addr]).interval())
        .add_set(&table, &Set::of("seen", &[KeyType::Ipv4Addr]).dynamic(64, 60_000))
        .add_counter(&table, "drops")
        .add_chain(&table, &Chain::regular("eni-1"))
        .add_chain(&table, &Chain::base("pre", ChainKind::Filter, Hook::Prerouting, -150))
        .add_chain(&table, &Chain::base("nat", ChainKind::Nat, Hook::Prerouting, -100))
        .add_chain(&table, &Chain::base("post", ChainKind::Nat, Hook::Postrouting, 110));
    let new = nft::Rule::new;
    let pairs = nft::Expr::Lookup { set: "pairs".into(), reg: nft::Reg::A, inverted: true };
    let seen = nft::Expr::AddToSet { set: "seen".into(), reg: nft::Reg::A, timeout_ms: 0 };
    let rules = [
        ("eni-1", new().set_meta_mark(0x7f, 1)),
        ("pre", new().iifname("eth0").daddr_local_on_iif().set_ct_mark(0x80, 0x80)),
        ("pre", new().iifname_prefix("eni").ct_original().ct_new().daddr_not_local()),
        ("pre", new().daddr_not_in("nets").ct_mark(0x80, 0x80).set_meta_mark(0x80, 0x80)),
        ("pre", new().saddr_vmap("src")),
        ("pre", new().saddr(&prefix("10.0.0.0/8")).daddr(&prefix("10.0.0.1/32")).jump("eni-1")),
        ("pre", new().l4proto(6).dport(80).meta_mark(0xff, 1).counter().ret()),
        (
            "pre",
            new()
                .expr(nft::Expr::Meta { key: nft::Meta::Iif, reg: nft::Reg::A })
                .load_saddr(true, nft::Reg::slot(1))
                .expr(pairs)
                .load_saddr(true, nft::Reg::A)
                .expr(seen)
                .named_counter("drops")
                .drop(),
        ),
        ("nat", new().dnat(ip("10.0.0.7"), Some(8080))),
        ("nat", new().dnat(ip("10.0.0.7"), None)),
        ("post", new().oifname_prefix("vlan").ret()),
        ("post", new().oifname("eth0").oif(1).iif(1).saddr_in("nets").daddr_in("nets").accept()),
        ("post", new().daddr_local().goto("eni-1")),
        ("post", new().snat(ip("10.0.0.10"), nft::nat_flag::FULLY_RANDOM)),
        ("post", new().snat(ip("10.0.0.10"), 0)),
        ("post", new().expr(nft::Expr::Masquerade { flags: nft::nat_flag::RANDOM })),
    ];
    for (chain, rule) in &rules {
        tx.add_rule(&table, chain, rule);
    }
    socket.commit(&tx).unwrap();
    let listed = socket.rules(&table).unwrap();
    for (chain, wanted) in &rules {
        assert!(
            listed.iter().any(|l| l.chain == *chain && l.rule.is_same(wanted)),
            "{chain}: {wanted:?}\nis not in {listed:#?}"
        );
    }
    assert_eq!(listed.len(), rules.len());
    let mut chains = socket.chains(&table).unwrap();
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(chains[1], Chain::base("nat", ChainKind::Nat, Hook::Prerouting, -100));
    assert_eq!(chains[0], Chain::regular("eni-1"));
    assert_eq!(socket.sets(&table).unwrap().len(), 4);
    assert_eq!(socket.counters(&table).unwrap(), [("drops".to_owned(), 0, 0)]);
    assert!(listed.iter().any(|l| l.counted() == Some((0, 0))));
}

fn intervals_move_between_verdicts_in_one_transaction() {
    let table = Table::ipv4("t");
    let mut socket = nft::Socket::open().unwrap();
    let mut tx = Transaction::new();
    tx.add_table(&table)
        .add_set(&table, &Set::of("src", &[KeyType::Ipv4Addr]).interval().verdict_map())
        .add_chain(&table, &Chain::regular("eni-1"))
        .add_chain(&table, &Chain::regular("eni-2"));
    let to = |n: u32| Some(Verdict::Goto(format!("eni-{n}")));
    let of = |p: &str, n| Element::of_prefix(&prefix(p), to(n));
    for p in ["10.0.1.64/28", "10.0.1.50/32", "10.0.1.51/32", "255.255.255.240/28"] {
        tx.add_elements(&table, "src", &of(p, 1));
    }
    socket.commit(&tx).unwrap();
    let read = |socket: &mut nft::Socket| {
        let elements = socket.elements(&table, "src").unwrap();
        Interval::of_elements(&elements)
            .iter()
            .map(|i| (i.prefix().unwrap().to_string(), i.verdict.clone().unwrap().to_string()))
            .collect::<Vec<_>>()
    };
    let pair = |p: &str, n: u32| (p.to_owned(), format!("goto eni-{n}"));
    let first = [
        pair("10.0.1.50/32", 1),
        pair("10.0.1.51/32", 1),
        pair("10.0.1.64/28", 1),
        pair("255.255.255.240/28", 1),
    ];
    assert_eq!(read(&mut socket), first);

    // The same key with another verdict is refused, and nothing of that transaction happens.
    let mut tx = Transaction::new();
    tx.add_elements(&table, "src", &of("10.0.2.0/28", 2));
    tx.add_elements(&table, "src", &of("10.0.1.50/32", 2));
    assert_eq!(socket.commit(&tx).unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(read(&mut socket), first);
    let generation = socket.generation().unwrap();

    let mut tx = Transaction::new();
    tx.delete_elements(&table, "src", &of("10.0.1.50/32", 1));
    tx.add_elements(&table, "src", &of("10.0.1.50/32", 2));
    socket.commit(&tx).unwrap();
    assert_eq!(read(&mut socket)[0], pair("10.0.1.50/32", 2));
    assert_eq!(socket.generation().unwrap(), generation + 1);

    let mut tx = Transaction::new();
    tx.delete_elements(&table, "src", &of("10.0.1.50/32", 2));
    tx.delete_elements(&table, "src", &of("10.0.1.50/32", 2));
    assert!(socket.commit(&tx).is_err());
    assert_eq!(read(&mut socket).len(), 4);

    let mut tx = Transaction::new();
    tx.delete_table(&table);
    socket.commit(&tx).unwrap();
    assert_eq!(socket.tables().unwrap(), []);
    assert_eq!(socket.rules(&table).unwrap(), []);
    assert_eq!(socket.elements(&table, "src").unwrap(), []);
}

fn a_plain_file_is_no_namespace() {
    File::create("/tmp/netns_primitives_plain").unwrap();
    assert!(NetnsFd::open("/tmp/netns_primitives_plain").is_err());
    std::fs::remove_file("/tmp/netns_primitives_plain").unwrap();
    assert!(!NetnsFd::current().unwrap().is_same(&other_netns()));
}

fn main() -> ExitCode {
    harness::main(&cases![
        a_veth_is_born_complete_with_its_peer_elsewhere,
        a_batch_is_one_send_and_tells_every_refusal,
        routes_rules_addresses_and_neighbours_read_back_as_written,
        link_settings_travel_through_netlink,
        every_kind_of_rule_reads_back_as_written,
        intervals_move_between_verdicts_in_one_transaction,
        a_plain_file_is_no_namespace,
    ])
}
