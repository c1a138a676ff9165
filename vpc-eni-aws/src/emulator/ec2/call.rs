//! One call: which action, and the small ones.

use vpc_ipam_core::{
    addr::Prefix,
    id::EniId,
    testkit::ec2::{
        AssignGivenAddresses, AssignIpv6Addresses, AssignPrivateIpAddresses, CreateTags, Ec2Action,
        Ec2Error, Ipv4Request, UnassignIpv6Addresses, UnassignPrivateIpAddresses, World, code,
    },
    time::Time,
};

use super::unsupported;
use crate::emulator::{form::Form, xml::Xml};

/// EC2's codes for ids that are no ids. The model only knows ids that parse.
pub(super) mod malformed {
    pub(crate) const ENI: &str = "InvalidNetworkInterfaceID.Malformed";
    pub(crate) const GROUP: &str = "InvalidGroupId.Malformed";
    pub(crate) const INSTANCE: &str = "InvalidInstanceID.Malformed";
    pub(crate) const SUBNET: &str = "InvalidSubnetID.Malformed";
    pub(crate) const VPC: &str = "InvalidVpcID.Malformed";
}

pub(super) struct Call<'a> {
    pub(super) action: Ec2Action,
    pub(super) form: Form,
    pub(super) world: &'a mut World,
    pub(super) now: Time,
    pub(super) dry_run: bool,
    pub(super) xml: Xml,
}

impl Call<'_> {
    pub(super) fn run(&mut self) -> Result<(), Ec2Error> {
        match self.action {
            Ec2Action::AssignIpv6Addresses => self.assign_ipv6(),
            Ec2Action::AssignPrivateIpAddresses => self.assign(),
            Ec2Action::AttachNetworkInterface => self.attach(),
            Ec2Action::CreateNetworkInterface => self.create(),
            Ec2Action::CreateTags => self.create_tags(),
            Ec2Action::DeleteNetworkInterface => self.delete(),
            Ec2Action::DescribeInstanceTypes => self.describe_instance_types(),
            Ec2Action::DescribeInstances => self.describe_instances(),
            Ec2Action::DescribeNetworkInterfaces => self.describe_interfaces(),
            Ec2Action::DescribeRegions => self.describe_regions(),
            Ec2Action::DescribeSecurityGroups => self.describe_security_groups(),
            Ec2Action::DescribeVpcs => self.describe_vpcs(),
            Ec2Action::DescribeSubnets => self.describe_subnets(),
            Ec2Action::DescribeTags => self.describe_tags(),
            Ec2Action::DetachNetworkInterface => self.detach(),
            Ec2Action::ModifyNetworkInterfaceAttribute => self.modify(),
            Ec2Action::UnassignIpv6Addresses => self.unassign_ipv6(),
            Ec2Action::UnassignPrivateIpAddresses => self.unassign(),
            // The model may learn actions before their XML is written.
            action => Err(Ec2Error::new(
                code::INVALID_ACTION,
                format!("The action {action} is not valid for this web service."),
            )),
        }
    }

    /// Nothing of the request is left over, and it is meant.
    pub(super) fn parsed(&self) -> Result<(), Ec2Error> {
        if let Some(left) =
            self.form.left().and_then(|name| unsupported::refusal(self.action, name))
        {
            return Err(left);
        }
        self.form.finish()?;
        if self.dry_run {
            return Err(Ec2Error::new(
                code::DRY_RUN_OPERATION,
                "Request would have succeeded, but DryRun flag is set.",
            ));
        }
        Ok(())
    }

    /// `<return>true</return>`, EC2's way to say that a call without result has worked.
    pub(super) fn done(&mut self) {
        self.xml.text("return", true);
    }

    /// At most one of the two counts.
    pub(super) fn ipv4_request(&mut self) -> Result<Option<Ipv4Request>, Ec2Error> {
        let secondary: Option<u32> = self.form.value("SecondaryPrivateIpAddressCount")?;
        let prefixes: Option<u32> = self.form.value("Ipv4PrefixCount")?;
        match (secondary, prefixes) {
            (None, None) => Ok(None),
            (Some(n), None) => Ok(Some(Ipv4Request::Secondary(n))),
            (None, Some(n)) => Ok(Some(Ipv4Request::Prefixes(n))),
            (Some(_), Some(_)) => Err(Ec2Error::invalid_combination(
                "The parameter secondaryPrivateIpAddressCount cannot be used with the parameter ipv4PrefixCount",
            )),
        }
    }

    fn assign(&mut self) -> Result<(), Ec2Error> {
        let eni: EniId = self.form.id("NetworkInterfaceId", malformed::ENI)?;
        let ipv4 = self.ipv4_request()?;
        let addresses: Vec<_> = self.form.values("PrivateIpAddress")?;
        let prefixes: Vec<_> = self.form.values("Ipv4Prefix")?;
        self.parsed()?;
        let given = !addresses.is_empty() || !prefixes.is_empty();
        let assigned = match ipv4 {
            Some(_) if given => {
                return Err(Ec2Error::invalid_combination(
                    "A list of addresses or prefixes cannot be used with a count",
                ));
            }
            Some(ipv4) => {
                let request = AssignPrivateIpAddresses { eni: eni.clone(), ipv4 };
                self.world.assign_private_ip_addresses(&request, self.now)?
            }
            None if given => {
                let request = AssignGivenAddresses { eni: eni.clone(), addresses, prefixes };
                self.world.assign_given_addresses(&request, self.now)?
            }
            None => {
                return Err(Ec2Error::missing_parameter(
                    "secondaryPrivateIpAddressCount or ipv4PrefixCount",
                ));
            }
        };
        self.xml.text("networkInterfaceId", &eni);
        self.xml.items("assignedPrivateIpAddressesSet", assigned.addresses, |x, ip| {
            x.text("privateIpAddress", ip);
        });
        self.xml.items("assignedIpv4PrefixSet", assigned.prefixes, |x, prefix| {
            x.text("ipv4Prefix", prefix);
        });
        self.done();
        Ok(())
    }

    fn unassign(&mut self) -> Result<(), Ec2Error> {
        let request = UnassignPrivateIpAddresses {
            eni: self.form.id("NetworkInterfaceId", malformed::ENI)?,
            addresses: self.form.values("PrivateIpAddress")?,
            prefixes: self.form.values("Ipv4Prefix")?,
        };
        self.parsed()?;
        self.world.unassign_private_ip_addresses(&request, self.now)?;
        self.done();
        Ok(())
    }

    fn assign_ipv6(&mut self) -> Result<(), Ec2Error> {
        let eni = self.form.id("NetworkInterfaceId", malformed::ENI)?;
        let prefixes = self.form.value("Ipv6PrefixCount")?;
        self.parsed()?;
        let prefixes = prefixes.ok_or_else(|| Ec2Error::missing_parameter("ipv6PrefixCount"))?;
        let request = AssignIpv6Addresses { eni, prefixes };
        let assigned = self.world.assign_ipv6_addresses(&request, self.now)?;
        self.xml.text("networkInterfaceId", &request.eni);
        self.prefix_texts("assignedIpv6PrefixSet", &assigned);
        Ok(())
    }

    fn unassign_ipv6(&mut self) -> Result<(), Ec2Error> {
        let request = UnassignIpv6Addresses {
            eni: self.form.id("NetworkInterfaceId", malformed::ENI)?,
            prefixes: self.form.values("Ipv6Prefix")?,
        };
        self.parsed()?;
        self.world.unassign_ipv6_addresses(&request, self.now)?;
        self.xml.text("networkInterfaceId", &request.eni);
        self.prefix_texts("unassignedIpv6PrefixSet", &request.prefixes);
        Ok(())
    }

    fn create_tags(&mut self) -> Result<(), Ec2Error> {
        let request =
            CreateTags { resources: self.form.list("ResourceId"), tags: self.form.tags()? };
        self.parsed()?;
        self.world.create_tags(&request, self.now)?;
        self.done();
        Ok(())
    }

    /// Here an item is the prefix itself, without an element around it.
    fn prefix_texts(&mut self, name: &str, prefixes: &[Prefix]) {
        self.xml.element(name, |x| prefixes.iter().for_each(|prefix| x.text("item", prefix)));
    }
}
