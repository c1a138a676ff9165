//! A map that can be asked, not walked.
//!
//! The pool's answers must not depend on the order of a hash table, so this one does not let anyone see
//! it. Its hash is fixed and quick, not secret: keys are sandboxes and addresses of this node, chosen by
//! its container runtime and by EC2. Whoever could choose them to collide owns the node already.

use std::{
    borrow::Borrow,
    hash::{BuildHasherDefault, Hash, Hasher},
};

#[expect(clippy::disallowed_types, reason = "lookups only: no order is ever seen")]
type Table<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<NodeHasher>>;

/// From keys to values in constant time, without any order.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<K, V>(Table<K, V>);

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Returns what was there before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }
}

/// Multiplies eight bytes at a time, and folds the upper half of the product into the lower one: an
/// IPv6 address differs from its neighbour in the last byte alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeHasher(u64);

impl Default for NodeHasher {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl NodeHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xE703_7ED1_A0B4_28DB_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for NodeHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let word =
                rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte));
            self.add(word);
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.add(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.add(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.add(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash of a text that is hashed once and kept.
pub(crate) fn hash_of(bytes: &[u8]) -> u32 {
    let mut hasher = NodeHasher::default();
    hasher.write(bytes);
    (hasher.finish() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::IpAddr};

    use super::*;

    #[test]
    fn what_was_put_in_last_is_found() {
        let mut lookup = Lookup::default();
        assert_eq!(lookup.insert("a", 1), None);
        assert_eq!(lookup.insert("a", 2), Some(1));
        assert_eq!((lookup.get("a"), lookup.get("b")), (Some(&2), None));
        assert_eq!((lookup.remove(&"a"), lookup.contains_key(&"a")), (Some(2), false));
    }

    /// Buckets are chosen by the lowest bits, and within them by the highest seven.
    fn buckets(hashes: impl Iterator<Item = u64>) -> BTreeSet<(u64, u64)> {
        hashes.map(|hash| (hash & 0xfff, hash >> 57)).collect()
    }

    #[test]
    fn neighbouring_addresses_and_similar_names_are_spread() {
        let hash = |ip: IpAddr| {
            let mut hasher = NodeHasher::default();
            ip.hash(&mut hasher);
            hasher.finish()
        };
        let v4 = buckets((0..4096u32).map(|n| hash(IpAddr::from((10 << 24 | n).to_be_bytes()))));
        let v6 =
            buckets((0..4096u128).map(|n| hash(IpAddr::from((0x2001 << 112 | n).to_be_bytes()))));
        assert!(v4.len() > 4000 && v6.len() > 4000, "{} and {} of 4096", v4.len(), v6.len());
        let ids: BTreeSet<u32> =
            (0..4096).map(|n| hash_of(format!("aws-cni{n:064x}eth0").as_bytes())).collect();
        assert_eq!(ids.len(), 4096);
    }
}
