//! Sums over the CIDRs of an ENI.

use crate::{
    addr::Prefix,
    eni::{Cidr, Duty},
};

/// Sums over CIDRs. Serving ones are confirmed, of the current allocation mode, and on an ENI that
/// serves new pods.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    /// CIDRs that take a slot.
    pub(crate) slots: u64,
    pub(crate) entries: u64,
    pub(crate) unleased: u64,
    pub(crate) total: u64,
    pub(crate) assigned: u64,
    pub(crate) cooling: u64,
    /// Serving CIDRs that the host does not know yet, or that EC2 has not confirmed.
    pub(crate) unready: u64,
    /// Single addresses that stand in for prefixes.
    pub(crate) singles: u64,
    pub(crate) singles_assigned: u64,
    pub(crate) singles_cooling: u64,
    /// Confirmed CIDRs without lease or resting address that serve nobody and may go back to EC2.
    pub(crate) foreign_idle: u64,
    /// Leases in any CIDR.
    pub(crate) leased: u64,
    /// Resting addresses in any CIDR.
    pub(crate) resting: u64,
    /// Leases in CIDRs that the cloud does not show.
    pub(crate) orphaned: u64,
}

impl Tally {
    pub(crate) fn of(cidr: &Cidr, prefix: &Prefix, duty: Duty) -> Self {
        let (leased, resting) = (cidr.slots.leased(), cidr.slots.resting());
        let mut tally = Self { leased, resting, ..Self::default() };
        if !cidr.confirmed {
            tally.orphaned = leased;
            return tally;
        }
        tally.slots = 1;
        if duty.serves(prefix) {
            tally.entries = 1;
            tally.unleased = u64::from(leased == 0);
            tally.total = cidr.slots.size();
            tally.assigned = leased;
            tally.cooling = resting;
            tally.unready = u64::from(!cidr.ready || cidr.hinted.is_some());
        } else if duty.stands_in(prefix) {
            tally.singles = 1;
            tally.singles_assigned = leased;
            tally.singles_cooling = resting;
            tally.unready = u64::from(!cidr.ready || cidr.hinted.is_some());
        } else if duty.standing.shrinks() {
            tally.foreign_idle = u64::from(leased + resting == 0);
        }
        tally
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.replace(Self::default(), other);
    }

    pub(crate) fn sub(&mut self, other: Self) {
        self.replace(other, Self::default());
    }

    /// Takes `after` in place of `before`, which it contains.
    pub(crate) fn replace(&mut self, before: Self, after: Self) {
        macro_rules! each { ($($sum:ident)*) => {
            $(self.$sum = self.$sum.wrapping_add(after.$sum).wrapping_sub(before.$sum);)*
        } }
        each!(slots entries unleased total assigned cooling unready singles singles_assigned);
        each!(singles_cooling foreign_idle leased resting orphaned);
    }
}
