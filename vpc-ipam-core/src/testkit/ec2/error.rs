//! Errors of EC2 calls, with EC2's codes and wording, and of building a world.

use std::{borrow::Cow, net::IpAddr};

use thiserror::Error;

use crate::{
    addr::Prefix,
    id::{EniId, InstanceId, SecurityGroupId, SubnetId, VpcId},
};

/// EC2 error codes that the model answers with.
pub mod code {
    /// The instance (or its network card) holds as many ENIs as it can.
    pub const ATTACHMENT_LIMIT_EXCEEDED: &str = "AttachmentLimitExceeded";
    /// The call would have been allowed; it was only a rehearsal.
    pub const DRY_RUN_OPERATION: &str = "DryRunOperation";
    /// A client token came back with other parameters.
    pub const IDEMPOTENT_PARAMETER_MISMATCH: &str = "IdempotentParameterMismatch";
    /// The object is not in a state that allows the call.
    pub const INCORRECT_STATE: &str = "IncorrectState";
    /// The subnet has no free aligned block.
    pub const INSUFFICIENT_CIDR_BLOCKS: &str = "InsufficientCidrBlocks";
    /// The subnet has fewer free addresses than asked for.
    pub const INSUFFICIENT_FREE_ADDRESSES: &str = "InsufficientFreeAddressesInSubnet";
    /// EC2's own fault; retried by SDKs.
    pub const INTERNAL_ERROR: &str = "InternalError";
    /// No such action.
    pub const INVALID_ACTION: &str = "InvalidAction";
    /// An address of the caller's choice that something else has.
    pub const INVALID_ADDRESS_IN_USE: &str = "InvalidIPAddress.InUse";
    /// No such attachment.
    pub const INVALID_ATTACHMENT_NOT_FOUND: &str = "InvalidAttachmentID.NotFound";
    /// No such security group.
    pub const INVALID_GROUP_NOT_FOUND: &str = "InvalidGroup.NotFound";
    /// An id of no known kind.
    pub const INVALID_ID: &str = "InvalidID";
    /// No such instance.
    pub const INVALID_INSTANCE_NOT_FOUND: &str = "InvalidInstanceID.NotFound";
    /// No such instance type.
    pub const INVALID_INSTANCE_TYPE: &str = "InvalidInstanceType";
    /// The ENI is attached already.
    pub const INVALID_INTERFACE_IN_USE: &str = "InvalidNetworkInterface.InUse";
    /// No such ENI.
    pub const INVALID_INTERFACE_NOT_FOUND: &str = "InvalidNetworkInterfaceID.NotFound";
    /// The paging token was not issued by a former call.
    pub const INVALID_NEXT_TOKEN: &str = "InvalidNextToken";
    /// Parameters that exclude each other.
    pub const INVALID_PARAMETER_COMBINATION: &str = "InvalidParameterCombination";
    /// A parameter has an impossible value.
    pub const INVALID_PARAMETER_VALUE: &str = "InvalidParameterValue";
    /// No such VPC.
    pub const INVALID_VPC_NOT_FOUND: &str = "InvalidVpcID.NotFound";
    /// No such subnet.
    pub const INVALID_SUBNET_NOT_FOUND: &str = "InvalidSubnetID.NotFound";
    /// A parameter is missing.
    pub const MISSING_PARAMETER: &str = "MissingParameter";
    /// The caller heard nothing. No code of EC2's: over HTTP it is a gateway's timeout.
    pub const NO_ANSWER: &str = "NoAnswer";
    /// The object may never be treated so.
    pub const OPERATION_NOT_PERMITTED: &str = "OperationNotPermitted";
    /// The ENI holds as many addresses and prefixes as it can.
    pub const PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED: &str = "PrivateIpAddressLimitExceeded";
    /// The account's request rate is exceeded; retried by SDKs.
    pub const REQUEST_LIMIT_EXCEEDED: &str = "RequestLimitExceeded";
    /// A resource has as many tags as it can.
    pub const TAG_LIMIT_EXCEEDED: &str = "TagLimitExceeded";
    /// The credentials do not allow the call.
    pub const UNAUTHORIZED_OPERATION: &str = "UnauthorizedOperation";
    /// A parameter that the action does not have.
    pub const UNKNOWN_PARAMETER: &str = "UnknownParameter";
    /// The instance type cannot do that.
    pub const UNSUPPORTED_OPERATION: &str = "UnsupportedOperation";
}

/// A refused EC2 call. Branch on `code`; `message` is for people, except that the id in
/// `…NotFound` messages stands in single quotes, which clients rely on.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct Ec2Error {
    /// EC2's error code, see [`code`].
    pub code: Cow<'static, str>,
    /// EC2's words.
    pub message: String,
}

impl Ec2Error {
    /// An error with `code` and `message`.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// What IAM answers when the policy lacks `ec2:<action>`.
    pub fn unauthorized() -> Self {
        Self::new(code::UNAUTHORIZED_OPERATION, "You are not authorized to perform this operation.")
    }

    /// What EC2 answers when the account calls too often.
    pub fn throttled() -> Self {
        Self::new(code::REQUEST_LIMIT_EXCEEDED, "Request limit exceeded.")
    }

    /// The caller gave up waiting.
    pub fn no_answer() -> Self {
        Self::new(code::NO_ANSWER, "No answer came in time.")
    }

    /// A fault of EC2's own.
    pub fn internal() -> Self {
        Self::new(code::INTERNAL_ERROR, "An internal error has occurred")
    }

    /// A parameter that the call cannot do without.
    pub fn missing_parameter(name: &str) -> Self {
        Self::new(code::MISSING_PARAMETER, format!("The request must contain the parameter {name}"))
    }

    /// A parameter with an impossible value.
    pub fn invalid_value(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMETER_VALUE, message)
    }

    /// Parameters that exclude each other.
    pub fn invalid_combination(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMETER_COMBINATION, message)
    }

    pub(super) fn invalid_action(name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        Self::new(
            code::INVALID_ACTION,
            format!("The action {name} is not valid for this web service."),
        )
    }

    pub(super) fn eni_not_found(eni: &EniId) -> Self {
        Self::new(
            code::INVALID_INTERFACE_NOT_FOUND,
            format!("The networkInterface ID '{eni}' does not exist"),
        )
    }

    pub(super) fn instance_not_found(instance: &InstanceId) -> Self {
        Self::new(
            code::INVALID_INSTANCE_NOT_FOUND,
            format!("The instance ID '{instance}' does not exist"),
        )
    }

    pub(super) fn subnet_not_found(subnet: &SubnetId) -> Self {
        Self::new(
            code::INVALID_SUBNET_NOT_FOUND,
            format!("The subnet ID '{subnet}' does not exist"),
        )
    }

    pub(super) fn group_not_found(group: &SecurityGroupId) -> Self {
        Self::new(
            code::INVALID_GROUP_NOT_FOUND,
            format!("The security group '{group}' does not exist"),
        )
    }

    pub(super) fn attachment_not_found(attachment: &str) -> Self {
        Self::new(
            code::INVALID_ATTACHMENT_NOT_FOUND,
            format!("The attachment ID '{attachment}' does not exist"),
        )
    }

    pub(super) fn address_limit() -> Self {
        Self::new(
            code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED,
            "Number of private addresses will exceed limit.",
        )
    }
}

/// Why a world cannot be built as asked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WorldError {
    /// An address that cannot be set aside.
    #[error("{ip} is not free in {subnet}; choose an address that no interface holds")]
    AddressTaken {
        /// The address.
        ip: IpAddr,
        /// The subnet.
        subnet: SubnetId,
    },
    /// EC2 itself would refuse.
    #[error(transparent)]
    Ec2(#[from] Ec2Error),
    /// An id that something else has.
    #[error("{id} is taken; choose another id")]
    IdTaken {
        /// The id.
        id: String,
    },
    /// An id that names nothing.
    #[error("{id} does not exist in this world")]
    NoSuchId {
        /// The id.
        id: String,
    },
    /// A subnet number that the configuration does not have.
    #[error(
        "subnet number {number} does not exist, the configuration has {count}; numbers start at 0"
    )]
    NoSuchSubnet {
        /// The number.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// Two blocks share addresses.
    #[error("{cidr} overlaps {other}; choose blocks that do not overlap")]
    Overlap {
        /// The new block.
        cidr: Prefix,
        /// The block that is there.
        other: Prefix,
    },
    /// A block of a size that EC2 does not allow.
    #[error("{cidr} is not an IPv4 block between /16 and /28, the sizes that EC2 allows")]
    SizeOutOfRange {
        /// The block.
        cidr: Prefix,
    },
    /// A subnet that does not lie in its VPC.
    #[error("{cidr} lies in no block of {vpc}; add a block that covers it to the VPC")]
    OutsideVpc {
        /// The subnet's block.
        cidr: Prefix,
        /// The VPC.
        vpc: VpcId,
    },
    /// An IPv6 block of the wrong kind.
    #[error("{cidr} is not an IPv6 /64, the size of every IPv6 subnet")]
    NotIpv6Subnet {
        /// The block.
        cidr: Prefix,
    },
    /// A type that the table does not have.
    #[error("instance type {name:?} is unknown; known types: {known}")]
    UnknownInstanceType {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
}
