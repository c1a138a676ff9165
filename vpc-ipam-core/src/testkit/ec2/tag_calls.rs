//! `CreateTags` and `DescribeTags`.

use std::collections::BTreeMap;

use super::{
    action::Ec2Action,
    describe_calls::{DescribedTag, check_names},
    error::{Ec2Error, code},
    filter::Filter,
    request::CreateTags,
    world::World,
};
use crate::{
    id::{EniId, InstanceId, SubnetId},
    time::Time,
};

/// Tags per resource, EC2's limit.
const TAGS_MAX: usize = 50;
/// Characters of a tag key, EC2's limit.
const KEY_LEN_MAX: usize = 128;
/// Characters of a tag value, EC2's limit.
const VALUE_LEN_MAX: usize = 256;

/// Filters of `DescribeTags` besides `tag:KEY`.
const TAG_FILTERS: &[&str] = &["key", "resource-id", "resource-type", "value"];

type Tags = BTreeMap<String, String>;

impl World {
    /// `CreateTags` on ENIs, subnets and instances. All or nothing.
    ///
    /// # Errors
    ///
    /// The `…NotFound` of the resource's kind, `InvalidID` for other kinds, `MissingParameter`,
    /// `TagLimitExceeded`, `InvalidParameterValue` for tags that EC2 forbids.
    pub fn create_tags(&mut self, request: &CreateTags, now: Time) -> Result<(), Ec2Error> {
        let names: Vec<&str> = request.resources.iter().map(String::as_str).collect();
        let twist = self.before_call(Ec2Action::CreateTags, &names, now)?.whole()?;
        for resource in &request.resources {
            if let Ok(id) = EniId::new(resource) {
                self.visible_eni(&id)?;
            }
        }
        let tagged = self.tag(request);
        twist.answer(tagged)
    }

    pub(super) fn tag(&mut self, request: &CreateTags) -> Result<(), Ec2Error> {
        if request.resources.is_empty() {
            return Err(Ec2Error::missing_parameter("resourceIdSet"));
        }
        if request.tags.is_empty() {
            return Err(Ec2Error::missing_parameter("tagSet"));
        }
        check_tags(&request.tags)?;
        for resource in &request.resources {
            let mut tags = self.tags_mut(resource)?.clone();
            tags.extend(request.tags.clone());
            check_tags(&tags)?;
        }
        for resource in &request.resources {
            self.tags_mut(resource)?.extend(request.tags.clone());
            if let Ok(id) = EniId::new(resource) {
                self.touch(&id);
            }
        }
        Ok(())
    }

    pub(super) fn untag(&mut self, resource: &str, keys: &[String]) -> Result<(), Ec2Error> {
        self.tags_mut(resource)?.retain(|key, _| !keys.contains(key));
        if let Ok(id) = EniId::new(resource) {
            self.touch(&id);
        }
        Ok(())
    }

    /// `DescribeTags`, by resource and key.
    ///
    /// # Errors
    ///
    /// `InvalidParameterValue` for an unknown filter.
    pub fn describe_tags(
        &mut self,
        filters: &[Filter],
        now: Time,
    ) -> Result<Vec<DescribedTag>, Ec2Error> {
        self.before_reading(Ec2Action::DescribeTags, filters.is_empty(), &[], now)?;
        check_names(filters, TAG_FILTERS)?;
        let all = self.tagged().flat_map(|(kind, id, tags)| {
            tags.iter().map(move |(key, value)| DescribedTag {
                resource: id.to_owned(),
                kind,
                key: key.clone(),
                value: value.clone(),
            })
        });
        Ok(all.filter(|tag| filters.iter().all(|f| passes(tag, f))).collect())
    }

    fn tagged(&self) -> impl Iterator<Item = (&'static str, &str, &Tags)> {
        let subnets = self.subnets().iter().map(|s| ("subnet", s.id.as_str(), &s.tags));
        let instances = self.instances().iter().map(|i| ("instance", i.id.as_str(), &i.tags));
        let enis = self.enis().map(|e| ("network-interface", e.id.as_str(), &e.tags));
        subnets.chain(instances).chain(enis)
    }

    fn tags_mut(&mut self, resource: &str) -> Result<&mut Tags, Ec2Error> {
        if let Ok(id) = EniId::new(resource) {
            let eni = self.enis.get_mut(&id);
            return eni.map(|e| &mut e.tags).ok_or_else(|| Ec2Error::eni_not_found(&id));
        }
        if let Ok(id) = SubnetId::new(resource) {
            let subnet = self.subnet_mut(&id);
            return subnet.map(|s| &mut s.tags).ok_or_else(|| Ec2Error::subnet_not_found(&id));
        }
        if let Ok(id) = InstanceId::new(resource) {
            let instance = self.instance_mut(&id);
            return instance.map(|i| &mut i.tags).ok_or_else(|| Ec2Error::instance_not_found(&id));
        }
        let resource: String = resource.chars().take(64).collect();
        Err(Ec2Error::new(code::INVALID_ID, format!("The ID '{resource}' is not valid")))
    }
}

fn passes(tag: &DescribedTag, filter: &Filter) -> bool {
    match filter.name.as_str() {
        "key" => filter.any([tag.key.as_str()]),
        "resource-id" => filter.any([tag.resource.as_str()]),
        "resource-type" => filter.any([tag.kind]),
        "value" => filter.any([tag.value.as_str()]),
        // `tag:KEY`
        name => name.strip_prefix("tag:") == Some(&tag.key) && filter.any([tag.value.as_str()]),
    }
}

pub(super) fn check_tags(tags: &Tags) -> Result<(), Ec2Error> {
    if tags.len() > TAGS_MAX {
        return Err(Ec2Error::new(
            code::TAG_LIMIT_EXCEEDED,
            format!("A resource can have {TAGS_MAX} tags at most"),
        ));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > KEY_LEN_MAX {
            return Err(Ec2Error::invalid_value(format!(
                "Tag keys have 1 to {KEY_LEN_MAX} characters"
            )));
        }
        if value.chars().count() > VALUE_LEN_MAX {
            return Err(Ec2Error::invalid_value(format!(
                "The value of tag '{key}' exceeds {VALUE_LEN_MAX} characters"
            )));
        }
        if key.starts_with("aws:") {
            return Err(Ec2Error::invalid_value(
                "Tag keys starting with 'aws:' are reserved for internal use",
            ));
        }
    }
    Ok(())
}
