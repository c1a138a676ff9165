//! Which actions the daemon's IAM role lacks, as EC2's answers show.

use std::collections::BTreeMap;

/// Actions remembered. The backend knows some twenty.
const ACTIONS_MAX: usize = 64;

/// Codes that name a missing permission, and not credentials that nobody could use. EC2 has the first; the
/// others come from proxies and endpoints of the same kind.
const CODES: [&str; 3] = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];

/// Actions that were refused the last time they were tried.
#[derive(Debug, Default)]
pub(crate) struct Denied(BTreeMap<String, String>);

impl Denied {
    /// EC2 refused `action` with `code`. True if that is a missing permission that was not known.
    pub(crate) fn refused(&mut self, action: &str, code: &str) -> bool {
        let news =
            CODES.contains(&code) && self.0.len() < ACTIONS_MAX && !self.0.contains_key(action);
        if news {
            self.0.insert(action.to_owned(), code.to_owned());
        }
        news
    }

    /// EC2 did what `action` asked for. True if it had been refused before.
    pub(crate) fn allowed(&mut self, action: &str) -> bool {
        self.0.remove(action).is_some()
    }

    /// EC2's code by action.
    pub(crate) fn actions(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_news_once_until_it_is_there() {
        let mut denied = Denied::default();
        assert!(denied.refused("DetachNetworkInterface", "UnauthorizedOperation"));
        assert!(!denied.refused("DetachNetworkInterface", "UnauthorizedOperation"));
        assert!(!denied.allowed("DeleteNetworkInterface"));
        assert_eq!(denied.actions().len(), 1);
        assert!(denied.allowed("DetachNetworkInterface"));
        assert!(!denied.allowed("DetachNetworkInterface"));
        assert!(denied.refused("DetachNetworkInterface", "UnauthorizedOperation"));
    }

    #[test]
    fn other_refusals_are_no_missing_permission() {
        let mut denied = Denied::default();
        for code in ["RequestLimitExceeded", "AuthFailure", "ExpiredToken", "DryRunOperation", ""] {
            assert!(!denied.refused("CreateTags", code), "{code}");
        }
        assert!(denied.actions().is_empty());
    }
}
