//! Why a branch pod cannot be answered.

use std::fmt;

use thiserror::Error;

use super::annotation::POD_ENI;
use crate::{
    config::Family,
    id::{EniId, PodRef},
};

/// Why a pod with an ENI of its own cannot have or give back its address. Names the pod, what is
/// wrong, and what to do.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BranchError {
    /// The controller has not (yet) written the annotation.
    #[error(
        "pod {pod} has no annotation {POD_ENI} yet: the VPC resource controller writes it once the branch ENI exists; the runtime tries again, and if it stays away see the pod's events and the controller's log"
    )]
    AnnotationMissing {
        /// The pod.
        pod: PodRef,
    },
    /// The annotation is not what the controller writes.
    #[error(
        "annotation {POD_ENI} of pod {pod} is malformed: {cause}; delete the pod so that the controller writes it anew"
    )]
    Malformed {
        /// The pod.
        pod: PodRef,
        /// What is wrong with it.
        cause: Cause,
    },
    /// The node has a trunk, but the kernel does not show it.
    #[error(
        "pod {pod} needs a branch of trunk {trunk}, whose link is not on this host; check that the trunk is attached and its driver has not failed (ip link)"
    )]
    TrunkLinkMissing {
        /// The pod.
        pod: PodRef,
        /// The trunk ENI.
        trunk: EniId,
    },
    /// The controller has not attached a trunk.
    #[error(
        "pod {pod} needs a branch ENI, but no trunk is attached to card 0; check that the instance type supports trunks, that an ENI slot is free and that the CNINode lists SecurityGroupsForPods"
    )]
    TrunkMissing {
        /// The pod.
        pod: PodRef,
    },
    /// A pod of the same name lives; its ENI must not be torn down.
    #[error(
        "the DEL is for pod {pod} with UID {asked:?}, but the pod of that name has UID {found:?}; its branch ENI is left alone"
    )]
    UidMismatch {
        /// The pod.
        pod: PodRef,
        /// UID in the request; empty if it had none.
        asked: String,
        /// UID of the living pod.
        found: String,
    },
}

/// What is wrong with an annotation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// An array without elements.
    Empty,
    /// A member that is absent or empty.
    Missing(&'static str),
    /// Not a JSON array of objects; the parser's words.
    NotJson(String),
    /// A member with a value that it cannot have.
    Value {
        /// The member.
        member: &'static str,
        /// Its value, cut to a sane length.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

impl Cause {
    pub(super) fn value(member: &'static str, value: &str, expected: &'static str) -> Self {
        Self::Value { member, value: value.chars().take(64).collect(), expected }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it lists no ENI"),
            Self::Missing(member) => write!(f, "{member} is missing"),
            Self::NotJson(words) => write!(f, "it is not a JSON array of objects ({words})"),
            Self::Value { member, value, expected } => {
                write!(f, "{member} is {value:?}, expected {expected}")
            }
        }
    }
}

/// The members that hold the address and the subnet of a family.
pub(super) fn members(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("privateIp", "subnetCidr"),
        Family::V6 => ("ipv6Addr", "subnetV6Cidr"),
    }
}
