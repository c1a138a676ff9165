//! Regions, VPCs and security groups.

use vpc_ipam_core::testkit::ec2::Ec2Error;

use super::{
    call::{Call, malformed},
    paging::Paging,
    render,
};

impl Call<'_> {
    pub(super) fn describe_regions(&mut self) -> Result<(), Ec2Error> {
        let names = self.form.list("RegionName");
        self.parsed()?;
        let regions = self.world.describe_regions(&names, self.now)?;
        self.xml.items("regionInfo", regions, |x, region| {
            x.text("regionName", &region);
            x.text("regionEndpoint", format!("ec2.{region}.amazonaws.com"));
            x.text("optInStatus", "opt-in-not-required");
        });
        Ok(())
    }

    pub(super) fn describe_vpcs(&mut self) -> Result<(), Ec2Error> {
        let ids = self.form.ids("VpcId", malformed::VPC)?;
        let filters = self.form.filters()?;
        let paging = Paging::read(&mut self.form, 5..=1000)?;
        self.parsed()?;
        paging.not_with("vpcIds", &ids)?;
        let vpcs = self.world.describe_vpcs(&ids, &filters, self.now)?;
        let (page, next) = paging.page(vpcs, |vpc| vpc.id.to_string())?;
        let account = self.world.account();
        self.xml.items("vpcSet", &page, |x, vpc| render::vpc(x, account, vpc));
        self.next_token(next);
        Ok(())
    }

    pub(super) fn describe_security_groups(&mut self) -> Result<(), Ec2Error> {
        let ids = self.form.ids("GroupId", malformed::GROUP)?;
        let filters = self.form.filters()?;
        let paging = Paging::read(&mut self.form, 5..=1000)?;
        self.parsed()?;
        paging.not_with("groupIds", &ids)?;
        let groups = self.world.describe_security_groups(&ids, &filters, self.now)?;
        let (page, next) = paging.page(groups, |group| group.id.to_string())?;
        let account = self.world.account();
        self.xml.items("securityGroupInfo", &page, |x, g| render::security_group(x, account, g));
        self.next_token(next);
        Ok(())
    }
}
