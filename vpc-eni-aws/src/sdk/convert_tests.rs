#![allow(clippy::unwrap_used)]

use aws_sdk_ec2::types::{
    GroupIdentifier, Ipv4PrefixSpecification, NetworkCardInfo, NetworkInfo,
    NetworkInterfacePrivateIpAddress, Tag, builders::NetworkInterfaceBuilder,
};

use super::*;

fn ip(text: &str, primary: bool) -> NetworkInterfacePrivateIpAddress {
    NetworkInterfacePrivateIpAddress::builder().private_ip_address(text).primary(primary).build()
}

fn good() -> NetworkInterfaceBuilder {
    NetworkInterface::builder()
        .network_interface_id("eni-1")
        .mac_address("02:00:00:00:00:01")
        .subnet_id("subnet-1")
        .groups(GroupIdentifier::builder().group_id("sg-1").build())
        .tag_set(Tag::builder().key("k").value("v").build())
        .private_ip_addresses(ip("10.0.0.9", false))
        .private_ip_addresses(ip("10.0.0.5", true))
        .ipv4_prefixes(Ipv4PrefixSpecification::builder().ipv4_prefix("10.0.1.16/28").build())
        .attachment(
            NetworkInterfaceAttachment::builder()
                .attachment_id("eni-attach-1")
                .instance_id("i-1")
                .device_index(2)
                .status(AttachmentStatus::Attached)
                .build(),
        )
}

#[test]
fn the_primary_address_is_the_one_that_is_flagged() {
    let eni = eni(&good().build()).unwrap();
    assert_eq!(eni.primary_ip, Some("10.0.0.5".parse().unwrap()));
    let cidrs: Vec<_> = eni.cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(cidrs, ["10.0.0.9/32", "10.0.1.16/28"]);
    let attachment = eni.attachment.unwrap();
    assert_eq!((attachment.device, attachment.card), (2, 0));
    assert_eq!(attachment.state, AttachmentState::Attached);
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let with_status = |status: &str| {
        NetworkInterfaceAttachment::builder().instance_id("i-1").status(status.into()).build()
    };
    let negative = NetworkInterfaceAttachment::builder()
        .device_index(-1)
        .status(AttachmentStatus::Attached)
        .build();
    for (bad, word) in [
        (good().network_interface_id("subnet-1").build(), "ENI id"),
        (good().mac_address("nonsense").build(), "MAC"),
        (good().set_subnet_id(None).build(), "subnet id"),
        (good().private_ip_addresses(ip("fd00::1", false)).build(), "fd00::1"),
        (good().private_ip_addresses(ip("10.0.0.256", false)).build(), "10.0.0.256"),
        (
            good().ipv4_prefixes(Ipv4PrefixSpecification::builder().build()).build(),
            "not a CIDR prefix",
        ),
        (good().attachment(with_status("banana")).build(), "banana"),
        (good().attachment(negative).build(), "device index"),
    ] {
        let why = eni(&bad).unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

fn type_info(network: NetworkInfo) -> InstanceTypeInfo {
    InstanceTypeInfo::builder()
        .hypervisor(InstanceTypeHypervisor::Nitro)
        .network_info(network)
        .build()
}

#[test]
fn limits_of_several_cards_count_the_default_card() {
    let card = |index: i32, enis: i32| {
        NetworkCardInfo::builder()
            .network_card_index(index)
            .maximum_network_interfaces(enis)
            .build()
    };
    let network = NetworkInfo::builder()
        .maximum_network_interfaces(60)
        .ipv4_addresses_per_interface(50)
        .default_network_card_index(0)
        .network_cards(card(1, 10))
        .network_cards(card(0, 15))
        .build();
    let limits = limits(&type_info(network)).unwrap();
    assert_eq!((limits.enis, limits.ipv4_per_eni, limits.prefixes), (15, 50, true));
    assert_eq!(limits.card_enis, [15, 10]);
}

#[test]
fn limits_of_zero_or_absurd_cards_are_refused() {
    let network = |enis: i32, ipv4: i32, card: i32| {
        NetworkInfo::builder()
            .maximum_network_interfaces(enis)
            .ipv4_addresses_per_interface(ipv4)
            .network_cards(NetworkCardInfo::builder().network_card_index(card).build())
            .build()
    };
    for (enis, ipv4, card) in [(0, 10, 0), (3, 0, 0), (-1, 10, 0), (3, 10, i32::MAX), (3, 10, -1)] {
        assert!(limits(&type_info(network(enis, ipv4, card))).is_err(), "{enis} {ipv4} {card}");
    }
    let old = InstanceTypeInfo::builder()
        .hypervisor(InstanceTypeHypervisor::Xen)
        .network_info(
            NetworkInfo::builder()
                .maximum_network_interfaces(2)
                .ipv4_addresses_per_interface(10)
                .build(),
        )
        .build();
    let old = limits(&old).unwrap();
    assert_eq!((old.enis, old.prefixes), (2, false));
    assert_eq!(old.card_enis, [2]);
}
