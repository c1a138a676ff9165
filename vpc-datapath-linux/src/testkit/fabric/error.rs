//! What can go wrong with the fabric.

use thiserror::Error;
use vpc_ipam_core::addr::Prefix;

use crate::{netlink::NetlinkError, netns::NetnsError, testkit::ns::NsError};

/// Why the fabric did not do as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FabricError {
    /// A namespace could not be made or entered.
    #[error(transparent)]
    Namespace(#[from] NsError),
    /// A network namespace could not be opened or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused a change.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A subnet that has no room for a gateway, or is not IPv4.
    #[error("subnet {subnet} cannot have a gateway; use an IPv4 prefix shorter than /31")]
    NoGateway {
        /// The subnet.
        subnet: Prefix,
    },
    /// Two subnets share addresses.
    #[error("subnet {subnet} overlaps subnet {other}")]
    SubnetOverlap {
        /// The new one.
        subnet: Prefix,
        /// The one that is there.
        other: Prefix,
    },
    /// A subnet that was not added.
    #[error("subnet {subnet} is not in this VPC; add it first")]
    NoSubnet {
        /// The subnet.
        subnet: Prefix,
    },
    /// An address that an ENI of this subnet cannot have.
    #[error("{prefix} is not in subnet {subnet}")]
    OutsideSubnet {
        /// The address or prefix.
        prefix: Prefix,
        /// The ENI's subnet.
        subnet: Prefix,
    },
    /// An address that cannot be taken away from its owner.
    #[error("{prefix} overlaps what {eni_id} owns; release that first")]
    Owned {
        /// The address or prefix.
        prefix: Prefix,
        /// The owner.
        eni_id: String,
    },
    /// An ENI that is plugged in already.
    #[error("{eni_id} is attached; detach it first")]
    Attached {
        /// The ENI.
        eni_id: String,
    },
    /// An ENI that is not plugged in.
    #[error("{eni_id} is not attached")]
    NotAttached {
        /// The ENI.
        eni_id: String,
    },
}
