//! Seeded ids and MAC addresses in EC2's form.

use std::str::FromStr;

use crate::id::MacAddr;

/// SplitMix64: tiny, seedable, and good enough to make ids that look like EC2's.
#[derive(Clone, Debug)]
pub(in crate::testkit) struct Random(u64);

impl Random {
    pub(in crate::testkit) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::testkit) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// `<prefix>0` and sixteen hexadecimal digits, as EC2 makes them. A 64-bit counter through a
    /// bijection never repeats, so neither do the ids of one world.
    pub(super) fn id_text(&mut self, prefix: &str) -> String {
        format!("{prefix}0{:016x}", self.next())
    }

    /// An id of type `T`.
    pub(super) fn id<T: FromStr>(&mut self, prefix: &str) -> T {
        // The text always has the form; should a type ever ask for more, the next number may do.
        loop {
            if let Ok(id) = self.id_text(prefix).parse() {
                return id;
            }
        }
    }

    /// A locally administered unicast MAC, as EC2 gives ENIs.
    pub(super) fn mac(&mut self) -> MacAddr {
        let [_, _, _, b, c, d, e, f] = self.next().to_be_bytes();
        MacAddr([0x02, b, c, d, e, f])
    }
}
