//! The pools, lowest card first. There is always one.

use crate::pool::Pool;

#[derive(Debug)]
pub(super) struct Cards {
    pub(super) first: Pool,
    pub(super) others: Vec<Pool>,
}

impl Cards {
    pub(super) fn len(&self) -> usize {
        self.others.len() + 1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pool> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    pub(super) fn get_mut(&mut self, n: usize) -> Option<&mut Pool> {
        match n {
            0 => Some(&mut self.first),
            n => self.others.get_mut(n - 1),
        }
    }

    /// Network card of the `n`-th pool.
    pub(super) fn card(&self, n: usize) -> u32 {
        self.iter().nth(n).map_or(0, |pool| pool.config().card)
    }
}
