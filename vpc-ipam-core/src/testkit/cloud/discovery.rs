//! Which subnet a new ENI goes into, if nobody says so.

use crate::{
    id::SubnetId,
    subnet::admits_new_enis,
    testkit::ec2::{Ec2Error, Instance, World, code},
};

/// Of the subnets in the instance's zone that their tags admit, the one with most free addresses.
pub(super) fn subnet_for(world: &World, instance: &Instance) -> Result<SubnetId, Ec2Error> {
    let here = world.subnet(&instance.subnet);
    let usable = world.subnets().iter().filter(|subnet| {
        let near = here.is_some_and(|here| {
            (&here.vpc, &here.availability_zone) == (&subnet.vpc, &subnet.availability_zone)
        });
        near && admits_new_enis(&subnet.tags, subnet.id == instance.subnet, None)
    });
    let best = usable.rev().max_by_key(|subnet| subnet.available_ips());
    best.map(|subnet| subnet.id.clone()).ok_or_else(|| {
        let message = "no subnet of the instance's zone is tagged for pods";
        Ec2Error::new(code::INVALID_SUBNET_NOT_FOUND, message)
    })
}
