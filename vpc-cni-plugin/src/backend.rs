//! Port to the daemon: the two calls that a command may make.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::rpc::{AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest};

/// A call to the daemon that got no reply.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The connection broke before the reply; the daemon may or may not have acted.
    #[error(
        "the daemon at {} went away before it answered: {message}; it may be restarting",
        socket.display()
    )]
    Broken {
        /// The daemon's socket.
        socket: PathBuf,
        /// How the connection ended.
        message: String,
    },
    /// No reply in time; the daemon may or may not have acted.
    #[error("the daemon at {} did not answer within {seconds} s", socket.display())]
    Deadline {
        /// The daemon's socket.
        socket: PathBuf,
        /// How long the plugin waited.
        seconds: u64,
    },
    /// The daemon answered with an error.
    #[error("the daemon answered {status}: {message}")]
    Failed {
        /// Name of the gRPC status.
        status: String,
        /// The daemon's words.
        message: String,
    },
    /// The node has no address to give. The text says why, in numbers.
    #[error("{message}")]
    NoAddress {
        /// The daemon's words.
        message: String,
    },
    /// The daemon runs and cannot serve yet, or not any more.
    #[error("the daemon is not ready: {message}")]
    NotReady {
        /// The daemon's words.
        message: String,
    },
    /// DEL of a sandbox that holds no address.
    #[error("the daemon knows no such sandbox")]
    UnknownPod,
    /// Nobody listens on the socket.
    #[error(
        "cannot connect to the daemon at {}: {source}; is aws-node running on this node? \
         It removes the socket when it stops and makes it when it is ready",
        socket.display()
    )]
    Unreachable {
        /// The daemon's socket.
        socket: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The daemon does not serve plugins of this version.
    #[error(
        "the daemon refuses plugin version {version}: {message}; plugin and daemon are installed \
         together, so this ends when the update does",
        version = crate::rpc::CLIENT_VERSION
    )]
    Version {
        /// The daemon's words.
        message: String,
    },
}

impl BackendError {
    /// True if the same call may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Broken { .. }
            | Self::Deadline { .. }
            | Self::NoAddress { .. }
            | Self::NotReady { .. }
            | Self::Unreachable { .. }
            | Self::Version { .. } => true,
            Self::Failed { .. } | Self::UnknownPod => false,
        }
    }
}

/// The daemon as the commands see it. Each call is one connection to `socket`, blocking and bounded.
pub trait Backend {
    /// Asks for the addresses of a sandbox interface.
    ///
    /// # Errors
    ///
    /// If there is no reply; a reply may still say that there is no address.
    fn add_network(
        &self,
        socket: &Path,
        request: AddNetworkRequest,
    ) -> Result<AddNetworkReply, BackendError>;

    /// Gives the addresses of a sandbox interface back.
    ///
    /// # Errors
    ///
    /// [`BackendError::UnknownPod`] if it holds none, others if there is no reply.
    fn del_network(
        &self,
        socket: &Path,
        request: DelNetworkRequest,
    ) -> Result<DelNetworkReply, BackendError>;
}
