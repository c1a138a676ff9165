//! Addresses that rest after their pod has gone.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{addr::Prefix, slots::Past, time::Time};

/// By the time of release, and by address. Entries leave when their rest is over, so there are no
/// more of them than pods that went within one cooldown.
#[derive(Clone, Debug, Default)]
pub(super) struct Cooling {
    queue: BTreeMap<(Time, IpAddr), Past>,
    since: BTreeMap<IpAddr, Time>,
}

impl Cooling {
    pub(super) fn push(&mut self, ip: IpAddr, past: Past) {
        if let Some(before) = self.since.insert(ip, past.released) {
            self.queue.remove(&(before, ip));
        }
        self.queue.insert((past.released, ip), past);
    }

    /// When the address that has rested longest was released.
    pub(super) fn first(&self) -> Option<Time> {
        self.queue.keys().next().map(|(released, _)| *released)
    }

    /// Takes the address that has rested longest, if its time of release is `over`.
    pub(super) fn pop(&mut self, over: impl Fn(Time) -> bool) -> Option<IpAddr> {
        let entry = self.queue.first_entry().filter(|entry| over(entry.key().0))?;
        let (_, ip) = *entry.key();
        entry.remove();
        self.since.remove(&ip);
        Some(ip)
    }

    /// Resting addresses in `cidr`.
    pub(super) fn within(&self, cidr: &Prefix) -> Vec<(IpAddr, Past)> {
        let last = cidr.nth(cidr.size().saturating_sub(1)).unwrap_or(cidr.base());
        let resting = self.since.range(cidr.base()..=last);
        resting
            .filter_map(|(ip, since)| Some((*ip, self.queue.get(&(*since, *ip))?.clone())))
            .collect()
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.since.keys().copied()
    }
}
