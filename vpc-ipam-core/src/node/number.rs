//! Numbers of operations: each pool counts for itself, the node counts its own, and all of them are
//! different to the outside.

use crate::id::OpId;

/// What a number of the node stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Meaning {
    /// The node's own.
    Own,
    /// An operation of the pool at this position, under the pool's number.
    Pool(usize, OpId),
}

/// A pool's number times the number of counters, plus which counter it is: nothing has to be
/// remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pools: u64,
    next: u64,
}

impl Numbers {
    pub(super) fn new(pools: usize) -> Self {
        Self { pools: u64::try_from(pools).unwrap_or(u64::MAX), next: 1 }
    }

    fn counters(self) -> u64 {
        self.pools.saturating_add(1)
    }

    /// A number for something of the node's own.
    pub(super) fn own(&mut self) -> OpId {
        let op = OpId(self.next.saturating_mul(self.counters()).saturating_add(self.pools));
        self.next = self.next.saturating_add(1);
        op
    }

    /// The node's number of an operation of the `n`-th pool.
    pub(super) fn of_pool(self, n: usize, op: OpId) -> OpId {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        OpId(op.0.saturating_mul(self.counters()).saturating_add(n))
    }

    pub(super) fn meaning(self, op: OpId) -> Meaning {
        let (op, counter) = (op.0 / self.counters(), op.0 % self.counters());
        match usize::try_from(counter) {
            Ok(n) if counter < self.pools => Meaning::Pool(n, OpId(op)),
            _ => Meaning::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_meaning() {
        let mut numbers = Numbers::new(3);
        let own: Vec<OpId> = (0..5).map(|_| numbers.own()).collect();
        assert!(own.windows(2).all(|pair| pair.first() < pair.last()), "{own:?}");
        for op in own {
            assert_eq!(numbers.meaning(op), Meaning::Own);
        }
        for n in 0..3 {
            for op in [1, 2, 7_000_000].map(OpId) {
                let number = numbers.of_pool(n, op);
                assert_eq!(numbers.meaning(number), Meaning::Pool(n, op));
            }
        }
    }
}
