//! The subnets of the node's VPC and availability zone.
//!
//! One listing serves all questions: where a new ENI may go, and which ENIs are excluded for pods. It is
//! kept, so that several ENIs in a row, and the views of a quiet node, do not ask again.

mod listing;
mod places;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;

use std::time::Duration;

use vpc_ipam_core::{
    cloud::{AddressCount, CloudError},
    id::{EniId, SubnetId},
};

pub(crate) use self::listing::Subnets;
use crate::{
    api::{Ec2Api, Ec2Subnet, NewEni},
    backend::AwsBackend,
};

/// Age up to which a listing says where a new ENI goes. A burst of pods makes its ENIs within a minute;
/// other nodes take few addresses meanwhile, and a subnet that has run out says so itself.
const PLACES_AGE_MAX: Duration = Duration::from_secs(60);
/// Age up to which a listing says which ENIs are excluded: how late it is noticed that the tags of a
/// subnet have changed, where no new ENI is made meanwhile. Two calls an hour; the reference looks once,
/// when it sets up an ENI.
const TAGS_AGE_MAX: Duration = Duration::from_secs(30 * 60);

impl AwsBackend {
    /// Looks at the subnets' tags again if that is due. What is known stays known if EC2 does not say.
    pub(crate) async fn refresh_subnet_tags(&self) {
        if self.config.subnet_discovery
            && let Err(error) = self.subnets(TAGS_AGE_MAX).await
        {
            tracing::debug!(%error, "which subnets are excluded for pods is not known");
        }
    }

    /// True if an ENI in this subnet is excluded for pods, as far as is known. A subnet that EC2 does not
    /// list, as one of another account, is not.
    pub(crate) fn is_excluded(&self, subnet: &SubnetId) -> bool {
        let cluster = self.config.cluster_name.as_deref();
        self.config.subnet_discovery && self.memory().subnets.is_excluded(subnet, cluster)
    }

    /// The subnets, from a listing no older than `age_max` if EC2 gives one, else from the last one.
    ///
    /// # Errors
    ///
    /// If EC2 has never given one.
    async fn subnets(&self, age_max: Duration) -> Result<Vec<Ec2Subnet>, CloudError> {
        // One asks, the others use the answer.
        let _one_at_a_time = self.listing_subnets.lock().await;
        let known = self.memory().subnets.known(age_max);
        if let Some(known) = known {
            return known;
        }
        let me = self.identity().await?;
        let answer = self.api().await?.subnets(&me.vpc, &me.availability_zone).await;
        let mut memory = self.memory();
        match answer {
            Ok(listed) => memory.subnets.learn(listed),
            Err(error) => {
                tracing::warn!(%error, "the subnets cannot be looked up");
                memory.subnets.failed(error);
            }
        }
        memory.subnets.last()
    }

    /// Creates the ENI in the first of `places` that takes it; `new.subnet` is overwritten.
    pub(crate) async fn create_in_one_of(
        &self,
        api: &dyn Ec2Api,
        new: &mut NewEni,
        places: Vec<SubnetId>,
    ) -> Result<EniId, CloudError> {
        let mut refusals = places::Refusals::default();
        for subnet in places {
            new.subnet = subnet;
            match api.create(new).await {
                Ok(eni) => {
                    self.memory().subnets.gave(&new.subnet, new.count);
                    return Ok(eni);
                }
                Err(error) => {
                    if error.is_subnet_exhausted() {
                        self.memory().subnets.refused(&new.subnet, new.count);
                    }
                    let meets_all = places::meets_all(&error);
                    tracing::warn!(subnet = %new.subnet, %error, "no ENI in this subnet");
                    refusals.push(new.subnet.clone(), error);
                    if meets_all {
                        break;
                    }
                }
            }
        }
        Err(refusals.into_error())
    }
}

/// Addresses that an ENI born with `count` takes from its subnet, its own included.
fn addresses(count: AddressCount) -> u32 {
    match count {
        AddressCount::Ipv6Prefixes(_) => 1,
        AddressCount::Prefixes(n) => n.saturating_mul(16).saturating_add(1),
        AddressCount::Secondary(n) => n.saturating_add(1),
    }
}
