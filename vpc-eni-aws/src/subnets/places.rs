//! Which subnets a new ENI may be made in, and in which order they are tried.

use vpc_ipam_core::{
    cloud::{AddressCount, CloudError, CloudErrorKind, CreateEni},
    config::Family,
    id::SubnetId,
    subnet::{CLUSTER_TAG_PREFIX, ROLE_TAG, admits_new_enis, is_excluded},
};

use super::PLACES_AGE_MAX;
use crate::{api::Ec2Subnet, backend::AwsBackend, instance::Identity};

const ACTION: &str = "CreateNetworkInterface";

/// Subnets tried for one ENI. Each is a call at the account's rate, and they are tried by what they have
/// free: where the sixteen emptiest refuse, the others hardly have more.
const PLACES_MAX: usize = 16;

impl AwsBackend {
    /// Where the ENI may be made, best first; at least one.
    ///
    /// # Errors
    ///
    /// If the tags of the subnets admit none.
    pub(crate) async fn places(
        &self,
        me: &Identity,
        request: &CreateEni,
    ) -> Result<Vec<SubnetId>, CloudError> {
        // Custom networking: it is for whoever asks to say where pods belong.
        if let Some(subnet) = &request.subnet {
            return Ok(vec![subnet.clone()]);
        }
        match self.subnets(PLACES_AGE_MAX).await {
            Ok(listed) if self.config.subnet_discovery => {
                self.discovered(me, listed, request.count)
            }
            Ok(listed) => self.own_subnet(me, &listed),
            // It passes, and until then nobody knows whether the node's own subnet is excluded.
            Err(error) if meets_all(&error) => Err(error),
            // Without the permission to list subnets, nodes have to run all the same.
            Err(error) => {
                tracing::warn!(%error, subnet = %me.subnet, "making the ENI in the node's own subnet");
                Ok(vec![me.subnet.clone()])
            }
        }
    }

    fn discovered(
        &self,
        me: &Identity,
        mut listed: Vec<Ec2Subnet>,
        count: AddressCount,
    ) -> Result<Vec<SubnetId>, CloudError> {
        let cluster = self.config.cluster_name.as_deref();
        let family = self.config.family;
        let total = listed.len();
        listed.retain(|subnet| {
            let has_family = family == Family::V6 || subnet.block.is_some();
            has_family && admits_new_enis(&subnet.tags, subnet.id == me.subnet, cluster)
        });
        if listed.is_empty() {
            return Err(none_valid(me, total, cluster));
        }
        let memory = self.memory();
        // Stable: of equals, the first that EC2 lists. One that has refused lately comes last.
        listed.sort_by_key(|subnet| {
            let refused = memory.subnets.has_refused(&subnet.id, count);
            (refused, std::cmp::Reverse(subnet.free))
        });
        // Where some have addresses, those that have none need not be asked.
        let some_free = listed.iter().any(|subnet| subnet.free > 0);
        listed.retain(|subnet| subnet.free > 0 || !some_free);
        listed.truncate(if some_free { PLACES_MAX } else { 1 });
        Ok(listed.into_iter().map(|subnet| subnet.id).collect())
    }

    /// Without discovery: that of the primary ENI, unless it is excluded.
    fn own_subnet(&self, me: &Identity, listed: &[Ec2Subnet]) -> Result<Vec<SubnetId>, CloudError> {
        let own = listed.iter().find(|subnet| subnet.id == me.subnet);
        let cluster = self.config.cluster_name.as_deref();
        if own.is_some_and(|own| is_excluded(&own.tags, cluster)) {
            return Err(CloudError::new(
                CloudErrorKind::Other,
                ACTION,
                format!(
                    "no valid subnets available for ENI creation: {}, the node's own, is excluded for \
                     pods by its tags; correct {ROLE_TAG} or {CLUSTER_TAG_PREFIX}… of it, or set \
                     ENABLE_SUBNET_DISCOVERY=true and tag another one",
                    me.subnet
                ),
            ));
        }
        Ok(vec![me.subnet.clone()])
    }
}

fn none_valid(me: &Identity, total: usize, cluster: Option<&str>) -> CloudError {
    let cluster = cluster.map_or_else(String::new, |name| {
        format!(", and with {CLUSTER_TAG_PREFIX}{name} where subnets are reserved for clusters")
    });
    CloudError::new(
        CloudErrorKind::Other,
        ACTION,
        format!(
            "no valid subnets available for ENI creation: the tags of none of the {total} subnet(s) of \
             {} in {} admit pods, and {}, the node's own, is excluded or not listed; tag a subnet \
             there with {ROLE_TAG}=1{cluster}",
            me.vpc, me.availability_zone, me.subnet
        ),
    )
}

/// True where another subnet would meet the same: EC2 as a whole refuses, or does not answer. In the
/// latter case the ENI may even have been made.
pub(super) fn meets_all(error: &CloudError) -> bool {
    matches!(error.kind, CloudErrorKind::Throttled | CloudErrorKind::Unreachable)
}

/// Why no subnet took the ENI.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(SubnetId, CloudError)>);

impl Refusals {
    pub(super) fn push(&mut self, subnet: SubnetId, error: CloudError) {
        self.0.push((subnet, error));
    }

    /// The last error, which also names the subnets that were tried before.
    pub(super) fn into_error(mut self) -> CloudError {
        let Some((subnet, mut error)) = self.0.pop() else {
            return CloudError::new(CloudErrorKind::Other, ACTION, "no subnet was tried");
        };
        if !self.0.is_empty() {
            let before =
                self.0.iter().map(|(subnet, error)| format!("{subnet} ({:?})", error.kind));
            let before = before.collect::<Vec<_>>().join(", ");
            error.message.push_str(&format!("; this was {subnet}, tried before: {before}"));
        }
        error
    }
}
