//! Address space of a subnet: which addresses are free, and how the next one is chosen.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::ids::Random;
use crate::addr::{DELEGATED_V4_LEN, DELEGATED_V6_LEN, Prefix};

/// Addresses per delegated IPv4 prefix, and bits per word of the map.
const BLOCK: u32 = 16;
/// Network, router, DNS and one for later: EC2 keeps the first four addresses of each subnet.
const RESERVED_LOW: u32 = 4;
/// Largest and smallest subnet that EC2 allows.
const SUBNET_LEN: std::ops::RangeInclusive<u8> = 16..=28;
/// Single IPv6 addresses start here, clear of those that EC2 keeps.
const V6_FIRST: u64 = 0x10;
/// `/80` blocks of a `/64`. Block 0 holds the single addresses.
const V6_BLOCKS: u32 = 1 << 16;

/// How EC2 picks the next free address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Allocation {
    /// The lowest: easy to follow, and it keeps whole blocks free for prefixes.
    #[default]
    LowestFree,
    /// Any: what EC2 does, and what fragments a subnet.
    Scattered,
}

/// The IPv4 addresses of one subnet.
#[derive(Clone, Debug)]
pub(super) struct Ipv4Space {
    base: u32,
    /// One word per /28; a set bit is a taken address.
    blocks: Vec<u16>,
    free: u32,
    /// Set aside: taken by no interface.
    reserved: BTreeSet<u32>,
}

impl Ipv4Space {
    /// `None` for a block that EC2 would not accept as a subnet.
    pub(super) fn new(cidr: Prefix) -> Option<Self> {
        let IpAddr::V4(base) = cidr.base() else { return None };
        if !SUBNET_LEN.contains(&cidr.len()) {
            return None;
        }
        let size = u32::try_from(cidr.size()).ok()?;
        let count = usize::try_from(size / BLOCK).ok()?;
        let mut space = Self {
            base: base.to_bits(),
            blocks: vec![0; count],
            free: size,
            reserved: BTreeSet::new(),
        };
        for offset in (0..RESERVED_LOW).chain([size - 1]) {
            space.take_offset(offset);
        }
        Some(space)
    }

    /// Free addresses, whether or not a prefix would fit.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// Aligned blocks without a taken address.
    pub(super) fn free_blocks(&self) -> usize {
        self.blocks.iter().filter(|b| **b == 0).count()
    }

    /// Sets that very address aside; false if it is taken or lies elsewhere.
    pub(super) fn reserve(&mut self, ip: Ipv4Addr) -> bool {
        ip.to_bits().checked_sub(self.base).is_some_and(|offset| self.reserve_offset(offset))
    }

    /// Takes that very address; false if it is taken or lies elsewhere.
    pub(super) fn take_given(&mut self, ip: Ipv4Addr) -> bool {
        ip.to_bits().checked_sub(self.base).is_some_and(|offset| self.take_offset(offset))
    }

    /// Takes that very block; false if any of its addresses is taken, or lies elsewhere.
    pub(super) fn take_given_prefix(&mut self, prefix: Prefix) -> bool {
        let IpAddr::V4(base) = prefix.base() else { return false };
        let Some(offset) = base.to_bits().checked_sub(self.base) else { return false };
        match self.word(offset) {
            Some(word) if *word == 0 => *word = u16::MAX,
            _ => return false,
        }
        self.free = self.free.saturating_sub(BLOCK);
        true
    }

    /// Sets one address of each free block aside, and then more, up to `singles` free ones.
    pub(super) fn fragment(&mut self, singles: u32) {
        let count = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        // The middle of a block first, so that no half of it is left whole.
        for bit in (BLOCK / 2..BLOCK).chain(0..BLOCK / 2) {
            for block in 0..count {
                let whole = self.word(block * BLOCK).is_some_and(|word| *word == 0);
                if whole || self.free > singles {
                    self.reserve_offset(block * BLOCK + bit);
                }
            }
        }
    }

    /// Gives addresses set aside back, until `wanted` more blocks are free.
    pub(super) fn defragment(&mut self, wanted: usize) -> usize {
        let mut freed = 0;
        let count = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        for block in 0..count {
            let ours: Vec<u32> =
                self.reserved.range(block * BLOCK..(block + 1) * BLOCK).copied().collect();
            let mask = ours.iter().fold(0, |mask, offset| mask | 1 << (offset % BLOCK));
            let all_ours = self.word(block * BLOCK).is_some_and(|word| *word == mask);
            if freed < wanted && !ours.is_empty() && all_ours {
                for offset in ours {
                    self.reserved.remove(&offset);
                    self.release(Ipv4Addr::from_bits(self.base + offset));
                }
                freed += 1;
            }
        }
        freed
    }

    /// Takes a free address.
    pub(super) fn take_any(&mut self, how: Allocation, random: &mut Random) -> Option<Ipv4Addr> {
        let start = self.start(how, random);
        let n = self.find_from(start, |b| b != u16::MAX)?;
        let word = *self.blocks.get(n)?;
        let bit = match how {
            Allocation::LowestFree => word.trailing_ones(),
            Allocation::Scattered => {
                let first = u32::try_from(random.below(16)).unwrap_or(0);
                (first..BLOCK).chain(0..first).find(|bit| word & (1 << bit) == 0)?
            }
        };
        let offset = u32::try_from(n).ok()? * BLOCK + bit;
        self.take_offset(offset).then(|| Ipv4Addr::from_bits(self.base + offset))
    }

    /// Takes a free aligned /28.
    pub(super) fn take_prefix(&mut self, how: Allocation, random: &mut Random) -> Option<Prefix> {
        let start = self.start(how, random);
        let n = self.find_from(start, |b| b == 0)?;
        *self.blocks.get_mut(n)? = u16::MAX;
        self.free = self.free.saturating_sub(BLOCK);
        let base = Ipv4Addr::from_bits(self.base + u32::try_from(n).ok()? * BLOCK);
        Prefix::new(base.into(), DELEGATED_V4_LEN).ok()
    }

    /// Gives an address back.
    pub(super) fn release(&mut self, ip: Ipv4Addr) {
        let Some(offset) = ip.to_bits().checked_sub(self.base) else { return };
        if let Some(word) = self.word(offset) {
            let mask = 1 << (offset % BLOCK);
            if *word & mask != 0 {
                *word &= !mask;
                self.free += 1;
            }
        }
    }

    /// Gives a /28 back.
    pub(super) fn release_prefix(&mut self, prefix: Prefix) {
        for n in 0..prefix.size().min(u128::from(BLOCK)) {
            if let Some(IpAddr::V4(ip)) = prefix.nth(n) {
                self.release(ip);
            }
        }
    }

    fn start(&self, how: Allocation, random: &mut Random) -> usize {
        match how {
            Allocation::LowestFree => 0,
            Allocation::Scattered => random.below(self.blocks.len()),
        }
    }

    /// The first block at or after `start`, wrapping around, that `fits`.
    fn find_from(&self, start: usize, fits: impl Fn(u16) -> bool) -> Option<usize> {
        let count = self.blocks.len();
        (start..count)
            .chain(0..start.min(count))
            .find(|n| self.blocks.get(*n).is_some_and(|b| fits(*b)))
    }

    fn word(&mut self, offset: u32) -> Option<&mut u16> {
        self.blocks.get_mut(usize::try_from(offset / BLOCK).ok()?)
    }

    fn reserve_offset(&mut self, offset: u32) -> bool {
        self.take_offset(offset) && self.reserved.insert(offset)
    }

    fn take_offset(&mut self, offset: u32) -> bool {
        let mask = 1 << (offset % BLOCK);
        match self.word(offset) {
            Some(word) if *word & mask == 0 => {
                *word |= mask;
                self.free = self.free.saturating_sub(1);
                true
            }
            _ => false,
        }
    }
}

/// The IPv6 addresses of one subnet.
#[derive(Clone, Debug)]
pub(super) struct Ipv6Space {
    base: u128,
    taken: BTreeSet<u64>,
    taken_blocks: BTreeSet<u32>,
}

impl Ipv6Space {
    /// `None` unless `cidr` is an IPv6 /64.
    pub(super) fn new(cidr: Prefix) -> Option<Self> {
        match cidr.base() {
            IpAddr::V6(base) if cidr.len() == 64 => Some(Self {
                base: base.to_bits(),
                taken: BTreeSet::new(),
                taken_blocks: BTreeSet::new(),
            }),
            _ => None,
        }
    }

    /// Takes the lowest free address.
    pub(super) fn take_any(&mut self) -> Ipv6Addr {
        // Addresses that are held cannot fill 2^48 numbers.
        let mut n = V6_FIRST;
        while !self.taken.insert(n) {
            n += 1;
        }
        Ipv6Addr::from_bits(self.base + u128::from(n))
    }

    /// Takes the lowest free /80.
    pub(super) fn take_prefix(&mut self) -> Option<Prefix> {
        let n = (1..V6_BLOCKS).find(|n| !self.taken_blocks.contains(n))?;
        self.taken_blocks.insert(n);
        let base = Ipv6Addr::from_bits(self.base + (u128::from(n) << 48));
        Prefix::new(base.into(), DELEGATED_V6_LEN).ok()
    }

    /// Gives an address back.
    pub(super) fn release(&mut self, ip: Ipv6Addr) {
        if let Some(n) = ip.to_bits().checked_sub(self.base).and_then(|n| u64::try_from(n).ok()) {
            self.taken.remove(&n);
        }
    }

    /// Gives a /80 back.
    pub(super) fn release_prefix(&mut self, prefix: Prefix) {
        if let IpAddr::V6(base) = prefix.base()
            && let Some(offset) = base.to_bits().checked_sub(self.base)
            && let Ok(n) = u32::try_from(offset >> 48)
        {
            self.taken_blocks.remove(&n);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn space(cidr: &str) -> Ipv4Space {
        Ipv4Space::new(cidr.parse().unwrap()).unwrap()
    }

    #[test]
    fn five_addresses_of_each_subnet_are_never_given() {
        for how in [Allocation::LowestFree, Allocation::Scattered] {
            let mut space = space("10.0.0.0/28");
            let mut random = Random::new(1);
            assert_eq!(space.free(), 11);
            let mut got: Vec<_> = std::iter::from_fn(|| space.take_any(how, &mut random)).collect();
            if how == Allocation::Scattered {
                got.sort();
            }
            let want: Vec<Ipv4Addr> = (4..15).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
            assert_eq!(got, want);
            assert_eq!(space.free(), 0);
        }
    }

    #[test]
    fn a_prefix_is_aligned_and_keeps_out_of_blocks_in_use() {
        let mut space = space("10.0.0.0/26");
        let mut random = Random::new(1);
        assert!(space.reserve("10.0.0.16".parse().unwrap()));
        let first = space.take_prefix(Allocation::LowestFree, &mut random).unwrap();
        assert_eq!(first.to_string(), "10.0.0.32/28");
        // Block 0 and 3 hold reserved addresses, block 1 the one taken above.
        assert_eq!(space.take_prefix(Allocation::LowestFree, &mut random), None);
        assert_eq!(space.free(), 64 - 5 - 1 - 16);
        space.release_prefix(first);
        assert_eq!(space.free_blocks(), 1);
        assert!(space.reserve("10.0.0.33".parse().unwrap()));
    }

    #[test]
    fn giving_back_twice_counts_once() {
        let mut space = space("10.0.0.0/28");
        let ip = "10.0.0.9".parse().unwrap();
        assert!(space.reserve(ip));
        space.release(ip);
        space.release(ip);
        assert_eq!(space.free(), 11);
        assert!(!space.reserve("10.0.1.9".parse().unwrap()));
    }

    #[test]
    fn sizes_that_ec2_refuses_are_refused() {
        for bad in ["10.0.0.0/29", "10.0.0.0/15", "2001:db8::/64"] {
            assert!(Ipv4Space::new(bad.parse().unwrap()).is_none(), "{bad}");
        }
    }

    #[test]
    fn ipv6_blocks_are_reused_and_apart_from_addresses() {
        let mut space = Ipv6Space::new("2001:db8::/64".parse().unwrap()).unwrap();
        let ip = space.take_any();
        let first = space.take_prefix().unwrap();
        assert!(!first.contains(ip.into()));
        let second = space.take_prefix().unwrap();
        assert_ne!(first, second);
        space.release_prefix(first);
        assert_eq!(space.take_prefix(), Some(first));
        space.release(ip);
        assert_eq!(space.take_any(), ip);
    }
}
