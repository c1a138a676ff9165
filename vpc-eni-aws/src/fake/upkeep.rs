//! Tags, security groups, and ENIs that are attached to nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use vpc_ipam_core::{
    cloud::CloudError,
    id::{EniId, SecurityGroupId},
};

use super::{Fake, find};
use crate::{
    api::{TagCalls, UnattachedPage, UpkeepCalls},
    upkeep::{Scope, Unattached},
};

/// ENIs on one page.
pub(crate) const PAGE_LEN: usize = 1000;

#[async_trait]
impl UpkeepCalls for Fake {
    async fn unattached(
        &self,
        _: &Scope,
        token: Option<String>,
    ) -> Result<UnattachedPage, CloudError> {
        self.call("unattached", |state| {
            let skip = token.map_or(0, |token| token.parse().unwrap());
            let enis: Vec<Unattached> =
                state.leaked.values().skip(skip).take(PAGE_LEN).cloned().collect();
            let end = skip + enis.len();
            Ok(UnattachedPage { enis, next: (end < state.leaked.len()).then(|| end.to_string()) })
        })
    }

    async fn set_groups(
        &self,
        eni: &EniId,
        groups: &[SecurityGroupId],
    ) -> Result<bool, CloudError> {
        self.call("set_groups", |state| {
            let Ok(eni) = find(state, eni) else { return Ok(false) };
            eni.groups = groups.to_vec();
            Ok(true)
        })
    }
}

#[async_trait]
impl TagCalls for Fake {
    async fn create_tags(
        &self,
        eni: &EniId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        self.call("create_tags", |state| {
            let had = match state.leaked.get_mut(eni) {
                Some(leaked) => &mut leaked.tags,
                None => &mut find(state, eni)?.tags,
            };
            had.extend(tags.clone());
            state.written.push(tags.clone());
            Ok(())
        })
    }
}
