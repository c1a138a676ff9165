//! The EC2 calls that the backend makes, in its own words. One implementation speaks to EC2 through
//! the SDK; tests put another in its place.

mod calls;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, EniKind},
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId},
};

pub(crate) use self::calls::{
    AddressCalls, Ec2Api, EniCalls, SubnetCalls, TagCalls, TypeCalls, UpkeepCalls,
};
use crate::upkeep::Unattached;

/// How far an attachment has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AttachmentState {
    Attached,
    Attaching,
    Detached,
    Detaching,
}

/// The tie between an ENI and an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    /// Absent where the ENI is attached to something of AWS's own.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) device: u32,
    pub(crate) card: u32,
    pub(crate) state: AttachmentState,
    /// The ENI vanishes with the instance; `None` if EC2 does not say.
    pub(crate) delete_on_termination: Option<bool>,
}

/// Idle timeouts of tracked connections, in seconds; `None` is EC2's default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tracking {
    pub(crate) tcp_established_s: Option<u32>,
    pub(crate) udp_stream_s: Option<u32>,
    pub(crate) udp_s: Option<u32>,
}

/// A subnet as EC2 describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ec2Subnet {
    pub(crate) id: SubnetId,
    /// `None` for a subnet of IPv6 alone.
    pub(crate) block: Option<Prefix>,
    /// The IPv6 block that it has now.
    pub(crate) ipv6_block: Option<Prefix>,
    /// Free IPv4 addresses. Says nothing of how many aligned blocks there are among them.
    pub(crate) free: u32,
    pub(crate) tags: BTreeMap<String, String>,
}

/// An ENI as EC2 describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ec2Eni {
    pub(crate) id: EniId,
    pub(crate) mac: MacAddr,
    pub(crate) subnet: SubnetId,
    pub(crate) kind: EniKind,
    /// Absent on an EFA-only interface.
    pub(crate) primary_ip: Option<IpAddr>,
    /// The first of its own IPv6 addresses.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// For pods, of both families.
    pub(crate) cidrs: Vec<Prefix>,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Timeouts that differ from EC2's defaults.
    pub(crate) tracking: Tracking,
    pub(crate) attachment: Option<Attachment>,
}

impl Ec2Eni {
    /// The attachment to `instance` in state `state`.
    pub(crate) fn attached_to(&self, instance: &InstanceId) -> Option<&Attachment> {
        self.attachment.as_ref().filter(|a| a.instance.as_ref() == Some(instance))
    }
}

/// What a new ENI is to be like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NewEni {
    pub(crate) subnet: SubnetId,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) description: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) tracking: Tracking,
    pub(crate) count: AddressCount,
}

/// Part of a listing of ENIs that are attached to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct UnattachedPage {
    pub(crate) enis: Vec<Unattached>,
    /// What to ask for the next page with; `None` after the last.
    pub(crate) next: Option<String>,
}
