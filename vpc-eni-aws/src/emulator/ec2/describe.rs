//! Reading calls.

use vpc_ipam_core::{
    id::SubnetId,
    testkit::ec2::{DescribeNetworkInterfaces, Ec2Error, Subnet, code},
};

use super::{
    call::{Call, malformed},
    render,
};

impl Call<'_> {
    pub(super) fn describe_interfaces(&mut self) -> Result<(), Ec2Error> {
        let request = DescribeNetworkInterfaces {
            ids: self.form.ids("NetworkInterfaceId", malformed::ENI)?,
            filters: self.form.filters()?,
            max_results: self.form.value("MaxResults")?,
            next_token: self.form.text("NextToken"),
        };
        self.parsed()?;
        let page = self.world.describe_network_interfaces(&request, self.now)?;
        let world = &*self.world;
        self.xml.items("networkInterfaceSet", &page.items, |x, eni| render::eni(x, world, eni));
        if let Some(token) = page.next_token {
            self.xml.text("nextToken", token);
        }
        Ok(())
    }

    pub(super) fn describe_instances(&mut self) -> Result<(), Ec2Error> {
        let ids = self.form.ids("InstanceId", malformed::INSTANCE)?;
        self.parsed()?;
        let instances = self.world.describe_instances(&ids, self.now)?;
        let world = &*self.world;
        self.xml.items("reservationSet", &instances, |x, found| {
            // One reservation per instance, as if each had been started on its own.
            x.text("reservationId", found.instance.id.as_str().replacen("i-", "r-", 1));
            x.text("ownerId", world.account());
            x.items("instancesSet", [found], |x, found| render::instance(x, world, found));
        });
        Ok(())
    }

    pub(super) fn describe_instance_types(&mut self) -> Result<(), Ec2Error> {
        let names = self.form.list("InstanceType");
        self.parsed()?;
        let types = self.world.describe_instance_types(&names, self.now)?;
        self.xml.items("instanceTypeSet", types, render::instance_type);
        Ok(())
    }

    pub(super) fn describe_subnets(&mut self) -> Result<(), Ec2Error> {
        let ids = self.form.ids("SubnetId", malformed::SUBNET)?;
        let filters = self.form.filters()?;
        let size = self.form.value("MaxResults")?;
        let token = self.form.text("NextToken");
        self.parsed()?;
        let subnets = self.world.describe_subnets(&ids, &filters, self.now)?;
        let (page, next) = subnets_page(subnets, size, token)?;
        let account = self.world.account();
        self.xml.items("subnetSet", &page, |x, subnet| render::subnet(x, account, subnet));
        if let Some(next) = next {
            self.xml.text("nextToken", next);
        }
        Ok(())
    }

    pub(super) fn describe_tags(&mut self) -> Result<(), Ec2Error> {
        let filters = self.form.filters()?;
        self.parsed()?;
        let tags = self.world.describe_tags(&filters, self.now)?;
        self.xml.items("tagSet", &tags, |x, tag| {
            x.text("resourceId", &tag.resource);
            x.text("resourceType", tag.kind);
            x.text("key", &tag.key);
            x.text("value", &tag.value);
        });
        Ok(())
    }
}

/// Page sizes of `DescribeSubnets` that EC2 takes.
const SUBNETS_PAGE: std::ops::RangeInclusive<usize> = 5..=1000;

/// A page of subnets by id, and where the next one begins: a token is the id that a page ended with.
fn subnets_page(
    mut subnets: Vec<Subnet>,
    size: Option<usize>,
    token: Option<String>,
) -> Result<(Vec<Subnet>, Option<SubnetId>), Ec2Error> {
    let size = size.unwrap_or(*SUBNETS_PAGE.end());
    if !SUBNETS_PAGE.contains(&size) {
        return Err(Ec2Error::invalid_value(format!(
            "Value ( {size} ) for parameter maxResults is invalid. Expecting a value from 5 to 1000."
        )));
    }
    if let Some(token) = token {
        let after = SubnetId::new(&token).map_err(|_| {
            Ec2Error::new(code::INVALID_NEXT_TOKEN, "The specified NextToken is not valid.")
        })?;
        subnets.retain(|subnet| subnet.id > after);
    }
    subnets.sort_by(|a, b| a.id.cmp(&b.id));
    let more = subnets.len() > size;
    subnets.truncate(size);
    let next = subnets.last().filter(|_| more).map(|last| last.id.clone());
    Ok((subnets, next))
}
