//! Reading calls.

use super::{
    action::Ec2Action,
    catalog::{InstanceType, instance_type, instance_types},
    eni::Eni,
    error::{Ec2Error, code},
    filter::Filter,
    instance::Instance,
    network::Subnet,
    request::{DescribeNetworkInterfaces, Page},
    world::World,
};
use crate::{
    id::{EniId, InstanceId, SubnetId},
    time::Time,
};

/// Largest page of `DescribeNetworkInterfaces`, and the size where none is asked for.
pub const INTERFACES_PAGE_MAX: u32 = 1000;
/// Smallest page of `DescribeNetworkInterfaces`.
pub const INTERFACES_PAGE_MIN: u32 = 5;
/// Start of a paging token; the rest is the id that the page before ended with.
const TOKEN_PREFIX: &str = "after:";
/// Filters of `DescribeNetworkInterfaces` besides `tag:KEY`.
const INTERFACE_FILTERS: &[&str] = &[
    "addresses.primary",
    "addresses.private-ip-address",
    "attachment.attachment-id",
    "attachment.delete-on-termination",
    "attachment.device-index",
    "attachment.instance-id",
    "attachment.status",
    "availability-zone",
    "description",
    "group-id",
    "interface-type",
    "ipv6-addresses.ipv6-address",
    "mac-address",
    "network-interface-id",
    "private-ip-address",
    "status",
    "subnet-id",
    "tag-key",
    "vpc-id",
];
/// Filters of `DescribeSubnets` besides `tag:KEY`.
const SUBNET_FILTERS: &[&str] =
    &["availability-zone", "cidr-block", "state", "subnet-id", "tag-key", "vpc-id"];

/// An instance and its ENIs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DescribedInstance {
    /// The instance.
    pub instance: Instance,
    /// Its ENIs by card and device.
    pub enis: Vec<Eni>,
}

/// One tag of one resource.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DescribedTag {
    /// Id of the resource.
    pub resource: String,
    /// For example `network-interface`.
    pub kind: &'static str,
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

impl World {
    /// `DescribeNetworkInterfaces`, by id, in pages.
    ///
    /// # Errors
    ///
    /// `InvalidNetworkInterfaceID.NotFound` for the first id that does not exist,
    /// `InvalidParameterValue`, `InvalidParameterCombination`, `InvalidNextToken`.
    pub fn describe_network_interfaces(
        &mut self,
        request: &DescribeNetworkInterfaces,
        now: Time,
    ) -> Result<Page<Eni>, Ec2Error> {
        let everything =
            request.filters.is_empty() && request.ids.is_empty() && request.max_results.is_none();
        let names: Vec<&str> = request.ids.iter().map(EniId::as_str).collect();
        self.before_reading(Ec2Action::DescribeNetworkInterfaces, everything, &names, now)?;
        let seen = self.look(reader(request));
        for id in &request.ids {
            seen.eni(self, id).ok_or_else(|| Ec2Error::eni_not_found(id))?;
        }
        check_names(&request.filters, INTERFACE_FILTERS)?;
        let size = page_size(request)?;
        let after = request.next_token.as_deref().map(parse_token).transpose()?;
        let mut items = Vec::new();
        for eni in seen.enis(self) {
            if after.as_ref().is_some_and(|after| eni.id <= *after) {
                continue;
            }
            if !request.ids.is_empty() && !request.ids.contains(&eni.id) {
                continue;
            }
            if request.filters.iter().all(|f| passes(eni, f)) {
                items.push(eni.clone());
            }
        }
        let more = items.len() > size;
        items.truncate(size);
        let next_token =
            items.last().filter(|_| more).map(|last| format!("{TOKEN_PREFIX}{}", last.id));
        Ok(Page { items, next_token })
    }

    /// `DescribeInstances`; all of them if no id is given.
    ///
    /// # Errors
    ///
    /// `InvalidInstanceID.NotFound` for the first id that does not exist.
    pub fn describe_instances(
        &mut self,
        ids: &[InstanceId],
        now: Time,
    ) -> Result<Vec<DescribedInstance>, Ec2Error> {
        let names: Vec<&str> = ids.iter().map(InstanceId::as_str).collect();
        self.before_reading(Ec2Action::DescribeInstances, ids.is_empty(), &names, now)?;
        if let Some(id) = ids.iter().find(|id| self.instance(id).is_none()) {
            return Err(Ec2Error::instance_not_found(id));
        }
        let wanted = self.instances().iter().filter(|i| ids.is_empty() || ids.contains(&i.id));
        Ok(wanted
            .map(|i| DescribedInstance {
                instance: i.clone(),
                enis: self.enis_of(&i.id).into_iter().cloned().collect(),
            })
            .collect())
    }

    /// `DescribeInstanceTypes`; all of them if no name is given.
    ///
    /// # Errors
    ///
    /// `InvalidInstanceType` for the first name that the table does not have.
    pub fn describe_instance_types(
        &mut self,
        names: &[String],
        now: Time,
    ) -> Result<Vec<&'static InstanceType>, Ec2Error> {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        self.before_reading(Ec2Action::DescribeInstanceTypes, names.is_empty(), &wanted, now)?;
        if names.is_empty() {
            return Ok(instance_types().iter().collect());
        }
        names
            .iter()
            .map(|name| {
                instance_type(name).ok_or_else(|| {
                    let name: String = name.chars().take(64).collect();
                    Ec2Error::new(
                        code::INVALID_INSTANCE_TYPE,
                        format!("The following supplied instance types do not exist: [{name}]"),
                    )
                })
            })
            .collect()
    }

    /// `DescribeSubnets`.
    ///
    /// # Errors
    ///
    /// `InvalidSubnetID.NotFound` for the first id that does not exist, `InvalidParameterValue` for
    /// an unknown filter.
    pub fn describe_subnets(
        &mut self,
        ids: &[SubnetId],
        filters: &[Filter],
        now: Time,
    ) -> Result<Vec<Subnet>, Ec2Error> {
        let everything = ids.is_empty() && filters.is_empty();
        let names: Vec<&str> = ids.iter().map(SubnetId::as_str).collect();
        self.before_reading(Ec2Action::DescribeSubnets, everything, &names, now)?;
        if let Some(id) = ids.iter().find(|id| self.subnet(id).is_none()) {
            return Err(Ec2Error::subnet_not_found(id));
        }
        check_names(filters, SUBNET_FILTERS)?;
        let wanted = self.subnets().iter().filter(|s| ids.is_empty() || ids.contains(&s.id));
        Ok(wanted.filter(|s| filters.iter().all(|f| subnet_passes(s, f))).cloned().collect())
    }
}

/// Who asks, as far as the call tells.
fn reader(request: &DescribeNetworkInterfaces) -> &str {
    let instance = request.filters.iter().find(|f| f.name == "attachment.instance-id");
    instance.and_then(|f| f.values.first()).map_or("", String::as_str)
}

fn page_size(request: &DescribeNetworkInterfaces) -> Result<usize, Ec2Error> {
    let Some(size) = request.max_results else { return Ok(INTERFACES_PAGE_MAX as usize) };
    if !request.ids.is_empty() {
        return Err(Ec2Error::invalid_combination(
            "The parameter NetworkInterfaceIds cannot be used with the parameter MaxResults",
        ));
    }
    if !(INTERFACES_PAGE_MIN..=INTERFACES_PAGE_MAX).contains(&size) {
        return Err(Ec2Error::invalid_value(format!(
            "Value ( {size} ) for parameter maxResults is invalid. Expecting a value from {INTERFACES_PAGE_MIN} to {INTERFACES_PAGE_MAX}."
        )));
    }
    Ok(size as usize)
}

fn parse_token(token: &str) -> Result<EniId, Ec2Error> {
    token.strip_prefix(TOKEN_PREFIX).and_then(|id| EniId::new(id).ok()).ok_or_else(|| {
        Ec2Error::new(code::INVALID_NEXT_TOKEN, "The specified NextToken is not valid.")
    })
}

/// An unknown filter is an error even where nothing is there to be filtered.
pub(super) fn check_names(filters: &[Filter], known: &[&str]) -> Result<(), Ec2Error> {
    match filters.iter().find(|f| !f.name.starts_with("tag:") && !known.contains(&f.name.as_str()))
    {
        Some(filter) => {
            let name: String = filter.name.chars().take(64).collect();
            Err(Ec2Error::invalid_value(format!("The filter '{name}' is invalid")))
        }
        None => Ok(()),
    }
}

fn passes(eni: &Eni, filter: &Filter) -> bool {
    let attachment = eni.attachment.as_ref();
    match filter.name.as_str() {
        "addresses.private-ip-address" => {
            let ips = eni.primary_ip.iter().chain(&eni.secondary_ips).map(ToString::to_string);
            ips.into_iter().any(|ip| filter.any([ip.as_str()]))
        }
        "addresses.primary" => {
            let secondary = (!eni.secondary_ips.is_empty()).then_some("false");
            filter.any(eni.primary_ip.map(|_| "true").into_iter().chain(secondary))
        }
        "attachment.delete-on-termination" => {
            attachment.is_some_and(|a| filter.any([a.delete_on_termination.to_string().as_str()]))
        }
        "ipv6-addresses.ipv6-address" => {
            eni.ipv6_addresses.iter().any(|ip| filter.any([ip.to_string().as_str()]))
        }
        "attachment.attachment-id" => filter.any(attachment.map(|a| a.id.as_str())),
        "attachment.device-index" => {
            attachment.is_some_and(|a| filter.any([a.device.to_string().as_str()]))
        }
        "attachment.instance-id" => filter.any(attachment.map(|a| a.instance.as_str())),
        "attachment.status" => filter.any(attachment.map(|a| a.status.as_str())),
        "availability-zone" => filter.any([eni.availability_zone.as_str()]),
        "description" => filter.any([eni.description.as_str()]),
        "group-id" => filter.any(eni.groups.iter().map(|g| g.as_str())),
        "interface-type" => filter.any([eni.kind.as_str()]),
        "mac-address" => filter.any([eni.mac.to_string().as_str()]),
        "network-interface-id" => filter.any([eni.id.as_str()]),
        "private-ip-address" => {
            eni.primary_ip.is_some_and(|ip| filter.any([ip.to_string().as_str()]))
        }
        "status" => filter.any([eni.status().as_str()]),
        "subnet-id" => filter.any([eni.subnet.as_str()]),
        "tag-key" => filter.any(eni.tags.keys().map(String::as_str)),
        "vpc-id" => filter.any([eni.vpc.as_str()]),
        name => match name.strip_prefix("tag:") {
            Some(key) => filter.any(eni.tags.get(key).map(String::as_str)),
            None => false,
        },
    }
}

fn subnet_passes(subnet: &Subnet, filter: &Filter) -> bool {
    match filter.name.as_str() {
        "availability-zone" => filter.any([subnet.availability_zone.as_str()]),
        "cidr-block" => filter.any([subnet.cidr.to_string().as_str()]),
        "state" => filter.any(["available"]),
        "subnet-id" => filter.any([subnet.id.as_str()]),
        "tag-key" => filter.any(subnet.tags.keys().map(String::as_str)),
        "vpc-id" => filter.any([subnet.vpc.as_str()]),
        name => match name.strip_prefix("tag:") {
            Some(key) => filter.any(subnet.tags.get(key).map(String::as_str)),
            None => false,
        },
    }
}
