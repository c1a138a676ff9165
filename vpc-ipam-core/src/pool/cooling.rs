//! Addresses that rest after their pod has gone.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use super::lease::Place;
use crate::{addr::Prefix, lookup::Lookup, slots::Past, time::Time};

/// Blocks up to this size are searched address by address: a delegated prefix of IPv4.
const SEARCHED_MAX: u128 = 16;

/// In the order of release, which is the order in which rests end, and by address. Entries leave when
/// their rest is over, so there are no more of them than pods that went within one cooldown.
#[derive(Clone, Debug, Default)]
pub(super) struct Cooling {
    queue: VecDeque<Entry>,
    resting: Lookup<IpAddr, Arc<Past>>,
}

#[derive(Clone, Debug)]
struct Entry {
    ip: IpAddr,
    past: Arc<Past>,
    /// Where it was when it was released.
    place: Option<Place>,
}

impl Cooling {
    pub(super) fn push(&mut self, ip: IpAddr, past: Arc<Past>, place: Option<Place>) {
        if self.resting.insert(ip, Arc::clone(&past)).is_some() {
            // Another pod had it meanwhile: only the last rest counts.
            self.queue.retain(|entry| entry.ip != ip);
        }
        self.queue.push_back(Entry { ip, past, place });
    }

    /// When the address that has rested longest was released.
    pub(super) fn first(&self) -> Option<Time> {
        self.queue.front().map(|entry| entry.past.released)
    }

    /// Takes the address that has rested longest, if its time of release is `over`, with the place at
    /// which it was then.
    pub(super) fn pop(&mut self, over: impl Fn(Time) -> bool) -> Option<(IpAddr, Option<Place>)> {
        let entry = self.queue.pop_front_if(|entry| over(entry.past.released))?;
        self.resting.remove(&entry.ip);
        Some((entry.ip, entry.place))
    }

    /// Resting addresses in `cidr`.
    pub(super) fn within(&self, cidr: &Prefix) -> Vec<(IpAddr, Arc<Past>)> {
        if self.queue.is_empty() {
            return Vec::new();
        }
        if cidr.size() > SEARCHED_MAX {
            let inside = self.queue.iter().filter(|entry| cidr.contains(entry.ip));
            return inside.map(|entry| (entry.ip, Arc::clone(&entry.past))).collect();
        }
        let ips = (0..cidr.size()).filter_map(|n| cidr.nth(n));
        ips.filter_map(|ip| Some((ip, Arc::clone(self.resting.get(&ip)?)))).collect()
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.queue.iter().map(|entry| entry.ip)
    }
}
