//! Whatever is posted, there is an answer, and it is XML.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use vpc_ipam_core::{testkit::ec2::WorldConfig, time::Time};

use super::*;
use crate::emulator::Emulator;

fn emulator() -> Emulator {
    let world = WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet("10.0.0.0/26".parse().unwrap())
        .instance(0, "t3.small")
        .build()
        .unwrap();
    Emulator::new(Arc::new(Mutex::new(world)), Arc::new(|| Time::ZERO))
}

fn answer_now(emulator: &Emulator, body: &[u8]) -> Result<String, Ec2Error> {
    let mut late = Duration::ZERO;
    answer(&emulator.shared, body, "id", &mut late)
}

/// Every `<x>` has its `</x>`, and no stray bracket is left.
fn is_well_formed(xml: &str) -> bool {
    let mut open = Vec::new();
    for part in xml.split_once("?>").unwrap().1.split('<').skip(1) {
        let Some((tag, text)) = part.split_once('>') else { return false };
        if text.contains('>') || text.chars().any(|c| c.is_control() && !"\n\t".contains(c)) {
            return false;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    open.is_empty()
}

fn parameter() -> impl Strategy<Value = (String, String)> {
    const NAMES: &[&str] = &[
        "Attachment.AttachmentId",
        "Attachment.DeleteOnTermination",
        "AttachmentId",
        "ClientToken",
        "Description",
        "DeviceIndex",
        "DryRun",
        "Filter.1.Name",
        "Filter.1.Value.1",
        "Filter.2.Value.x",
        "InstanceId",
        "InstanceId.1",
        "InstanceType.1",
        "Ipv4Prefix.1",
        "Ipv4PrefixCount",
        "Ipv6PrefixCount",
        "MaxResults",
        "NetworkInterfaceId",
        "NetworkInterfaceId.1",
        "NextToken",
        "PrivateIpAddress.1",
        "GroupId.1",
        "RegionName.1",
        "VpcId.1",
        "InterfaceType",
        "Filter.01.Name",
        "ConnectionTrackingSpecification.UdpTimeout",
        "PrivateIpAddresses.1.Primary",
        "ResourceId.1",
        "SecondaryPrivateIpAddressCount",
        "SubnetId",
        "Tag.1.Key",
        "Tag.1.Value",
        "Tag.4294967296.Key",
        "TagSpecification.1.ResourceType",
        "TagSpecification.1.Tag.1.Key",
    ];
    let values = prop_oneof![
        Just("ENI".to_owned()),
        Just("SUBNET".to_owned()),
        Just("INSTANCE".to_owned()),
        Just("network-interface".to_owned()),
        Just("tag:*".to_owned()),
        Just("4294967295".to_owned()),
        Just("2".to_owned()),
        any::<String>(),
    ];
    (prop::sample::select(NAMES).prop_map(str::to_owned), values)
}

proptest! {
    #[test]
    fn random_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let emulator = emulator();
        prop_assert!(answer_now(&emulator, &body).is_err());
    }

    #[test]
    fn random_parameters(
        action in prop::sample::select(Ec2Action::ALL),
        parameters in prop::collection::vec(parameter(), 0..6),
    ) {
        let emulator = emulator();
        let (eni, subnet, instance) = {
            let world = emulator.shared.world();
            let i = &world.instances()[0];
            (i.primary_eni.to_string(), i.subnet.to_string(), i.id.to_string())
        };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action.as_str()).append_pair("Version", API_VERSION);
        for (name, value) in &parameters {
            let value = match value.as_str() {
                "ENI" => &eni,
                "INSTANCE" => &instance,
                "SUBNET" => &subnet,
                other => other,
            };
            form.append_pair(name, value);
        }
        let body = form.finish();
        let xml = match answer_now(&emulator, body.as_bytes()) {
            Ok(xml) => xml,
            Err(error) => render_error(&error, "id"),
        };
        prop_assert!(is_well_formed(&xml), "{}", xml);
        // What an action has stored must be readable again.
        let body = format!("Action=DescribeTags&Version={API_VERSION}");
        let xml = answer_now(&emulator, body.as_bytes()).unwrap();
        prop_assert!(is_well_formed(&xml), "{}", xml);
    }
}
