//! EC2 and IMDS backend of the VPC IPAM core, and an emulator of both.
//!
//! - Feature `sdk` (default): `AwsBackend`, the core's `CloudBackend` on the AWS SDK.
//! - Feature `emulator`: EC2 and IMDS over HTTP, in front of the core's state model; builds without
//!   the SDK.
//!
//! [`limits`], [`iam`] and [`imds::parse`] are always there.

#![forbid(unsafe_code)]

#[cfg(feature = "sdk")]
mod addresses;
#[cfg(feature = "sdk")]
mod api;
#[cfg(feature = "sdk")]
mod attach;
#[cfg(feature = "sdk")]
mod attachments;
#[cfg(all(test, feature = "sdk"))]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod attachments_tests;
#[cfg(feature = "sdk")]
mod backend;
#[cfg(all(test, feature = "sdk"))]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod backend_tests;
#[cfg(feature = "sdk")]
mod classify;
#[cfg(feature = "sdk")]
mod config;
#[cfg(feature = "sdk")]
mod counts;
#[cfg(feature = "sdk")]
mod create;
#[cfg(feature = "sdk")]
mod describe;
#[cfg(feature = "emulator")]
pub mod emulator;
#[cfg(all(test, feature = "sdk"))]
#[allow(clippy::unwrap_used)]
mod fake;
#[cfg(all(test, feature = "sdk", feature = "emulator"))]
mod hostile_tests;
#[cfg(feature = "sdk")]
mod http;
pub mod iam;
pub mod imds;
#[cfg(feature = "sdk")]
mod instance;
pub mod limits;
#[cfg(feature = "sdk")]
mod memory;
#[cfg(feature = "sdk")]
mod pace;
#[cfg(feature = "sdk")]
mod permissions;
#[cfg(feature = "sdk")]
mod permit;
#[cfg(all(test, feature = "sdk"))]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod quirk_tests;
#[cfg(feature = "sdk")]
mod release;
#[cfg(feature = "sdk")]
mod sdk;
#[cfg(feature = "sdk")]
mod subnets;
#[cfg(feature = "sdk")]
mod tags;
#[cfg(feature = "sdk")]
mod trouble;
#[cfg(feature = "sdk")]
mod upkeep;
#[cfg(feature = "sdk")]
mod wait;

#[cfg(feature = "sdk")]
pub use self::{
    backend::AwsBackend,
    config::{AwsConfig, AwsConfigBuilder, AwsConfigError, HTTP_TIMEOUT_DEFAULT, ImdsMode},
    counts::{ActionCount, Call, CallCounts, CallObserver, Outcome},
    pace::{CallClass, CallPace, PaceReport},
    upkeep::{Adopted, GroupSync, Swept, Upkeep, UpkeepConfig, UpkeepStatus},
};
