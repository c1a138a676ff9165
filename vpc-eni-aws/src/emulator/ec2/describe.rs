//! Reading calls.

use vpc_ipam_core::testkit::ec2::{DescribeNetworkInterfaces, Ec2Error};

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
        self.parsed()?;
        let subnets = self.world.describe_subnets(&ids, &filters, self.now)?;
        let account = self.world.account();
        self.xml.items("subnetSet", &subnets, |x, subnet| render::subnet(x, account, subnet));
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
