//! The instance metadata service (IMDSv2).
//!
//! Metadata is a hint: it may lag behind EC2 by minutes, in both directions. Only facts that never
//! change are taken from it alone.

#[cfg(feature = "sdk")]
mod client;
pub mod parse;
#[cfg(feature = "sdk")]
pub(crate) mod paths;
#[cfg(feature = "sdk")]
mod reader;

#[cfg(feature = "sdk")]
pub(crate) use self::reader::{Imds, ImdsError, chain, optional};
