//! What can go wrong between us and rtnetlink or nfnetlink.

use std::{fmt, io};

use nix::libc;
use thiserror::Error;

/// What a refusal means to the caller.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object is there already (`EEXIST`).
    Exists,
    /// The object, its table or its device is not there (`ENOENT`, `ESRCH`, `ENODEV`,
    /// `EADDRNOTAVAIL`).
    NotFound,
    /// The object is in use (`EBUSY`).
    Busy,
    /// The device is down (`ENETDOWN`).
    Down,
    /// The caller lacks `CAP_NET_ADMIN` in this network namespace (`EPERM`, `EACCES`).
    NotPermitted,
    /// The kernel lacks the feature (`EOPNOTSUPP`, `EAFNOSUPPORT`, `EPROTONOSUPPORT`).
    NotSupported,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Kind of a positive errno value.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            libc::EEXIST => Self::Exists,
            libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::EADDRNOTAVAIL | libc::ENXIO => {
                Self::NotFound
            }
            libc::EBUSY => Self::Busy,
            libc::ENETDOWN => Self::Down,
            libc::EPERM | libc::EACCES => Self::NotPermitted,
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Self::NotSupported,
            _ => Self::Other,
        }
    }
}

/// One request that the kernel refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// Position of the request in its batch, counted from 0.
    pub index: usize,
    /// What the request was to do, for example `add route 10.0.1.5/32 to table 100513`.
    pub label: String,
    /// The kernel's error number, positive.
    pub errno: i32,
    /// The kernel's explanation, if it gave one.
    pub detail: Option<String>,
}

impl Refusal {
    /// What the error number means.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::from_errno(self.errno)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = io::Error::from_raw_os_error(self.errno);
        write!(f, "{}: {why}", self.label)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// A failed exchange with the kernel.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// The socket itself failed.
    #[error("netlink {op} failed: {source}")]
    Io {
        /// Which call.
        op: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel refused one or more requests; the others were carried out.
    #[error("{}", join(.0))]
    Refused(Vec<Refusal>),
    /// The kernel's answer does not have the form it should.
    #[error("cannot read the kernel's {what}: {why}")]
    Malformed {
        /// Which answer.
        what: &'static str,
        /// The decoder's complaint.
        why: String,
    },
    /// A dump changed under our hands every time. It would have been partial, so it was thrown away.
    #[error("the dump of {what} was interrupted {attempts} times by other changes; try again")]
    Interrupted {
        /// What was being dumped.
        what: &'static str,
        /// Number of attempts made.
        attempts: u32,
    },
    /// A request that cannot be sent as it is.
    #[error("{label}: {why}")]
    TooLarge {
        /// What the request was to do.
        label: String,
        /// Which limit it breaks.
        why: String,
    },
}

impl NetlinkError {
    /// What went wrong; of several refusals, the first one's kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(all) => all.first().map_or(ErrorKind::Other, Refusal::kind),
            Self::Io { source, .. } => {
                source.raw_os_error().map_or(ErrorKind::Other, ErrorKind::from_errno)
            }
            _ => ErrorKind::Other,
        }
    }

    /// The refusals, empty for every other error.
    pub fn refusals(&self) -> &[Refusal] {
        match self {
            Self::Refused(all) => all,
            _ => &[],
        }
    }

    pub(crate) fn io(op: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { op, source }
    }
}

impl From<io::Error> for NetlinkError {
    /// Of reading an answer.
    fn from(source: io::Error) -> Self {
        Self::Io { op: "receive", source }
    }
}

fn join(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
