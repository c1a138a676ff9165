//! What can go wrong with namespaces.

use std::io;

use thiserror::Error;

use crate::{netlink::NetlinkError, netns::NetnsError};

/// Why a namespace could not be made or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NsError {
    /// A step failed. Most need a sandbox around them.
    #[error("{name}: cannot {step}: {source}")]
    Step {
        /// Namespace.
        name: String,
        /// What was being done.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Nothing that exists can hold the directory.
    #[error("{path} cannot be made private: {why}")]
    Directory {
        /// The directory asked for.
        path: String,
        /// The obstacle and the remedy.
        why: String,
    },
    /// The work inside panicked.
    #[error("{name}: the work inside panicked")]
    Panicked {
        /// Namespace.
        name: String,
    },
    /// The kernel refused a change to the network.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The network namespace cannot be opened or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

impl NsError {
    pub(crate) fn step(name: &str, step: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let (name, step) = (name.to_owned(), step.to_owned());
        move |source| Self::Step { name, step, source }
    }
}
