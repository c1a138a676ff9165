//! The model against EC2's rules.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod addresses;
mod changes;
mod describe;
mod enis;
mod faults;
mod invariants;
mod metadata;
mod setup;

use super::*;
use crate::{
    id::{EniId, InstanceId, SubnetId},
    time::Time,
};

pub(super) fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// A VPC with one subnet and one instance.
pub(super) fn world(subnet: &str, type_name: &str) -> World {
    config(subnet, type_name).build().unwrap()
}

pub(super) fn config(subnet: &str, type_name: &str) -> WorldConfig {
    WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet(subnet.parse().unwrap())
        .instance(0, type_name)
}

pub(super) fn subnet(world: &World) -> SubnetId {
    world.subnets()[0].id.clone()
}

pub(super) fn instance(world: &World) -> InstanceId {
    world.instances()[0].id.clone()
}

pub(super) fn primary(world: &World) -> EniId {
    world.instances()[0].primary_eni.clone()
}

pub(super) fn create(world: &mut World, ipv4: Option<Ipv4Request>) -> Result<Eni, Ec2Error> {
    let mut request = CreateNetworkInterface::new(subnet(world));
    request.ipv4 = ipv4;
    world.create_network_interface(&request, world.now())
}

pub(super) fn attach(world: &mut World, eni: &EniId, device: u32) -> Result<String, Ec2Error> {
    let request =
        AttachNetworkInterface { eni: eni.clone(), instance: instance(world), device, card: 0 };
    world.attach_network_interface(&request, world.now())
}

pub(super) fn assign(world: &mut World, eni: &EniId, n: Ipv4Request) -> Result<Assigned, Ec2Error> {
    let request = AssignPrivateIpAddresses { eni: eni.clone(), ipv4: n };
    world.assign_private_ip_addresses(&request, world.now())
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, Ec2Error>, code: &str) -> String {
    match result {
        Err(e) if e.code == code => e.message,
        other => panic!("expected {code}, got {other:?}"),
    }
}

pub(super) fn detach(world: &mut World, attachment: &str) -> Result<(), Ec2Error> {
    let request = DetachNetworkInterface { attachment: attachment.to_owned(), force: false };
    world.detach_network_interface(&request, world.now())
}

pub(super) fn unassign(
    world: &mut World,
    eni: &EniId,
    addresses: &[std::net::Ipv4Addr],
    prefixes: &[crate::addr::Prefix],
) -> Result<(), Ec2Error> {
    let request = UnassignPrivateIpAddresses {
        eni: eni.clone(),
        addresses: addresses.to_vec(),
        prefixes: prefixes.to_vec(),
    };
    world.unassign_private_ip_addresses(&request, world.now())
}
