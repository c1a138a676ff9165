//! Names and ids as a container runtime would give them, but the same for the same seed.

/// A small generator (SplitMix64) for ids: good enough to be unique, and repeatable.
#[derive(Clone, Debug)]
pub(crate) struct Ids(u64);

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A sandbox id in containerd's form: 64 hexadecimal digits.
    pub(crate) fn container_id(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next_u64())).collect()
    }

    /// A Kubernetes UID.
    pub(crate) fn uid(&mut self) -> String {
        let (a, b) = (self.next_u64(), self.next_u64());
        let (time_low, time_mid) = (a >> 32, (a >> 16) & 0xffff);
        let (version, variant) = ((a & 0xfff) | 0x4000, (b >> 48 & 0x3fff) | 0x8000);
        format!("{time_low:08x}-{time_mid:04x}-{version:04x}-{variant:04x}-{:012x}", b << 16 >> 16)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_repeatable_and_do_not_collide() {
        let (mut a, mut b) = (Ids::new(7), Ids::new(7));
        let ids: BTreeSet<_> = (0..1000).map(|_| a.container_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.contains(&b.container_id()));
        assert!(ids.iter().all(|id| id.len() == 64));
        assert_eq!(a.uid().len(), 36);
    }
}
