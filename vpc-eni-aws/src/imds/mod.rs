//! The instance metadata service (IMDSv2, or IMDSv1 where tokens are not to be had).
//!
//! Metadata is a hint: it may lag behind EC2 by minutes, in both directions. Only facts that never
//! change are taken from it alone.

#[cfg(feature = "sdk")]
mod client;
#[cfg(feature = "sdk")]
mod eni;
#[cfg(feature = "sdk")]
mod fixed;
pub mod parse;
#[cfg(feature = "sdk")]
pub(crate) mod paths;
#[cfg(feature = "sdk")]
mod reader;
#[cfg(feature = "sdk")]
mod session;

#[cfg(feature = "sdk")]
pub(crate) use self::{
    eni::Wanted,
    reader::{Imds, ImdsError, chain, optional},
};
