//! What is known of the addresses of one block, by their position in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{slots::Use, time::Time};

/// Largest block with a place for each address: a delegated prefix of IPv4.
const DENSE_MAX: u128 = u16::BITS as u128;

/// Dense for what EC2 delegates of IPv4, sparse for a `/80` of IPv6, which costs no more than its pods.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    Dense {
        places: Box<[Option<Use>]>,
        /// One bit for each address that is free since its last pod.
        rested: u16,
    },
    Sparse {
        used: BTreeMap<u128, Use>,
        /// By the time since when they are free.
        rested: BTreeSet<(Time, u128)>,
    },
}

impl Records {
    /// Of a block with `size` addresses.
    pub(crate) fn new(size: u128) -> Self {
        match usize::try_from(size) {
            Ok(places) if size <= DENSE_MAX => {
                Self::Dense { places: vec![None; places].into(), rested: 0 }
            }
            _ => Self::Sparse { used: BTreeMap::new(), rested: BTreeSet::new() },
        }
    }

    pub(crate) fn get(&self, n: u128) -> Option<&Use> {
        match self {
            Self::Dense { places, .. } => places.get(usize::try_from(n).ok()?)?.as_ref(),
            Self::Sparse { used, .. } => used.get(&n),
        }
    }

    /// Replaces the record of an address. `n` must lie in the block.
    pub(crate) fn set(&mut self, n: u128, record: Option<Use>) {
        match self {
            Self::Dense { places, rested } => {
                let place = usize::try_from(n).ok().and_then(|n| places.get_mut(n));
                if let Some(place) = place {
                    let bit = 1 << n;
                    let is_rested = matches!(record, Some(Use::Rested(_)));
                    *rested = if is_rested { *rested | bit } else { *rested & !bit };
                    *place = record;
                }
            }
            Self::Sparse { used, rested } => {
                if let Some(Use::Rested(since)) = record {
                    rested.insert((since, n));
                }
                let before = match record {
                    Some(record) => used.insert(n, record),
                    None => used.remove(&n),
                };
                if let Some(Use::Rested(since)) = before {
                    rested.remove(&(since, n));
                }
            }
        }
    }

    /// The address that has been free for longest since its last pod.
    pub(crate) fn first_rested(&self) -> Option<(Time, u128)> {
        match self {
            Self::Dense { places, rested } => all_in(*rested, places).min(),
            Self::Sparse { rested, .. } => rested.first().copied(),
        }
    }

    /// Addresses that are free since their last pod, that one first.
    pub(crate) fn all_rested(&self) -> Vec<(Time, u128)> {
        match self {
            Self::Dense { places, rested } => {
                let mut all: Vec<_> = all_in(*rested, places).collect();
                all.sort_unstable();
                all
            }
            Self::Sparse { rested, .. } => rested.iter().copied().collect(),
        }
    }

    /// All records in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, &Use)> {
        let (dense, sparse) = match self {
            Self::Dense { places, .. } => (Some(places.iter()), None),
            Self::Sparse { used, .. } => (None, Some(used.iter())),
        };
        let dense = (0..).zip(dense.into_iter().flatten());
        let dense = dense.filter_map(|(n, record)| Some((n, record.as_ref()?)));
        dense.chain(sparse.into_iter().flatten().map(|(n, record)| (*n, record)))
    }
}

/// The rested addresses of the bits in `rested`.
fn all_in(mut rested: u16, places: &[Option<Use>]) -> impl Iterator<Item = (Time, u128)> {
    std::iter::from_fn(move || {
        let n = rested.trailing_zeros();
        rested &= rested.wrapping_sub(1);
        match places.get(n as usize)? {
            Some(Use::Rested(since)) => Some((*since, n.into())),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_and_sparse_records_say_the_same() {
        let mut both = [Records::new(16), Records::new(17)];
        assert!(matches!(both, [Records::Dense { .. }, Records::Sparse { .. }]));
        let rested = |ms| Some(Use::Rested(Time::from_millis(ms)));
        for (n, record) in
            [(9, rested(3)), (2, rested(7)), (4, rested(3)), (9, rested(9)), (2, None)]
        {
            both.iter_mut().for_each(|records| records.set(n, record.clone()));
            let [dense, sparse] = &both;
            assert!(dense.iter().eq(sparse.iter()));
            assert_eq!(dense.first_rested(), sparse.first_rested());
            assert_eq!(dense.all_rested(), sparse.all_rested());
            assert_eq!(dense.get(n), sparse.get(n));
        }
        let at = |ms, n| (Time::from_millis(ms), n);
        assert_eq!(both.map(|records| records.all_rested()), [[at(3, 4), at(9, 9)]; 2]);
    }
}
