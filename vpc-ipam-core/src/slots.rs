//! The addresses of one secondary address or prefix: which are leased, resting or free.

use std::{net::IpAddr, sync::Arc};

use crate::{
    addr::Prefix,
    id::{PodRef, SandboxKey},
    records::Records,
    time::Time,
};

/// What is remembered of an address after its pod has gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Past {
    pub(crate) pod: PodRef,
    pub(crate) assigned: Time,
    pub(crate) released: Time,
}

/// An address that is or was somebody's. An address without a record was never used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    Leased(SandboxKey),
    /// Cooling: too early for another pod.
    Resting(Arc<Past>),
    /// Free since then, but for its rest.
    Rested(Time),
}

/// How good the next free address is; the smaller, the sooner it is taken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rank {
    /// Never used.
    Fresh,
    /// Used before, and free since then.
    Rested(Time),
}

/// Which address of a block is next, and who has the others.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    cidr: Prefix,
    records: Records,
    /// No address below this one is without a record.
    fresh: u128,
    leased: u64,
    resting: u64,
}

impl Slots {
    pub(crate) fn new(cidr: Prefix) -> Self {
        Self { cidr, records: Records::new(cidr.size()), fresh: 0, leased: 0, resting: 0 }
    }

    /// Number of addresses, saturating for IPv6 blocks shorter than `/64`.
    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.cidr.size()).unwrap_or(u64::MAX)
    }

    pub(crate) fn leased(&self) -> u64 {
        self.leased
    }

    pub(crate) fn resting(&self) -> u64 {
        self.resting
    }

    /// The address that the next pod gets: the lowest one never used, else the one that has been
    /// free for longest.
    pub(crate) fn next(&self) -> Option<(Rank, IpAddr)> {
        if let Some(ip) = self.cidr.nth(self.fresh) {
            return Some((Rank::Fresh, ip));
        }
        let (released, n) = self.records.first_rested()?;
        Some((Rank::Rested(released), self.cidr.nth(n)?))
    }

    /// All free addresses, roughly in the order in which pods get them.
    pub(crate) fn free_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let fresh = (self.fresh..self.cidr.size()).filter(|n| self.records.get(*n).is_none());
        let rested = self.records.all_rested().into_iter().map(|(_, n)| n);
        fresh.chain(rested).filter_map(|n| self.cidr.nth(n))
    }

    /// Records a lease. False if the address lies outside or is leased already.
    pub(crate) fn lease(&mut self, ip: IpAddr, key: SandboxKey) -> bool {
        let Some(n) = self.cidr.index_of(ip) else { return false };
        match self.records.get(n) {
            Some(Use::Leased(_)) => return false,
            Some(Use::Resting(_)) => self.resting = self.resting.saturating_sub(1),
            Some(Use::Rested(_)) | None => {}
        }
        self.records.set(n, Some(Use::Leased(key)));
        self.leased = self.leased.saturating_add(1);
        self.skip_used();
        true
    }

    /// Ends a lease: the address rests, or, if no pod ever learnt of it, is as if never used.
    pub(crate) fn free(&mut self, ip: IpAddr, past: Option<Arc<Past>>) {
        let Some(n) = self.cidr.index_of(ip) else { return };
        if !matches!(self.records.get(n), Some(Use::Leased(_))) {
            return;
        }
        self.leased = self.leased.saturating_sub(1);
        if past.is_some() {
            self.resting = self.resting.saturating_add(1);
        } else {
            self.fresh = self.fresh.min(n);
        }
        self.records.set(n, past.map(Use::Resting));
    }

    /// Lets an address rest that was released before this block was known.
    pub(crate) fn rest(&mut self, ip: IpAddr, past: Arc<Past>) {
        let unused = |n: &u128| self.records.get(*n).is_none();
        let Some(n) = self.cidr.index_of(ip).filter(unused) else { return };
        self.records.set(n, Some(Use::Resting(past)));
        self.resting = self.resting.saturating_add(1);
        self.skip_used();
    }

    fn skip_used(&mut self) {
        while self.records.get(self.fresh).is_some() {
            self.fresh = self.fresh.saturating_add(1);
        }
    }

    /// Ends the rest of an address.
    pub(crate) fn rest_over(&mut self, ip: IpAddr) {
        let Some(n) = self.cidr.index_of(ip) else { return };
        if let Some(Use::Resting(past)) = self.records.get(n) {
            let released = past.released;
            self.records.set(n, Some(Use::Rested(released)));
            self.resting = self.resting.saturating_sub(1);
        }
    }

    /// All addresses with a record, in order.
    pub(crate) fn used(&self) -> impl Iterator<Item = (IpAddr, &Use)> {
        self.records.iter().filter_map(|(n, record)| Some((self.cidr.nth(n)?, record)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(n: u32) -> SandboxKey {
        SandboxKey::new("aws-cni", &format!("c{n}"), "eth0").unwrap()
    }

    fn past(released: u64) -> Arc<Past> {
        let released = Time::from_millis(released);
        Arc::new(Past { pod: PodRef::default(), assigned: Time::ZERO, released })
    }

    fn take(slots: &mut Slots, n: u32) -> IpAddr {
        let (_, ip) = slots.next().unwrap();
        assert!(slots.lease(ip, key(n)));
        ip
    }

    #[test]
    fn all_sixteen_addresses_of_a_prefix_are_given_lowest_first() {
        let mut slots = Slots::new("10.0.0.16/28".parse().unwrap());
        let given: Vec<String> = (0..16).map(|n| take(&mut slots, n).to_string()).collect();
        assert_eq!(given.first().unwrap(), "10.0.0.16");
        assert_eq!(given.last().unwrap(), "10.0.0.31");
        assert_eq!(slots.next(), None);
    }

    #[test]
    fn never_used_addresses_come_before_those_that_rested_longest() {
        let mut slots = Slots::new("10.0.0.0/30".parse().unwrap());
        let ips: Vec<IpAddr> = (0..4).map(|n| take(&mut slots, n)).collect();
        slots.free(*ips.get(2).unwrap(), Some(past(20)));
        slots.free(*ips.first().unwrap(), Some(past(30)));
        assert_eq!(slots.next(), None, "both still rest");
        slots.rest_over(*ips.first().unwrap());
        slots.rest_over(*ips.get(2).unwrap());
        assert_eq!(
            slots.next().unwrap(),
            (Rank::Rested(Time::from_millis(20)), *ips.get(2).unwrap())
        );
        slots.free(*ips.get(3).unwrap(), None);
        assert_eq!(slots.next().unwrap(), (Rank::Fresh, *ips.get(3).unwrap()), "undone, so as new");
    }

    #[test]
    fn a_restored_lease_in_the_middle_is_skipped() {
        let mut slots = Slots::new("2001:db8::/80".parse().unwrap());
        assert!(slots.lease("2001:db8::1".parse().unwrap(), key(9)));
        assert!(!slots.lease("2001:db8::1".parse().unwrap(), key(8)), "leased twice");
        assert!(!slots.lease("2001:db8:1::1".parse().unwrap(), key(8)), "outside");
        assert_eq!(take(&mut slots, 0).to_string(), "2001:db8::");
        assert_eq!(take(&mut slots, 1).to_string(), "2001:db8::2");
        assert_eq!(slots.leased(), 3);
    }
}
