//! The CNI protocol, from the text that a runtime sends to the text that it reads back.
//!
//! Pure parsing and printing: environment ([`Env`]), `CNI_ARGS` ([`PodArgs`]), network configuration
//! ([`NetConf`]), results ([`CniResult`]) and errors ([`CniError`]) of the spec versions that
//! [`SpecVersion`] lists. Nothing here touches a file, a socket or the kernel.

mod args;
mod env;
mod error;
mod netconf;
mod result;
mod version;

pub use args::{ArgsError, PodArgs};
pub use env::{Command, Env, EnvError, Invocation};
pub use error::{CniError, Code};
pub use netconf::{
    Annotations, LogLevel, MTU_BYTES_DEFAULT, MTU_BYTES_MAX, MTU_BYTES_MIN, NetConf, NetConfError,
};
pub use result::{CniResult, Dns, Interface, IpConfig, ResultError, Route};
pub use version::{SpecVersion, version_reply};
