//! Building worlds.

use super::*;

#[test]
fn the_same_seed_makes_the_same_world() {
    let ids = |seed| {
        let mut w = config("10.0.0.0/24", "m5.large").seed(seed).build().unwrap();
        let eni = create(&mut w, None).unwrap();
        (eni.id, eni.mac, instance(&w))
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}

#[test]
fn ids_and_macs_have_ec2s_form() {
    let w = world("10.0.0.0/24", "m5.large");
    let eni = w.eni(&primary(&w)).unwrap();
    assert_eq!(eni.id.as_str().len(), "eni-".len() + 17);
    assert_eq!(eni.mac.0[0] & 3, 2, "locally administered, unicast");
}

#[test]
fn blocks_that_do_not_fit_are_refused_with_the_reason() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let vpc = w.vpcs()[0].id.clone();
    let zone = "us-west-2a";
    let mut add = |cidr: &str| w.add_subnet(&vpc, cidr.parse().unwrap(), zone).unwrap_err();
    assert!(matches!(add("10.0.0.128/25"), WorldError::Overlap { .. }));
    assert!(matches!(add("10.1.0.0/24"), WorldError::OutsideVpc { .. }));
    assert!(matches!(add("10.0.9.0/29"), WorldError::SizeOutOfRange { .. }));
    assert!(w.add_vpc_cidr(&vpc, "10.0.0.0/20".parse().unwrap()).is_err());
    w.add_vpc_cidr(&vpc, "10.1.0.0/16".parse().unwrap()).unwrap();
    w.add_subnet(&vpc, "10.1.0.0/24".parse().unwrap(), zone).unwrap();
}

#[test]
fn an_unknown_type_names_the_known_ones() {
    let error = config("10.0.0.0/24", "m5.huge").build().unwrap_err().to_string();
    assert!(error.contains("m5.huge") && error.contains("m5.large"), "{error}");
    let error = config("10.0.0.0/24", "m5.large").instance(3, "m5.large").build().unwrap_err();
    assert_eq!(error, WorldError::NoSuchSubnet { number: 3, count: 1 });
}

#[test]
fn limits_are_those_that_aws_publishes() {
    for (name, enis, ipv4) in [
        ("t3.small", 3, 4),
        ("t3.medium", 3, 6),
        ("m5.large", 3, 10),
        ("m5.xlarge", 4, 15),
        ("m5.4xlarge", 8, 30),
        ("c5.large", 3, 10),
        ("m5.24xlarge", 15, 50),
        ("p3dn.24xlarge", 15, 50),
        ("c5n.18xlarge", 15, 50),
        ("m4.large", 2, 10),
    ] {
        let limits = instance_type(name).unwrap().limits();
        assert_eq!((limits.enis, limits.ipv4_per_eni), (enis, ipv4), "{name}");
        assert_eq!(limits.prefixes, name != "m4.large");
    }
    assert_eq!(instance_type("p4d.24xlarge").unwrap().enis(), 60);
    assert!(instance_types().is_sorted_by_key(|t| t.name));
}

#[test]
fn a_reserved_address_is_given_to_nobody() {
    let mut w = world("10.0.0.0/28", "m5.large");
    let subnet = subnet(&w);
    let ip = "10.0.0.5".parse().unwrap();
    w.reserve_address(&subnet, ip).unwrap();
    assert!(matches!(w.reserve_address(&subnet, ip), Err(WorldError::AddressTaken { .. })));
    let eni = primary(&w);
    let got = assign(&mut w, &eni, Ipv4Request::Secondary(9)).unwrap().addresses;
    assert!(!got.contains(&ip));
}

#[test]
fn an_eni_that_cannot_be_placed_leaves_nothing_behind() {
    let mut world = World::new("eu-west-1", 1);
    let vpc = world.add_vpc("10.0.0.0/16".parse().unwrap()).unwrap();
    let subnet = world.add_subnet(&vpc, "10.0.0.0/24".parse().unwrap(), "eu-west-1a").unwrap();
    let node = world.add_instance(&subnet, "t3.small", Time::ZERO).unwrap();
    let free = world.subnets()[0].available_ips();
    let place = |device| Place {
        instance: node.clone(),
        card: 0,
        device: Some(device),
        delete_on_termination: false,
    };
    let mut new = NewEni { id: EniId::new("eni-mine").ok(), ..NewEni::new(subnet.clone()) };
    new.place = Some(place(0));
    assert!(matches!(world.place_eni(&new, Time::ZERO), Err(WorldError::Ec2(_))));
    assert_eq!(world.subnets()[0].available_ips(), free);
    new.place = Some(place(2));
    assert_eq!(world.place_eni(&new, Time::ZERO).unwrap().as_str(), "eni-mine");
    assert_eq!(world.imds_view(&node, Time::ZERO).unwrap().enis.len(), 2, "seen at once");
    assert_eq!(
        world.place_eni(&new, Time::ZERO),
        Err(WorldError::IdTaken { id: "eni-mine".to_owned() })
    );
    assert!(world.calls().is_empty());
    let mut big = NewInstance::new(subnet, "t3.small");
    big.primary.request.ipv4 = Some(Ipv4Request::Secondary(4));
    assert!(matches!(world.start_instance(&big, Time::ZERO), Err(WorldError::Ec2(_))));
    assert_eq!(world.instances().len(), 1);
}
