//! SDK types to ours. Every field of an answer is optional for the SDK; what we need is required
//! here, and what is missing is named.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use aws_sdk_ec2::{
    operation::assign_private_ip_addresses::AssignPrivateIpAddressesOutput,
    types::{
        AttachmentStatus, ConnectionTrackingConfiguration, NetworkInterface,
        NetworkInterfaceAttachment, NetworkInterfaceType, Subnet, SubnetCidrBlockStateCode,
        SubnetIpv6CidrBlockAssociation, Tag,
    },
};
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, EniKind},
    id::{EniId, InstanceId, SecurityGroupId, SubnetId},
};

use crate::api::{Attachment, AttachmentState, Ec2Eni, Ec2Subnet, Tracking};

/// Addresses of one ENI that are read. EC2's largest ENI holds 64; with prefixes in place of
/// addresses still fewer.
const CIDRS_MAX: usize = 4096;

/// A count as the SDK wants it; counts of ours never come near the limit.
pub(super) fn int(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn index(n: Option<i32>, what: &str) -> Result<u32, String> {
    // Absent on single-card instances and old endpoints.
    u32::try_from(n.unwrap_or(0)).map_err(|_| format!("{what} {n:?} is negative"))
}

/// An IPv4 block.
pub(super) fn v4_block(text: &str) -> Result<Prefix, String> {
    let block: Prefix =
        text.parse().map_err(|e: vpc_ipam_core::addr::PrefixError| e.to_string())?;
    if block.is_v4() { Ok(block) } else { Err(format!("{block} is not IPv4")) }
}

/// An IPv6 block.
pub(super) fn v6_block(text: &str) -> Result<Prefix, String> {
    let block: Prefix =
        text.parse().map_err(|e: vpc_ipam_core::addr::PrefixError| e.to_string())?;
    if block.is_v4() { Err(format!("{block} is not IPv6")) } else { Ok(block) }
}

/// IPv6 block that a subnet has now; it may also list one that is coming or going.
pub(super) fn ipv6_subnet_block(from: &Subnet) -> Result<Option<Prefix>, String> {
    let associated = |block: &&SubnetIpv6CidrBlockAssociation| {
        let state = block.ipv6_cidr_block_state().and_then(|state| state.state());
        state == Some(&SubnetCidrBlockStateCode::Associated)
    };
    let found = from.ipv6_cidr_block_association_set().iter().find(associated);
    found.map(|block| v6_block(block.ipv6_cidr_block().unwrap_or_default())).transpose()
}

fn v4_host(text: Option<&str>) -> Result<Ipv4Addr, String> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| format!("{text:?} is not an IPv4 address"))
}

/// An ENI.
pub(super) fn eni(from: &NetworkInterface) -> Result<Ec2Eni, String> {
    let id = EniId::new(from.network_interface_id().unwrap_or_default()).map_err(text)?;
    let in_eni = |why: String| format!("{id}: {why}");
    let subnet = SubnetId::new(from.subnet_id().unwrap_or_default());
    let groups: Result<Vec<_>, _> = from
        .groups()
        .iter()
        .map(|group| SecurityGroupId::new(group.group_id().unwrap_or_default()))
        .collect();
    let (primary_ip, ipv6, cidrs) = addresses(from).map_err(in_eni)?;
    Ok(Ec2Eni {
        mac: from.mac_address().unwrap_or_default().parse().map_err(|e| in_eni(text(e)))?,
        subnet: subnet.map_err(|e| in_eni(text(e)))?,
        kind: kind(from.interface_type(), primary_ip.is_some()),
        primary_ip,
        ipv6,
        cidrs,
        groups: groups.map_err(|e| in_eni(text(e)))?,
        tags: tags(from.tag_set()),
        tracking: from.connection_tracking_configuration().map(tracking).unwrap_or_default(),
        attachment: from.attachment().map(attachment).transpose().map_err(in_eni)?,
        id,
    })
}

/// What is not positive cannot be sent back to EC2, and counts as not said.
fn tracking(from: &ConnectionTrackingConfiguration) -> Tracking {
    let seconds = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    Tracking {
        tcp_established_s: seconds(from.tcp_established_timeout()),
        udp_stream_s: seconds(from.udp_stream_timeout()),
        udp_s: seconds(from.udp_timeout()),
    }
}

/// A subnet.
pub(super) fn subnet(from: &Subnet) -> Result<Ec2Subnet, String> {
    let id = SubnetId::new(from.subnet_id().unwrap_or_default()).map_err(text)?;
    let in_subnet = |why: String| format!("{id}: {why}");
    let block = from.cidr_block().filter(|block| !block.is_empty());
    Ok(Ec2Subnet {
        block: block.map(v4_block).transpose().map_err(in_subnet)?,
        ipv6_block: ipv6_subnet_block(from).map_err(in_subnet)?,
        free: from.available_ip_address_count().and_then(|n| n.try_into().ok()).unwrap_or(0),
        tags: tags(from.tags()),
        id,
    })
}

fn tags(from: &[Tag]) -> BTreeMap<String, String> {
    from.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()))).collect()
}

fn text(error: vpc_ipam_core::id::IdError) -> String {
    error.to_string()
}

/// A kind that is not known here yet is used like any other, unless it carries no IP.
fn kind(from: Option<&NetworkInterfaceType>, has_address: bool) -> EniKind {
    match from {
        Some(NetworkInterfaceType::Efa) => EniKind::Efa,
        Some(NetworkInterfaceType::EfaOnly) => EniKind::EfaOnly,
        Some(NetworkInterfaceType::Trunk) => EniKind::Trunk,
        None | Some(NetworkInterfaceType::Interface) => EniKind::Interface,
        Some(_) if !has_address => EniKind::EfaOnly,
        Some(_) => EniKind::Interface,
    }
}

/// The primary address, the ENI's own first IPv6 address, and what it holds for pods.
type Addresses = (Option<IpAddr>, Option<Ipv6Addr>, Vec<Prefix>);

fn addresses(from: &NetworkInterface) -> Result<Addresses, String> {
    let prefixes = from.ipv4_prefixes().len() + from.ipv6_prefixes().len();
    let count = from.private_ip_addresses().len() + prefixes;
    if count > CIDRS_MAX {
        return Err(format!("it has {count} addresses and prefixes, more than any ENI"));
    }
    let mut primary: Option<IpAddr> = None;
    let mut cidrs = Vec::with_capacity(count);
    for address in from.private_ip_addresses() {
        let ip = IpAddr::V4(v4_host(address.private_ip_address())?);
        if address.primary() == Some(true) {
            primary = Some(ip);
        } else {
            cidrs.push(Prefix::host(ip));
        }
    }
    for prefix in from.ipv4_prefixes() {
        cidrs.push(v4_block(prefix.ipv4_prefix().unwrap_or_default())?);
    }
    for prefix in from.ipv6_prefixes() {
        cidrs.push(v6_block(prefix.ipv6_prefix().unwrap_or_default())?);
    }
    let own = from.ipv6_addresses().first().and_then(|address| address.ipv6_address());
    let own: Option<Ipv6Addr> = own.and_then(|text| text.parse().ok());
    // Without IPv4, it is all that the ENI has.
    Ok((primary.or(own.map(IpAddr::V6)), own, cidrs))
}

fn attachment(from: &NetworkInterfaceAttachment) -> Result<Attachment, String> {
    let instance = from.instance_id().filter(|id| !id.is_empty());
    Ok(Attachment {
        id: from.attachment_id().unwrap_or_default().to_owned(),
        instance: instance.map(InstanceId::new).transpose().map_err(text)?,
        device: index(from.device_index(), "device index")?,
        card: index(from.network_card_index(), "network card index")?,
        state: match from.status() {
            Some(AttachmentStatus::Attached) => AttachmentState::Attached,
            Some(AttachmentStatus::Attaching) => AttachmentState::Attaching,
            Some(AttachmentStatus::Detached) => AttachmentState::Detached,
            Some(AttachmentStatus::Detaching) => AttachmentState::Detaching,
            other => return Err(format!("attachment status {other:?} is unknown")),
        },
        delete_on_termination: from.delete_on_termination(),
    })
}

/// What was added by AssignPrivateIpAddresses, of the kind that was asked for. There are EC2s that answer a
/// request for prefixes with addresses that the ENI had before.
pub(super) fn assigned(
    from: &AssignPrivateIpAddressesOutput,
    asked: AddressCount,
) -> Result<Vec<Prefix>, String> {
    if let AddressCount::Secondary(_) = asked {
        let addresses = from.assigned_private_ip_addresses().iter();
        return addresses
            .map(|a| Ok(Prefix::host(v4_host(a.private_ip_address())?.into())))
            .collect();
    }
    let prefixes = from.assigned_ipv4_prefixes().iter();
    prefixes.map(|p| v4_block(p.ipv4_prefix().unwrap_or_default())).collect()
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
