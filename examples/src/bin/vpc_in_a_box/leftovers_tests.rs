#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use vpc_ipam_core::{
    testkit::ec2::{AttachNetworkInterface, CreateNetworkInterface, Ipv4Request, WorldConfig},
    time::Time,
};

use super::*;

const NOW: Time = Time::ZERO;

/// An instance with its primary ENI and one more, which owns one address.
fn enis() -> Vec<Eni> {
    let mut world = WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet("10.0.0.0/24".parse().unwrap())
        .instance(0, "m5.large")
        .build()
        .unwrap();
    let instance = world.instances()[0].id.clone();
    let mut create = CreateNetworkInterface::new(world.subnets()[0].id.clone());
    create.ipv4 = Some(Ipv4Request::Secondary(1));
    let eni = world.create_network_interface(&create, NOW).unwrap();
    let attach =
        AttachNetworkInterface { eni: eni.id, instance: instance.clone(), device: 1, card: 0 };
    world.attach_network_interface(&attach, NOW).unwrap();
    world.enis_of(&instance).into_iter().cloned().collect()
}

/// What a node with those ENIs and no pods has.
fn clean(enis: &[Eni]) -> Kernel {
    let primary_ip = Prefix::host(enis[1].primary_ip.unwrap().into());
    let owned = enis[1].owned()[0];
    let mut elements = nft::Element::of_prefix(&owned, None);
    let mut default = Route::default_route(true);
    default.table = 2;
    elements.reverse();
    Kernel {
        links: Vec::new(),
        routes: vec![
            Route::default_route(true),
            default,
            Route::to(owned).kind(RouteType::Blackhole).table(POD_TABLE),
        ],
        rules: vec![
            Rule::lookup(0, 255),
            Rule::lookup(513, 100_513),
            Rule::lookup(1_024, MAIN_TABLE).fwmark(0x80, 0x80),
            Rule::lookup(1_537, 2).fwmark(1, 0x7f),
            Rule::lookup(32_765, 2).from(primary_ip),
            Rule::lookup(32_766, MAIN_TABLE),
            Rule::lookup(32_767, 253),
        ],
        tables: vec![Table::ipv4(TABLE)],
        chains: NODE_CHAINS.iter().map(|c| (*c).to_owned()).chain(["eni-1".to_owned()]).collect(),
        sources: Interval::of_elements(&elements),
    }
}

fn left(change: impl FnOnce(&mut Kernel)) -> Vec<String> {
    let enis = enis();
    let mut kernel = clean(&enis);
    change(&mut kernel);
    kernel.leftovers(&enis)
}

fn host(ip: &str) -> Prefix {
    format!("{ip}/32").parse().unwrap()
}

#[test]
fn a_node_without_pods_has_no_leftovers() {
    assert_eq!(left(|_| {}), Vec::<String>::new());
}

#[test]
fn every_kind_of_object_is_noticed() {
    type Change = fn(&mut Kernel);
    let cases: [(&str, Change); 10] = [
        ("rule 512", |k| k.rules.push(Rule::lookup(512, MAIN_TABLE).to(host("10.0.0.9")))),
        ("rule 1536", |k| k.rules.push(Rule::lookup(1_536, 2).from(host("10.0.0.9")))),
        ("rule 1538", |k| k.rules.push(Rule::lookup(1_538, 3).fwmark(2, 0x7f))),
        ("rule 32765", |k| k.rules.push(Rule::lookup(32_765, 2).from(host("10.0.0.99")))),
        ("table 100513", |k| k.routes.push(Route::to(host("10.0.0.9")).table(100_513))),
        ("10.0.0.9/32", |k| {
            let vacant = Route::to(host("10.0.0.9")).kind(RouteType::Blackhole);
            k.routes.push(vacant.table(POD_TABLE));
        }),
        ("table 254", |k| k.routes.push(Route::to(host("10.0.0.9")))),
        ("table 3", |k| k.routes.push(Route::default_route(true).table(3))),
        ("nft table stray", |k| k.tables.push(Table::ipv4("stray"))),
        ("nft chains", |k| k.chains.push("eni-2".into())),
    ];
    for (expected, change) in cases {
        let left = left(change);
        assert_eq!(left.len(), 1, "{expected}: {left:?}");
        assert!(left[0].contains(expected), "{expected}: {left:?}");
    }
    let foreign = nft::Element::of_prefix(&host("10.0.0.200"), None);
    let left = left(|k| k.sources.extend(Interval::of_elements(&foreign)));
    assert_eq!(left, ["nft element 10.0.0.200-10.0.0.200"]);
}
