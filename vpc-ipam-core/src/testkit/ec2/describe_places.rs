//! Reading regions, VPCs and security groups.

use super::{
    action::Ec2Action,
    describe_calls::check_names,
    error::{Ec2Error, code},
    filter::Filter,
    network::{SecurityGroup, Vpc},
    world::World,
};
use crate::{
    id::{SecurityGroupId, VpcId},
    time::Time,
};

/// Filters of `DescribeVpcs`.
const VPC_FILTERS: &[&str] = &["cidr", "cidr-block-association.cidr-block", "state", "vpc-id"];
/// Filters of `DescribeSecurityGroups`.
const GROUP_FILTERS: &[&str] = &["group-id", "group-name", "vpc-id"];

impl World {
    /// `DescribeRegions`: the one that there is, if it is among `names` or none is given.
    ///
    /// # Errors
    ///
    /// `InvalidParameterValue` for the first name of another region.
    pub fn describe_regions(
        &mut self,
        names: &[String],
        now: Time,
    ) -> Result<Vec<String>, Ec2Error> {
        self.before_reading(Ec2Action::DescribeRegions, names.is_empty(), &[], now)?;
        if let Some(name) = names.iter().find(|name| *name != self.region()) {
            let name: String = name.chars().take(64).collect();
            return Err(Ec2Error::invalid_value(format!("Invalid region provided: [{name}]")));
        }
        Ok(vec![self.region().to_owned()])
    }

    /// `DescribeVpcs`.
    ///
    /// # Errors
    ///
    /// `InvalidVpcID.NotFound` for the first id that does not exist, `InvalidParameterValue` for an
    /// unknown filter.
    pub fn describe_vpcs(
        &mut self,
        ids: &[VpcId],
        filters: &[Filter],
        now: Time,
    ) -> Result<Vec<Vpc>, Ec2Error> {
        let names: Vec<&str> = ids.iter().map(VpcId::as_str).collect();
        let everything = ids.is_empty() && filters.is_empty();
        self.before_reading(Ec2Action::DescribeVpcs, everything, &names, now)?;
        if let Some(id) = ids.iter().find(|id| self.vpc(id).is_none()) {
            return Err(Ec2Error::new(
                code::INVALID_VPC_NOT_FOUND,
                format!("The vpc ID '{id}' does not exist"),
            ));
        }
        check_names(filters, VPC_FILTERS)?;
        let wanted = self.vpcs.iter().filter(|v| ids.is_empty() || ids.contains(&v.id));
        Ok(wanted.filter(|v| filters.iter().all(|f| vpc_passes(v, f))).cloned().collect())
    }

    /// `DescribeSecurityGroups`.
    ///
    /// # Errors
    ///
    /// `InvalidGroup.NotFound` for the first id that does not exist, `InvalidParameterValue` for an
    /// unknown filter.
    pub fn describe_security_groups(
        &mut self,
        ids: &[SecurityGroupId],
        filters: &[Filter],
        now: Time,
    ) -> Result<Vec<SecurityGroup>, Ec2Error> {
        let names: Vec<&str> = ids.iter().map(SecurityGroupId::as_str).collect();
        let everything = ids.is_empty() && filters.is_empty();
        self.before_reading(Ec2Action::DescribeSecurityGroups, everything, &names, now)?;
        if let Some(id) = ids.iter().find(|id| self.security_group(id).is_none()) {
            return Err(Ec2Error::group_not_found(id));
        }
        check_names(filters, GROUP_FILTERS)?;
        let wanted = self.security_groups().iter();
        let wanted = wanted.filter(|g| ids.is_empty() || ids.contains(&g.id));
        Ok(wanted.filter(|g| filters.iter().all(|f| group_passes(g, f))).cloned().collect())
    }
}

fn vpc_passes(vpc: &Vpc, filter: &Filter) -> bool {
    let cidr = |c: &crate::addr::Prefix| filter.any([c.to_string().as_str()]);
    match filter.name.as_str() {
        "cidr" => vpc.cidrs.first().is_some_and(cidr),
        "cidr-block-association.cidr-block" => vpc.cidrs.iter().any(cidr),
        "state" => filter.any(["available"]),
        "vpc-id" => filter.any([vpc.id.as_str()]),
        // VPCs have no tags here.
        _ => false,
    }
}

fn group_passes(group: &SecurityGroup, filter: &Filter) -> bool {
    match filter.name.as_str() {
        "group-id" => filter.any([group.id.as_str()]),
        "group-name" => filter.any([group.name.as_str()]),
        "vpc-id" => filter.any([group.vpc.as_str()]),
        _ => false,
    }
}
