//! Reading calls.

use vpc_ipam_core::testkit::ec2::{
    DescribeNetworkInterfaces, DescribedInstance, Ec2Error, Filter, InstanceType,
};

use super::{
    call::{Call, malformed},
    paging::Paging,
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
        self.next_token(page.next_token);
        Ok(())
    }

    pub(super) fn describe_instances(&mut self) -> Result<(), Ec2Error> {
        let ids: Vec<_> = self.form.ids("InstanceId", malformed::INSTANCE)?;
        let filters = self.form.filters()?;
        let paging = Paging::read(&mut self.form, 5..=1000)?;
        self.parsed()?;
        paging.not_with("instancesSet", &ids)?;
        check_filters(&filters, INSTANCE_FILTERS)?;
        let mut instances = self.world.describe_instances(&ids, self.now)?;
        instances.retain(|found| filters.iter().all(|f| instance_passes(found, f)));
        let (page, next) = paging.page(instances, |found| found.instance.id.to_string())?;
        let world = &*self.world;
        self.xml.items("reservationSet", &page, |x, found| {
            // One reservation per instance, as if each had been started on its own.
            x.text("reservationId", found.instance.id.as_str().replacen("i-", "r-", 1));
            x.text("ownerId", world.account());
            x.items("instancesSet", [found], |x, found| render::instance(x, world, found));
        });
        self.next_token(next);
        Ok(())
    }

    pub(super) fn describe_instance_types(&mut self) -> Result<(), Ec2Error> {
        let names = self.form.list("InstanceType");
        let filters = self.form.filters()?;
        let paging = Paging::read(&mut self.form, 5..=100)?;
        self.parsed()?;
        paging.not_with("instanceTypes", &names)?;
        check_filters(&filters, TYPE_FILTERS)?;
        let mut types = self.world.describe_instance_types(&names, self.now)?;
        types.retain(|found| filters.iter().all(|f| type_passes(found, f)));
        let (page, next) = paging.page(types, |found| found.name.to_owned())?;
        self.xml.items("instanceTypeSet", page, render::instance_type);
        self.next_token(next);
        Ok(())
    }

    pub(super) fn describe_subnets(&mut self) -> Result<(), Ec2Error> {
        let ids = self.form.ids("SubnetId", malformed::SUBNET)?;
        let filters = self.form.filters()?;
        let paging = Paging::read(&mut self.form, 5..=1000)?;
        self.parsed()?;
        paging.not_with("subnetIds", &ids)?;
        let subnets = self.world.describe_subnets(&ids, &filters, self.now)?;
        let (page, next) = paging.page(subnets, |subnet| subnet.id.to_string())?;
        let account = self.world.account();
        self.xml.items("subnetSet", &page, |x, subnet| render::subnet(x, account, subnet));
        self.next_token(next);
        Ok(())
    }

    pub(super) fn describe_tags(&mut self) -> Result<(), Ec2Error> {
        let filters = self.form.filters()?;
        let paging = Paging::read(&mut self.form, 5..=1000)?;
        self.parsed()?;
        let tags = self.world.describe_tags(&filters, self.now)?;
        let (page, next) = paging.page(tags, |tag| format!("{}/{}", tag.resource, tag.key))?;
        self.xml.items("tagSet", &page, |x, tag| {
            x.text("resourceId", &tag.resource);
            x.text("resourceType", tag.kind);
            x.text("key", &tag.key);
            x.text("value", &tag.value);
        });
        self.next_token(next);
        Ok(())
    }

    pub(super) fn next_token(&mut self, token: Option<String>) {
        if let Some(token) = token {
            self.xml.text("nextToken", token);
        }
    }
}

/// Filters of `DescribeInstances` besides `tag:KEY`.
const INSTANCE_FILTERS: &[&str] = &[
    "availability-zone",
    "instance-id",
    "instance-state-name",
    "instance-type",
    "private-dns-name",
    "private-ip-address",
    "subnet-id",
    "tag-key",
    "vpc-id",
];
/// Filters of `DescribeInstanceTypes`.
const TYPE_FILTERS: &[&str] = &["bare-metal", "hypervisor", "instance-type"];

fn check_filters(filters: &[Filter], known: &[&str]) -> Result<(), Ec2Error> {
    let is_known = |f: &&Filter| {
        known.contains(&f.name.as_str())
            || (known.contains(&"tag-key") && f.name.starts_with("tag:"))
    };
    match filters.iter().find(|f| !is_known(f)) {
        None => Ok(()),
        Some(filter) => {
            let name: String = filter.name.chars().take(64).collect();
            Err(Ec2Error::invalid_value(format!("The filter '{name}' is invalid")))
        }
    }
}

fn instance_passes(found: &DescribedInstance, filter: &Filter) -> bool {
    let instance = &found.instance;
    let ip = found.enis.iter().find(|e| e.id == instance.primary_eni).and_then(|e| e.primary_ip);
    match filter.name.as_str() {
        "availability-zone" => filter.any([instance.availability_zone.as_str()]),
        "instance-id" => filter.any([instance.id.as_str()]),
        "instance-state-name" => filter.any(["running"]),
        "instance-type" => filter.any([instance.instance_type.name]),
        "private-dns-name" => {
            let region =
                instance.availability_zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
            ip.is_some_and(|ip| filter.any([render::dns_name(region, ip).as_str()]))
        }
        "private-ip-address" => ip.is_some_and(|ip| filter.any([ip.to_string().as_str()])),
        "subnet-id" => filter.any([instance.subnet.as_str()]),
        "tag-key" => filter.any(instance.tags.keys().map(String::as_str)),
        "vpc-id" => filter.any([instance.vpc.as_str()]),
        name => match name.strip_prefix("tag:") {
            Some(key) => filter.any(instance.tags.get(key).map(String::as_str)),
            None => false,
        },
    }
}

fn type_passes(found: &InstanceType, filter: &Filter) -> bool {
    match filter.name.as_str() {
        "bare-metal" => filter.any([found.bare_metal.to_string().as_str()]),
        "hypervisor" => !found.bare_metal && filter.any([found.hypervisor.as_str()]),
        "instance-type" => filter.any([found.name]),
        _ => false,
    }
}
