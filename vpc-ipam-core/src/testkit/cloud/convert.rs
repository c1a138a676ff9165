//! From the model's words to the port's.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use crate::{
    addr::Prefix,
    cloud::{AddressCount, CloudEni, CloudError, CloudErrorKind, EniKind},
    config::Family,
    subnet::is_excluded,
    testkit::ec2::{
        AttachmentStatus, Ec2Error, Eni, ImdsEni, InterfaceType, Ipv4Request, World, code,
    },
};

/// `None` for IPv6.
pub(super) fn ipv4_request(count: AddressCount) -> Option<Ipv4Request> {
    match count {
        AddressCount::Ipv6Prefixes(_) => None,
        AddressCount::Prefixes(n) => Some(Ipv4Request::Prefixes(n)),
        AddressCount::Secondary(n) => Some(Ipv4Request::Secondary(n)),
    }
}

pub(super) fn not_launched() -> Ec2Error {
    Ec2Error::new(code::INVALID_INSTANCE_NOT_FOUND, "The instance does not exist")
}

/// One attached ENI as EC2 describes it; `None` for one that is on its way out or has no address.
pub(in crate::testkit) fn cloud_eni(world: &World, eni: &Eni, family: Family) -> Option<CloudEni> {
    let attachment = eni.attachment.as_ref()?;
    if attachment.status == AttachmentStatus::Detaching {
        return None;
    }
    let subnet = world.subnet(&eni.subnet)?;
    let ipv4 = eni.primary_ip.map_or_else(|| [0, 0, 0, 0].into(), Into::into);
    let ipv6 = eni.ipv6_addresses.first().copied().zip(subnet.ipv6_cidr);
    let (primary_ip, subnet_cidr) = own(family, (ipv4, subnet.cidr), ipv6);
    Some(CloudEni {
        id: eni.id.clone(),
        mac: eni.mac,
        device: attachment.device,
        card: attachment.card,
        kind: match eni.kind {
            InterfaceType::Efa => EniKind::Efa,
            InterfaceType::EfaOnly => EniKind::EfaOnly,
            InterfaceType::Interface => EniKind::Interface,
            InterfaceType::Trunk => EniKind::Trunk,
        },
        primary: eni.is_primary(),
        excluded: is_excluded(&subnet.tags, None),
        subnet: eni.subnet.clone(),
        subnet_cidr,
        primary_ip,
        cidrs: eni.owned(),
        tags: eni.tags.clone(),
    })
}

/// What the ENI has for itself, in the node's family if it has that.
fn own(
    family: Family,
    ipv4: (IpAddr, Prefix),
    ipv6: Option<(Ipv6Addr, Prefix)>,
) -> (IpAddr, Prefix) {
    match (family, ipv6) {
        (Family::V6, Some((ip, block))) => (ip.into(), block),
        _ => ipv4,
    }
}

pub(super) fn imds_eni(eni: &ImdsEni, family: Family) -> Option<CloudEni> {
    let (primary_ip, secondary) = eni.local_ipv4s.split_first()?;
    let ipv6 = eni.ipv6s.first().copied().zip(eni.subnet_ipv6_cidr);
    let (primary_ip, subnet_cidr) = own(family, ((*primary_ip).into(), eni.subnet_cidr), ipv6);
    let hosts = secondary.iter().map(|ip| Prefix::host((*ip).into()));
    let card = eni.card.unwrap_or(0);
    Some(CloudEni {
        id: eni.id.clone(),
        mac: eni.mac,
        device: eni.device,
        card,
        kind: EniKind::Interface,
        primary: card == 0 && eni.device == 0,
        excluded: false,
        subnet: eni.subnet.clone(),
        subnet_cidr,
        primary_ip,
        cidrs: hosts.chain(eni.ipv4_prefixes.iter().chain(&eni.ipv6_prefixes).copied()).collect(),
        tags: BTreeMap::new(),
    })
}

pub(super) fn cloud_error(action: &str, error: &Ec2Error) -> CloudError {
    let kind = match error.code.as_ref() {
        code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED => CloudErrorKind::AddressLimit,
        code::ATTACHMENT_LIMIT_EXCEEDED => CloudErrorKind::AttachmentLimit,
        code::INVALID_INTERFACE_NOT_FOUND | code::INVALID_ATTACHMENT_NOT_FOUND => {
            CloudErrorKind::Gone
        }
        code::INCORRECT_STATE | code::INVALID_INTERFACE_IN_USE => CloudErrorKind::InUse,
        code::INSUFFICIENT_FREE_ADDRESSES => CloudErrorKind::InsufficientAddresses,
        code::INSUFFICIENT_CIDR_BLOCKS => CloudErrorKind::InsufficientPrefixes,
        code::UNAUTHORIZED_OPERATION => CloudErrorKind::PermissionDenied,
        code::NO_ANSWER => CloudErrorKind::Unreachable,
        code::REQUEST_LIMIT_EXCEEDED => CloudErrorKind::Throttled,
        _ => CloudErrorKind::Other,
    };
    CloudError::new(kind, action, error.to_string())
}
