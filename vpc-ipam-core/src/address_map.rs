//! A map in the order of addresses.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use crate::addr::Prefix;

/// From addresses to values. Integers are compared several times faster than [`IpAddr`]s.
#[derive(Clone, Debug)]
pub(crate) struct AddressMap<V> {
    v4: BTreeMap<u32, V>,
    v6: BTreeMap<u128, V>,
}

impl<V> Default for AddressMap<V> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<V> AddressMap<V> {
    /// Adds a value; false if its address has one.
    pub(crate) fn insert(&mut self, ip: IpAddr, value: V) -> bool {
        match ip {
            IpAddr::V4(ip) => insert(&mut self.v4, ip.to_bits(), value),
            IpAddr::V6(ip) => insert(&mut self.v6, ip.to_bits(), value),
        }
    }

    pub(crate) fn remove(&mut self, ip: IpAddr) -> Option<V> {
        match ip {
            IpAddr::V4(ip) => self.v4.remove(&ip.to_bits()),
            IpAddr::V6(ip) => self.v6.remove(&ip.to_bits()),
        }
    }

    /// All values, IPv4 first.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.v4.values().chain(self.v6.values())
    }

    /// Values of the addresses in `cidr`.
    pub(crate) fn within(&self, cidr: &Prefix) -> impl Iterator<Item = &V> {
        let last = cidr.nth(cidr.size().saturating_sub(1)).unwrap_or(cidr.base());
        let (v4, v6) = match (cidr.base(), last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (Some(self.v4.range(first.to_bits()..=last.to_bits())), None)
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                (None, Some(self.v6.range(first.to_bits()..=last.to_bits())))
            }
            _ => (None, None),
        };
        let v4 = v4.into_iter().flatten().map(|(_, value)| value);
        v4.chain(v6.into_iter().flatten().map(|(_, value)| value))
    }
}

fn insert<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    match map.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
            true
        }
        Entry::Occupied(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_order_is_that_of_addresses() {
        let ips =
            ["::1", "10.0.0.9", "2001:db8::", "10.0.0.16", "9.255.255.255", "10.0.0.31", "::"];
        let mut ips = ips.map(|ip| ip.parse::<IpAddr>().expect("valid"));
        let mut map = AddressMap::default();
        for ip in ips {
            assert!(map.insert(ip, ip));
        }
        ips.sort();
        assert!(map.values().eq(&ips));
        for cidr in ["10.0.0.16/28", "::/127", "0.0.0.0/0", "::/0", "10.0.0.9/32", "8.0.0.0/8"] {
            let cidr: Prefix = cidr.parse().expect("valid");
            let inside = ips.iter().filter(|ip| cidr.contains(**ip));
            assert!(map.within(&cidr).eq(inside), "{cidr}");
        }
        assert!(!map.insert(ips[0], ips[1]), "taken");
        assert_eq!(map.remove(ips[0]), Some(ips[0]));
        assert_eq!(map.remove(ips[0]), None);
    }
}
