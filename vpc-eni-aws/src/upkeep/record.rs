//! What upkeep has done, and what it could not do.

use std::collections::BTreeMap;

use super::{groups::GroupSync, sweep::Swept};

/// Reason of a node whose ENIs lack the security groups of the primary one.
pub(super) const SECURITY_GROUPS: &str = "security_groups";
/// Reason of a node that cannot sweep.
pub(super) const LEAKED_ENIS: &str = "leaked_enis";

/// Reason of a node some of whose ENIs would outlive it.
pub(super) const TERMINATION: &str = "termination";
/// Reason of a node whose ENIs cannot be tagged.
pub(super) const ENI_TAGS: &str = "eni_tags";

/// What upkeep has done since it began, and what is wrong at the moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct UpkeepStatus {
    /// What is wrong, as one sentence with cause and remedy, by a word for metrics and alerts:
    /// `eni_tags`, `security_groups`, `leaked_enis`, `termination`.
    pub troubles: BTreeMap<&'static str, String>,
    /// ENIs that were given the security groups of the primary ENI.
    pub group_pushes: u64,
    /// ENIs that were given tags which they lacked.
    pub tagged: u64,
    /// Leaked ENIs that were deleted.
    pub leaked_deleted: u64,
    /// ENIs of unknown age whose age is counted since.
    pub leaked_stamped: u64,
    /// Sweeps that looked at all there is to look at.
    pub sweeps: u64,
}

impl UpkeepStatus {
    pub(super) fn groups(&mut self, result: &GroupSync) {
        self.group_pushes += result.pushed;
    }

    pub(super) fn swept(&mut self, swept: &Swept) {
        self.leaked_deleted += swept.deleted;
        self.leaked_stamped += swept.stamped;
        self.sweeps += 1;
    }

    pub(super) fn troubled(&mut self, reason: &'static str, message: String) {
        self.troubles.insert(reason, message);
    }

    pub(super) fn works(&mut self, reason: &'static str) {
        if self.troubles.remove(reason).is_some() {
            tracing::info!(reason, "works again");
        }
    }
}
