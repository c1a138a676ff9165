//! A deterministic model of the part of EC2 that a CNI talks to.
//!
//! [`World`] holds VPCs, subnets, instances and ENIs and answers the EC2 actions with EC2's own rules
//! and error codes. It has no clock: every call says what time it is. What changes for the outside is
//! told twice: to instance metadata, after configurable delays ([`World::imds_view`]), and to whoever
//! plugs the links ([`World::take_changes`]).

mod action;
mod address_calls;
mod catalog;
mod change;
mod config;
mod consistency;
mod create_calls;
mod delays;
mod describe_calls;
mod describe_places;
mod eni;
mod eni_calls;
mod error;
mod faults;
mod filter;
mod gate;
mod given_calls;
mod ids;
mod imds;
mod imds_faults;
mod instance;
mod ipv6_calls;
mod layout;
mod network;
mod outside;
mod request;
mod reserve;
mod space;
mod tag_calls;
#[cfg(test)]
mod tests;
mod throttle;
mod timers;
mod when;
mod world;

pub use action::Ec2Action;
pub use catalog::{Hypervisor, IMAGINARY_TYPE, InstanceType, instance_type, instance_types};
pub use change::{AttachedEni, WorldChange};
pub use config::WorldConfig;
pub use consistency::Consistency;
pub use delays::Delays;
pub use describe_calls::{
    DescribedInstance, DescribedTag, INTERFACES_PAGE_MAX, INTERFACES_PAGE_MIN,
};
pub use eni::{Attachment, AttachmentStatus, ConnectionTracking, Eni, EniStatus, InterfaceType};
pub use error::{Ec2Error, WorldError, code};
pub use faults::{Fault, Faults, Script};
pub use filter::Filter;
pub(super) use ids::Random;
pub use imds::{ImdsEni, ImdsView};
pub use imds_faults::ImdsFault;
pub use instance::Instance;
pub use layout::{NewEni, NewInstance, Place};
pub use network::{SecurityGroup, Subnet, Vpc};
pub use outside::ForeignEni;
pub use request::{
    AssignGivenAddresses, AssignIpv6Addresses, AssignPrivateIpAddresses, Assigned,
    AttachNetworkInterface, CreateNetworkInterface, CreateTags, DescribeNetworkInterfaces,
    DetachNetworkInterface, Ipv4Request, ModifyNetworkInterfaceAttribute, Page,
    UnassignIpv6Addresses, UnassignPrivateIpAddresses,
};
pub use space::Allocation;
pub use throttle::{Rate, RequestRates};
pub use when::When;
pub use world::World;
