//! Instances.

use std::collections::{BTreeMap, VecDeque};

use super::{catalog::InstanceType, imds::ImdsEni, imds_faults::ImdsFaults};
use crate::{
    id::{EniId, InstanceId, SubnetId, VpcId},
    time::Time,
};

/// What metadata shows of one ENI from a moment on; `None`: nothing any more.
pub(super) type Version = (Time, Option<ImdsEni>);

/// A running instance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Instance {
    /// `i-…`.
    pub id: InstanceId,
    /// Its type, with the limits.
    pub instance_type: &'static InstanceType,
    /// VPC of its primary ENI.
    pub vpc: VpcId,
    /// Subnet of its primary ENI.
    pub subnet: SubnetId,
    /// Zone it runs in.
    pub availability_zone: String,
    /// The ENI it was born with.
    pub primary_eni: EniId,
    /// When it was started.
    pub launched: Time,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Per ENI what metadata shows and will show, oldest first.
    pub(super) metadata: BTreeMap<EniId, VecDeque<Version>>,
    pub(super) imds: ImdsFaults,
}
