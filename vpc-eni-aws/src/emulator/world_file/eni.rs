//! ENIs of a file.

use toml::Spanned;
use vpc_ipam_core::{
    id::{InstanceId, SubnetId},
    testkit::ec2::{
        ConnectionTracking, CreateNetworkInterface, InterfaceType, Ipv4Request, NewEni, Place,
    },
};

use super::{
    build::Builder,
    schema::{EniSpec, TrackingSpec},
};
use crate::emulator::{
    file::{FileError, FileProblem, Source},
    rfc3339,
};

/// Tag with the moment of creation, by which leaked ENIs are told from new ones.
const CREATED_AT_TAG: &str = "node.k8s.amazonaws.com/createdAt";

impl Builder<'_> {
    /// What the entry asks for, in that subnet.
    pub(super) fn eni(
        &self,
        spec: &Spanned<EniSpec>,
        subnet: SubnetId,
    ) -> Result<NewEni, FileError> {
        let (at, spec) = (spec.span(), spec.get_ref());
        let ipv4 = match (spec.addresses, spec.prefixes) {
            (Some(_), Some(_)) => {
                let why = "cannot stand beside prefixes; an ENI is made with one or the other";
                return Err(misplaced(self.source, &at, "addresses", why));
            }
            (Some(n), None) => Some(Ipv4Request::Secondary(n)),
            (None, prefixes) => prefixes.map(Ipv4Request::Prefixes),
        };
        let mut tags = spec.tags.clone();
        if let Some(age) = spec.created {
            let age = u64::try_from(age.0.as_millis()).unwrap_or(u64::MAX);
            let at = self.start.as_millis().saturating_sub(age);
            let at = vpc_ipam_core::time::Time::from_millis(at);
            tags.entry(CREATED_AT_TAG.to_owned()).or_insert_with(|| rfc3339::format(at));
        }
        let groups = spec.groups.as_deref().unwrap_or_default();
        let request = CreateNetworkInterface {
            description: spec.description.clone(),
            groups: self.group_ids(&subnet, "groups", groups)?,
            ipv4: ipv4.filter(|request| request.slots() > 0),
            ipv6_addresses: spec.ipv6_addresses.unwrap_or(0),
            tags,
            kind: spec.kind.map_or(InterfaceType::Interface, |kind| kind.0),
            connection_tracking: spec.connection_tracking.map(tracking),
            ..CreateNetworkInterface::new(subnet)
        };
        Ok(NewEni { id: spec.id.clone(), mac: spec.mac, request, place: None })
    }
}

pub(super) fn place(spec: &EniSpec, instance: &InstanceId) -> Place {
    Place {
        instance: instance.clone(),
        card: spec.card.unwrap_or(0),
        device: spec.device,
        delete_on_termination: spec.delete_on_termination.unwrap_or(true),
    }
}

/// A primary ENI is where its instance is.
pub(super) fn check_primary(source: &Source, spec: &Spanned<EniSpec>) -> Result<(), FileError> {
    let (at, spec) = (spec.span(), spec.get_ref());
    let why = "of a primary ENI follows from its instance; leave it out";
    for (key, given) in [
        ("subnet", spec.subnet.is_some()),
        ("card", spec.card.is_some()),
        ("device", spec.device.is_some()),
        ("kind", spec.kind.is_some()),
        ("delete_on_termination", spec.delete_on_termination.is_some()),
    ] {
        if given {
            return Err(misplaced(source, &at, key, why));
        }
    }
    Ok(())
}

/// An ENI that is attached nowhere needs a subnet and has no place.
pub(super) fn check_free<'a>(
    source: &Source,
    spec: &'a Spanned<EniSpec>,
) -> Result<&'a Spanned<String>, FileError> {
    let (at, spec) = (spec.span(), spec.get_ref());
    let why = "is for attached ENIs; list the ENI under its instance, as [[instances.enis]]";
    for (key, given) in [
        ("card", spec.card.is_some()),
        ("device", spec.device.is_some()),
        ("delete_on_termination", spec.delete_on_termination.is_some()),
    ] {
        if given {
            return Err(misplaced(source, &at, key, why));
        }
    }
    let why = "is missing; name the subnet that the ENI is in";
    spec.subnet.as_ref().ok_or_else(|| misplaced(source, &at, "subnet", why))
}

fn misplaced(
    source: &Source,
    at: &std::ops::Range<usize>,
    key: &'static str,
    why: &'static str,
) -> FileError {
    source.error(at, FileProblem::Misplaced { key, why })
}

fn tracking(spec: TrackingSpec) -> ConnectionTracking {
    ConnectionTracking {
        tcp_established_timeout: spec.tcp_established_timeout,
        udp_stream_timeout: spec.udp_stream_timeout,
        udp_timeout: spec.udp_timeout,
    }
}
