//! One missing piece.

use std::fmt;

use crate::{
    netlink::{Address, ErrorKind, LinkChange, Request, Route, Rule},
    nft::Transaction,
};

/// One change that brings the kernel nearer to the desired state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Changes a link.
    Link(LinkChange),
    /// Adds an address.
    AddAddress(Address),
    /// Removes an address.
    DeleteAddress(Address),
    /// Adds a rule.
    AddRule(Rule),
    /// Removes a rule.
    DeleteRule(Rule),
    /// Adds a route or puts it in the place of another to the same destination.
    ReplaceRoute(Route),
    /// Removes a route.
    DeleteRoute(Route),
    /// Changes nftables.
    Nft(Transaction),
}

impl Step {
    /// The step as an rtnetlink request; `None` for nftables.
    pub(crate) fn request(&self) -> Option<Request> {
        Some(match self {
            Self::Link(change) => change.clone().request(),
            Self::AddAddress(address) => address.replace(),
            Self::DeleteAddress(address) => address.delete(),
            Self::AddRule(rule) => rule.add(),
            Self::DeleteRule(rule) => rule.delete(),
            Self::ReplaceRoute(route) => route.replace(),
            Self::DeleteRoute(route) => route.delete(),
            Self::Nft(_) => return None,
        })
    }

    /// True if a refusal of `kind` means that there was nothing to do.
    pub(crate) fn is_moot(&self, kind: ErrorKind) -> bool {
        match self {
            Self::AddRule(_) => kind == ErrorKind::Exists,
            Self::DeleteAddress(_) | Self::DeleteRule(_) | Self::DeleteRoute(_) => {
                kind == ErrorKind::NotFound
            }
            _ => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nft(transaction) => {
                f.write_str("nftables:")?;
                transaction.labels().try_for_each(|label| write!(f, " {label};"))
            }
            other => match other.request() {
                Some(request) => f.write_str(request.label()),
                None => Ok(()),
            },
        }
    }
}
