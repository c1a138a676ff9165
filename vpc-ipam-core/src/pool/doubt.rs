//! Doubt in what a view of EC2 shows: it may be some seconds old.
//!
//! What the pool itself has given up is kept apart by [`Gone`](super::Gone). But an earlier life of the
//! node may have given something back a moment ago, and nobody knows what; the deletion of an ENI that
//! failed may have detached it, and a creation that failed may have been undone after the attachment.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Pool,
    inventory::{GONE_FOR, HINT_AGE_MIN},
};
use crate::{addr::Prefix, time::Time};

/// Least time before another look where the last one settled nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Pool {
    /// Something may have been taken from the node of which the pool does not know. For as long as views
    /// may show it, what is new in one is given to pods only once EC2 has shown it for a while.
    pub(super) fn doubt_what_comes(&mut self, now: Time) {
        self.doubtful_until = Some(now + GONE_FOR);
    }

    /// What the pool holds, if what a view of EC2 adds to it is in doubt.
    pub(super) fn beyond_doubt(&self, now: Time) -> Option<BTreeSet<Prefix>> {
        let doubtful = self.doubtful_until.is_some_and(|until| now < until);
        doubtful.then(|| self.owners.keys().copied().collect())
    }

    /// Doubts what a view of EC2 has added to `known`, except what pods have already.
    pub(super) fn doubt_all_but(&mut self, known: &BTreeSet<Prefix>, now: Time) {
        for eni in self.enis.values_mut() {
            let new = eni.cidrs().iter().filter(|(prefix, cidr)| {
                cidr.hinted.is_none() && cidr.slots.leased() == 0 && !known.contains(*prefix)
            });
            let new: Vec<Prefix> = new.map(|(prefix, _)| *prefix).collect();
            for prefix in new {
                eni.edit(&prefix, |c| (c.hinted, c.doubted) = (Some(now), true));
            }
        }
    }

    /// Sees to it that EC2 is asked again when that can end a doubt.
    pub(super) fn look_at_doubted(&mut self, now: Time) {
        let cidrs = self.enis.values().flat_map(|eni| eni.cidrs().values());
        let since = cidrs.filter(|cidr| cidr.doubted).filter_map(|cidr| cidr.hinted).min();
        if let Some(since) = since {
            self.describing.look_again((since + HINT_AGE_MIN).max(now + LOOK_AGAIN));
        }
    }

    /// True while pods must wait for EC2's word on something that it has shown.
    pub(super) fn doubts(&self) -> bool {
        self.enis.values().any(|eni| eni.cidrs().values().any(|cidr| cidr.doubted))
    }
}
