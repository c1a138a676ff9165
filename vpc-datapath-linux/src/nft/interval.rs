//! Intervals of addresses, which interval sets keep as pairs of elements.

use std::net::{IpAddr, Ipv4Addr};

use vpc_ipam_core::addr::Prefix;

use super::{
    expr::Verdict,
    set::{Element, successor},
};

/// An interval of IPv4 addresses in a set or map, both ends included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interval {
    /// First address.
    pub first: Ipv4Addr,
    /// Last address.
    pub last: Ipv4Addr,
    /// What a map has for it.
    pub verdict: Option<Verdict>,
}

impl Interval {
    /// The interval as a prefix, if it is one.
    pub fn prefix(&self) -> Option<Prefix> {
        let size = u64::from(self.last.to_bits()) - u64::from(self.first.to_bits()) + 1;
        let len = u8::try_from(32 - size.checked_ilog2()?).ok()?;
        let prefix = Prefix::new(IpAddr::V4(self.first), len).ok()?;
        (size.is_power_of_two() && prefix.base() == self.first).then_some(prefix)
    }

    /// True if any address of `prefix` is in it.
    pub fn overlaps(&self, prefix: &Prefix) -> bool {
        let IpAddr::V4(base) = prefix.base() else { return false };
        let last = u64::from(base.to_bits()) + u64::try_from(prefix.size()).unwrap_or(0) - 1;
        u64::from(self.first.to_bits()) <= last && base.to_bits() <= self.last.to_bits()
    }

    /// The elements that it consists of.
    pub fn elements(&self) -> Vec<Element> {
        let verdict = self.verdict.clone();
        let mut all = vec![Element { verdict, ..Element::key(self.first.octets().to_vec()) }];
        if let Some(key) = successor(&self.last.octets()) {
            all.push(Element { interval_end: true, ..Element::key(key) });
        }
        all
    }

    /// Intervals of a set of IPv4 addresses, in order, from the elements that the kernel lists.
    pub fn of_elements(elements: &[Element]) -> Vec<Self> {
        let mut points: Vec<_> = elements
            .iter()
            .filter_map(|e| {
                let key = u32::from_be_bytes(*e.key.first_chunk::<4>()?);
                // An end sorts before a start at the same key.
                Some((key, !e.interval_end, &e.verdict))
            })
            .collect();
        points.sort_by_key(|(key, is_start, _)| (*key, *is_start));
        let mut all: Vec<Self> = Vec::new();
        let mut open: Option<(u32, Option<Verdict>)> = None;
        for (key, is_start, verdict) in points {
            if let Some((first, verdict)) = open.take() {
                all.push(Self { first: first.into(), last: key.saturating_sub(1).into(), verdict });
            }
            if is_start {
                open = Some((key, verdict.clone()));
            }
        }
        if let Some((first, verdict)) = open {
            all.push(Self { first: first.into(), last: Ipv4Addr::BROADCAST, verdict });
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prefix(s: &str) -> Prefix {
        s.parse().unwrap()
    }

    #[test]
    fn intervals_survive_the_round_trip_in_any_order() {
        let wanted =
            ["10.0.1.64/28", "10.0.1.50/32", "10.0.1.51/32", "255.255.255.0/24", "0.0.0.0/8"];
        let mut elements: Vec<_> =
            wanted.iter().flat_map(|p| Element::of_prefix(&prefix(p), None)).collect();
        elements.reverse();
        let mut got: Vec<_> =
            Interval::of_elements(&elements).iter().map(|i| i.prefix().unwrap()).collect();
        let mut wanted: Vec<_> = wanted.iter().map(|p| prefix(p)).collect();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted);
    }

    #[test]
    fn everything_is_one_interval_without_end() {
        let elements = Element::of_prefix(&prefix("0.0.0.0/0"), None);
        assert_eq!(elements.len(), 1);
        assert_eq!(Interval::of_elements(&elements)[0].prefix(), Some(prefix("0.0.0.0/0")));
    }

    #[test]
    fn an_interval_that_is_no_prefix_says_so() {
        let i = Interval { first: [10, 0, 0, 1].into(), last: [10, 0, 0, 2].into(), verdict: None };
        assert_eq!(i.prefix(), None);
        assert!(i.overlaps(&prefix("10.0.0.2/32")));
        assert!(!i.overlaps(&prefix("10.0.0.3/32")));
    }
}
