//! What to answer to the ADD and the DEL of a pod that may have a branch ENI.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use super::{
    annotation::{BranchText, POD_ENI},
    error::{BranchError, Cause, members},
};
use crate::{
    config::Family,
    id::{EniId, MacAddr, PodRef},
};

/// Every subnet's router answers at this address, beside its link-local one.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0xec2, 0, 0, 0, 0, 0, 1);

/// What matters of a pod as the Kubernetes API shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PodObject {
    /// Namespace and name.
    pub pod: PodRef,
    /// `metadata.uid`.
    pub uid: String,
    /// Names of the resources in `spec.containers[0].resources.limits`.
    pub first_container_limits: Vec<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// The trunk on card 0 whose branches pods get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trunk {
    /// EC2 id.
    pub eni: EniId,
    /// Index of its link on the host; `None` if the kernel shows no link with the trunk's MAC.
    pub link: Option<u32>,
}

/// A pod's own ENI.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BranchEni {
    /// The pod's address.
    pub ip: IpAddr,
    /// VLAN that carries the branch on the trunk, 1 to 4094.
    pub vlan: u16,
    /// MAC of the branch ENI.
    pub mac: MacAddr,
    /// Router of the branch's subnet.
    pub gateway: IpAddr,
    /// Index of the trunk's link on the host.
    pub parent_link: u32,
}

impl BranchEni {
    /// Device index in the answer to an ADD: a branch has none.
    pub const DEVICE: i32 = -1;
    /// Routing table in the answer to an ADD: the plugin makes one for the VLAN.
    pub const TABLE: u32 = 0;
}

/// What kind of pod an ADD is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Add {
    /// It has an ENI of its own. Whether it asked for several network cards does not matter.
    Branch(BranchEni),
    /// It takes an address from the pool.
    Ordinary,
}

/// What a DEL whose key the pool does not know is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Del {
    /// A pod with an ENI of its own: the plugin removes the VLAN.
    Branch {
        /// VLAN of the branch, 1 to 4094.
        vlan: u16,
        /// Address of the pod, of the family that the node uses.
        ip: IpAddr,
    },
    /// The pod is gone, and the controller with it takes care of its ENI: a success without anything
    /// to remove.
    Gone,
    /// No branch pod: the pool's answer stands.
    Unknown,
}

/// True if a pod asks for an ENI of its own, by the resource limits of its **first** container.
pub fn wants_branch(pod: &PodObject) -> bool {
    pod.first_container_limits.iter().any(|name| name.starts_with(POD_ENI))
}

/// What to do for the ADD of `pod`. `trunk` is the one on card 0, if there is one.
///
/// # Errors
///
/// For a pod that asks for a branch: if there is no usable trunk, or the annotation is missing or
/// lacks something that `family` needs.
pub fn add(pod: &PodObject, trunk: Option<&Trunk>, family: Family) -> Result<Add, BranchError> {
    if !wants_branch(pod) {
        return Ok(Add::Ordinary);
    }
    let name = || pod.pod.clone();
    let trunk = trunk.ok_or_else(|| BranchError::TrunkMissing { pod: name() })?;
    let parent_link = trunk
        .link
        .ok_or_else(|| BranchError::TrunkLinkMissing { pod: name(), trunk: trunk.eni.clone() })?;
    let text = pod.annotations.get(POD_ENI);
    let text = text.ok_or_else(|| BranchError::AnnotationMissing { pod: name() })?;
    let branch = branch(text, parent_link, family);
    branch.map(Add::Branch).map_err(|cause| BranchError::Malformed { pod: name(), cause })
}

fn branch(text: &str, parent_link: u32, family: Family) -> Result<BranchEni, Cause> {
    let text = BranchText::parse(text)?;
    let subnet = text.subnet(family)?;
    let gateway = match family {
        Family::V4 => subnet.nth(1).ok_or_else(|| {
            Cause::value(members(family).1, &subnet.to_string(), "a block with room for a gateway")
        })?,
        Family::V6 => GATEWAY_V6.into(),
    };
    Ok(BranchEni {
        ip: text.ip(family)?,
        vlan: text.vlan()?,
        mac: text.mac()?,
        gateway,
        parent_link,
    })
}

/// What to do for a DEL that the pool knows nothing of. `pod` is the pod of the request's name, `None`
/// if the API server says that there is none (if it says nothing, the DEL fails); `uid` is the pod's
/// UID in the request, empty if it has none.
///
/// # Errors
///
/// If the pod is another one of the same name, or its annotation cannot be understood.
pub fn del(pod: Option<&PodObject>, uid: &str, family: Family) -> Result<Del, BranchError> {
    let Some(pod) = pod else { return Ok(Del::Gone) };
    if pod.uid != uid {
        return Err(BranchError::UidMismatch {
            pod: pod.pod.clone(),
            asked: uid.to_owned(),
            found: pod.uid.clone(),
        });
    }
    let Some(text) = pod.annotations.get(POD_ENI) else { return Ok(Del::Unknown) };
    let found = BranchText::parse(text)
        .and_then(|text| Ok(Del::Branch { vlan: text.vlan()?, ip: text.ip(family)? }));
    found.map_err(|cause| BranchError::Malformed { pod: pod.pod.clone(), cause })
}
