//! Parameters that EC2 has and the emulator has not: refused, but not as if they did not exist.

use vpc_ipam_core::testkit::ec2::{Ec2Action, Ec2Error, code};

/// The first part of their names, by action.
const UNSUPPORTED: &[(Ec2Action, &[&str])] = &[
    (Ec2Action::AssignIpv6Addresses, &["Ipv6AddressCount", "Ipv6Addresses", "Ipv6Prefix"]),
    (Ec2Action::AssignPrivateIpAddresses, &["AllowReassignment"]),
    (Ec2Action::AttachNetworkInterface, &["EnaSrdSpecification", "EnaQueueCount"]),
    (
        Ec2Action::CreateNetworkInterface,
        &[
            "EnablePrimaryIpv6",
            "Ipv4Prefix",
            "Ipv6Addresses",
            "Ipv6Prefix",
            "Ipv6PrefixCount",
            "Operator",
            "PrivateIpAddress",
            "PrivateIpAddresses",
        ],
    ),
    (Ec2Action::DescribeRegions, &["AllRegions", "Filter"]),
    (Ec2Action::DescribeSecurityGroups, &["GroupName"]),
    (
        Ec2Action::ModifyNetworkInterfaceAttribute,
        &[
            "AssociatePublicIpAddress",
            "ConnectionTrackingSpecification",
            "Description",
            "EnaSrdSpecification",
            "EnablePrimaryIpv6",
            "SourceDestCheck",
        ],
    ),
    (Ec2Action::UnassignIpv6Addresses, &["Ipv6Addresses"]),
];

/// The error for a parameter that nobody has read, if EC2 has it.
pub(super) fn refusal(action: Ec2Action, parameter: &str) -> Option<Ec2Error> {
    let first = parameter.split('.').next().unwrap_or_default();
    let (_, known) = UNSUPPORTED.iter().find(|(a, _)| *a == action)?;
    known.contains(&first).then(|| {
        Ec2Error::new(
            code::UNSUPPORTED_OPERATION,
            format!("The parameter {first} of {action} is not supported by this emulator."),
        )
    })
}
