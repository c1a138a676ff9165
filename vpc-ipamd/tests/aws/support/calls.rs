//! How often EC2 was called.

use std::{collections::BTreeMap, fmt};

use vpc_ipam_core::testkit::ec2::Ec2Action;

/// Calls by action, as EC2 counts them: the SDK's own retries are calls too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Calls(BTreeMap<Ec2Action, u64>);

impl Calls {
    pub(super) fn new(counts: &BTreeMap<Ec2Action, u64>) -> Self {
        Self(counts.clone())
    }

    /// Those that were made after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let new = self.0.iter().map(|(action, n)| (*action, n - before.of(*action)));
        Self(new.filter(|(_, n)| *n > 0).collect())
    }

    pub(crate) fn of(&self, action: Ec2Action) -> u64 {
        self.0.get(&action).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those that changed something, or would have.
    pub(crate) fn mutations(&self) -> u64 {
        self.0.iter().filter(|(action, _)| !action.is_reading()).map(|(_, n)| n).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ec2Action, u64)> {
        self.0.iter().map(|(action, n)| (*action, *n))
    }
}

impl<const N: usize> From<[(Ec2Action, u64); N]> for Calls {
    fn from(calls: [(Ec2Action, u64); N]) -> Self {
        Self(calls.into())
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed: Vec<String> =
            self.0.iter().map(|(action, n)| format!("{action} {n}")).collect();
        f.write_str(&listed.join(", "))
    }
}
