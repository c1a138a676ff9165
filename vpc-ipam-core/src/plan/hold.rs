//! What holds growth back for a while.

use crate::{config::AllocationMode, time::Time};

/// What a subnet has refused lately, for one kind of request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct KindHold {
    /// It has nothing to give: ask again then.
    pub until: Option<Time>,
    /// Most slots to ask for at once, by one request at a time: larger ones have just failed for
    /// lack of space, or this one is to find out whether there is some again.
    pub ask_max: Option<u32>,
}

/// What a subnet has refused lately.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SubnetHolds {
    /// Requests for prefixes: it has no free aligned block.
    pub prefixes: KindHold,
    /// Requests for single addresses.
    pub secondary: KindHold,
}

impl SubnetHolds {
    /// What holds back requests of the kind that `mode` makes.
    pub fn of(&self, mode: AllocationMode) -> KindHold {
        match mode {
            AllocationMode::Prefix => self.prefixes,
            AllocationMode::Secondary => self.secondary,
        }
    }
}

/// What holds growth back, wherever the addresses would come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Holds {
    /// Any growth: the cloud cannot be reached, throttles or refuses.
    pub all: Option<Time>,
    /// New ENIs.
    pub create: Option<Time>,
    /// The subnets of new ENIs. Which one it will be, the cloud decides; those of the ENIs that are
    /// attached are held by [`EniView::holds`](super::EniView::holds).
    pub new_eni: SubnetHolds,
}
