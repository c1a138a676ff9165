//! What operations that were asked for are.

use std::collections::BTreeSet;

use crate::{addr::Prefix, cloud::AddressCount, id::EniId};

/// An operation under way, with what it takes to understand the answer.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Assign {
        eni: EniId,
        count: AddressCount,
    },
    Create {
        count: AddressCount,
    },
    Delete {
        eni: EniId,
    },
    /// `sequence`: mutations that had ended when it was asked for.
    Describe {
        sequence: u64,
    },
    SetUp {
        eni: EniId,
        sources: BTreeSet<Prefix>,
    },
    TearDown {
        eni: EniId,
    },
    Unassign {
        eni: EniId,
        cidrs: Vec<Prefix>,
    },
}
