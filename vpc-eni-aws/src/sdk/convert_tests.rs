#![allow(clippy::unwrap_used)]

use aws_sdk_ec2::types::{
    GroupIdentifier, Ipv4PrefixSpecification, NetworkInterfacePrivateIpAddress, Tag,
    builders::NetworkInterfaceBuilder,
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
