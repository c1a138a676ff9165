#![allow(clippy::unwrap_used)]

use aws_sdk_ec2::types::{
    InstanceTypeHypervisor, InstanceTypeInfo, NetworkCardInfo, NetworkInfo,
    builders::{InstanceTypeInfoBuilder, NetworkInfoBuilder},
};

use super::described::described;
use crate::limits::{DescribedError, Facts, Hypervisor};

fn card(index: i32, enis: i32) -> NetworkCardInfo {
    NetworkCardInfo::builder().network_card_index(index).maximum_network_interfaces(enis).build()
}

fn network(enis: i32, ipv4: i32) -> NetworkInfoBuilder {
    NetworkInfo::builder().maximum_network_interfaces(enis).ipv4_addresses_per_interface(ipv4)
}

fn nitro(network: NetworkInfoBuilder) -> InstanceTypeInfoBuilder {
    InstanceTypeInfo::builder()
        .instance_type("m5.large".into())
        .hypervisor(InstanceTypeHypervisor::Nitro)
        .network_info(network.build())
}

fn facts(info: InstanceTypeInfoBuilder) -> Result<Facts, DescribedError> {
    described(&info.build()).facts()
}

#[test]
fn of_several_cards_the_default_card_is_the_limit() {
    let cards = network(60, 50).network_cards(card(1, 10)).network_cards(card(0, 15));
    let on_card_1 = cards.clone().default_network_card_index(1);
    for (network, default_card, enis) in [(cards, 0, 15), (on_card_1, 1, 10)] {
        let facts = facts(nitro(network)).unwrap();
        assert_eq!((facts.enis, facts.default_card, facts.ipv4_per_eni), (enis, default_card, 50));
        assert_eq!(facts.card_enis, [15, 10]);
        assert_eq!(facts.limits().enis, enis);
        assert_eq!(facts.limits().card_enis, [15, 10]);
    }
}

#[test]
fn one_card_holds_all_enis_whether_listed_or_not() {
    for network in [
        network(3, 10),
        network(3, 10).network_cards(card(0, 3)),
        network(3, 10).network_cards(card(0, 0)),
        network(3, 10).network_cards(NetworkCardInfo::builder().build()),
    ] {
        let facts = facts(nitro(network)).unwrap();
        assert_eq!((facts.enis, facts.default_card), (3, 0));
        assert_eq!(facts.card_enis, [3]);
    }
    let facts = facts(nitro(network(3, 10).network_cards(card(1, 3)))).unwrap();
    assert_eq!((facts.enis, facts.default_card), (3, 1));
    assert_eq!(facts.card_enis, [0, 3]);
}

#[test]
fn prefixes_need_nitro_or_bare_metal() {
    let of = |hypervisor: Option<InstanceTypeHypervisor>, metal: Option<bool>| {
        let info = nitro(network(3, 10)).set_hypervisor(hypervisor).set_bare_metal(metal);
        let facts = facts(info).unwrap();
        (facts.hypervisor, facts.bare_metal, facts.prefixes(), facts.limits().prefixes)
    };
    let (nitro, xen) = (InstanceTypeHypervisor::Nitro, InstanceTypeHypervisor::Xen);
    assert_eq!(of(Some(nitro), None), (Hypervisor::Nitro, false, true, true));
    assert_eq!(of(Some(xen), Some(false)), (Hypervisor::Xen, false, false, false));
    assert_eq!(of(None, Some(false)), (Hypervisor::Unknown, false, false, false));
    assert_eq!(of(Some("".into()), Some(true)), (Hypervisor::Unknown, true, true, true));
    assert_eq!(of(Some("kvm".into()), None), (Hypervisor::Unknown, false, false, false));
}

#[test]
fn a_type_without_name_or_limits_is_refused() {
    let nameless = nitro(network(3, 10)).set_instance_type(None);
    assert_eq!(facts(nameless), Err(DescribedError::NoName));
    let empty = nitro(network(3, 10)).instance_type("".into());
    assert_eq!(facts(empty), Err(DescribedError::NoName));
    for (info, field) in [
        (nitro(network(0, 10)), "maximumNetworkInterfaces"),
        (nitro(network(-1, 10)), "maximumNetworkInterfaces"),
        (nitro(network(i32::MIN, i32::MIN)), "maximumNetworkInterfaces"),
        (nitro(network(3, 0)), "ipv4AddressesPerInterface"),
        (nitro(network(3, -7)), "ipv4AddressesPerInterface"),
        (nitro(NetworkInfo::builder()), "maximumNetworkInterfaces"),
        (nitro(network(3, 10)).set_network_info(None), "maximumNetworkInterfaces"),
        // Several cards, and no place on the one that counts.
        (nitro(network(9, 10).network_cards(card(1, 4)).network_cards(card(2, 5))), "default card"),
    ] {
        let why = facts(info).unwrap_err().to_string();
        assert!(why.contains("m5.large") && why.contains(field), "{why}");
    }
}

#[test]
fn impossible_cards_are_refused() {
    let listed = |index| nitro(network(3, 10).network_cards(card(index, 3)));
    let default = |index| nitro(network(3, 10).default_network_card_index(index));
    for (info, field) in [
        (listed(-1), "networkCardIndex"),
        (listed(64), "networkCardIndex"),
        (listed(i32::MAX), "networkCardIndex"),
        (default(-1), "defaultNetworkCardIndex"),
        (default(i32::MAX), "defaultNetworkCardIndex"),
    ] {
        let why = facts(info).unwrap_err();
        assert!(matches!(why, DescribedError::CardIndex { .. }), "{why}");
        assert!(why.to_string().contains(field), "{why}");
    }
    assert!(facts(listed(63)).is_ok());
    assert!(matches!(facts(default(3)), Err(DescribedError::NoLimit { .. })));
}
