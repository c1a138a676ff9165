//! Assigning addresses and prefixes of the caller's choice.

use std::net::IpAddr;

use super::{
    action::Ec2Action,
    eni::InterfaceType,
    error::{Ec2Error, code},
    request::{AssignGivenAddresses, Assigned},
    world::World,
};
use crate::{
    addr::{DELEGATED_V4_LEN, Prefix},
    time::Time,
};

impl World {
    /// `AssignPrivateIpAddresses` with a list. All of it, or nothing.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound`, `PrivateIpAddressLimitExceeded`, `InvalidIPAddress.InUse`
    /// for what is taken, `InvalidParameterValue` for what is not in the subnet, `MissingParameter` for
    /// an empty list.
    pub fn assign_given_addresses(
        &mut self,
        request: &AssignGivenAddresses,
        now: Time,
    ) -> Result<Assigned, Ec2Error> {
        let names = [request.eni.as_str()];
        let twist = self.before_call(Ec2Action::AssignPrivateIpAddresses, &names, now)?.whole()?;
        self.visible_eni(&request.eni)?;
        let assigned = self.assign_given(request);
        twist.answer(assigned)
    }

    fn assign_given(&mut self, request: &AssignGivenAddresses) -> Result<Assigned, Ec2Error> {
        let AssignGivenAddresses { eni, addresses, prefixes } = request;
        let found = self.known_eni(eni)?;
        if addresses.is_empty() && prefixes.is_empty() {
            return Err(Ec2Error::missing_parameter("privateIpAddress"));
        }
        if found.kind == InterfaceType::EfaOnly {
            return Err(Ec2Error::invalid_value(format!(
                "Network interface '{eni}' is efa-only and cannot have IP addresses"
            )));
        }
        if found.slots_used() + addresses.len() + prefixes.len() > self.slots_of(eni) {
            return Err(Ec2Error::address_limit());
        }
        if !prefixes.is_empty()
            && let Some(attachment) = &found.attachment
            && let Some(instance) = self.instance(&attachment.instance)
        {
            instance.check_prefixes()?;
        }
        let id = found.subnet.clone();
        let subnet = self.subnet_mut(&id).ok_or_else(|| Ec2Error::subnet_not_found(&id))?;
        let hosts = addresses.iter().map(|ip| Prefix::host(IpAddr::V4(*ip)));
        for block in hosts.chain(prefixes.iter().copied()) {
            let is_block = block.is_host() || block.len() == DELEGATED_V4_LEN;
            if !is_block || !subnet.cidr.covers(&block) {
                return Err(Ec2Error::invalid_value(format!(
                    "{block} is no address or /28 of the subnet {}",
                    subnet.cidr
                )));
            }
        }
        // On a copy: one that is taken leaves the others free.
        let mut space = subnet.space.clone();
        let taken = |what: String| {
            Ec2Error::new(code::INVALID_ADDRESS_IN_USE, format!("Address {what} is in use."))
        };
        for ip in addresses {
            space.take_given(*ip).then_some(()).ok_or_else(|| taken(ip.to_string()))?;
        }
        for prefix in prefixes {
            space
                .take_given_prefix(*prefix)
                .then_some(())
                .ok_or_else(|| taken(prefix.to_string()))?;
        }
        subnet.space = space;
        if let Some(eni) = self.enis.get_mut(eni) {
            eni.secondary_ips.extend(addresses);
            eni.prefixes.extend(prefixes);
        }
        self.addresses_changed(eni);
        Ok(Assigned { addresses: addresses.clone(), prefixes: prefixes.clone() })
    }
}
