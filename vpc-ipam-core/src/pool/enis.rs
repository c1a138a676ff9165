//! The ENIs of the pool, and sums over them that are kept while they change.
//!
//! Whatever may have changed an ENI has borrowed it from here, so the sums are put right by looking at
//! those alone. A pod then costs the same on one ENI and on fifteen.

use std::ops::Range;

use super::view::{is_in_view, summary};
use crate::{eni::Eni, id::EniId, plan::Outline};

/// What the pool asks of all its ENIs after each event. Counts are of ENIs unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sums {
    /// What the planner has to know.
    pub(super) outline: Outline,
    /// Leases.
    pub(super) leased: u64,
    /// Resting addresses.
    pub(super) resting: u64,
    pub(super) missing: u64,
    /// What is to be remembered of them has changed.
    pub(super) unsaved: u64,
    /// The host has something to learn, and nothing is under way.
    pub(super) stale: u64,
    /// Addresses may be given back to the cloud.
    pub(super) vacated: u64,
    /// They wait for another attempt at the host's side.
    pub(super) retrying: u64,
}

impl Sums {
    fn of(eni: &Eni, slots: u32) -> Self {
        let idle = eni.host.running.is_none() && !eni.missing;
        let outline = if is_in_view(eni) {
            Outline::of(&summary(eni), eni.tally().foreign_idle, slots)
        } else {
            Outline { odd: u64::from(eni.tally().foreign_idle > 0), ..Outline::default() }
        };
        Self {
            outline,
            leased: eni.tally().leased,
            resting: eni.tally().resting,
            missing: eni.missing.into(),
            unsaved: eni.unsaved.into(),
            stale: (idle && eni.host.stale).into(),
            vacated: (!eni.leaving.is_empty() && eni.op.is_none() && eni.settled()).into(),
            retrying: (idle && eni.host.retry_at.is_some()).into(),
        }
    }
}

impl Sums {
    /// Takes `after` in place of `before`, which it contains.
    fn replace(&mut self, before: &Self, after: &Self) {
        macro_rules! each { ($($sum:ident)*) => {
            $(self.$sum = self.$sum.wrapping_add(after.$sum).wrapping_sub(before.$sum);)*
        } }
        self.outline.replace(&before.outline, &after.outline);
        each!(leased resting missing unsaved stale vacated retrying);
    }
}

#[derive(Debug)]
struct Entry {
    eni: Eni,
    /// What the sums contain of it.
    counted: Sums,
    /// It may have changed since.
    touched: bool,
}

/// All ENIs, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Enis {
    all: Vec<Entry>,
    sums: Sums,
    /// Where those are that have been touched.
    touched: Range<usize>,
}

impl Enis {
    fn find(&self, id: &EniId) -> Result<usize, usize> {
        self.all.binary_search_by(|entry| entry.eni.id.cmp(id))
    }

    fn touch(&mut self, range: Range<usize>) {
        let before = &self.touched;
        self.touched = if before.is_empty() {
            range
        } else {
            before.start.min(range.start)..before.end.max(range.end)
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, id: &EniId) -> Option<&Eni> {
        self.all.get(self.find(id).ok()?).map(|entry| &entry.eni)
    }

    pub(super) fn get_mut(&mut self, id: &EniId) -> Option<&mut Eni> {
        let n = self.find(id).ok()?;
        self.touch(n..n + 1);
        let entry = self.all.get_mut(n)?;
        entry.touched = true;
        Some(&mut entry.eni)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Eni> {
        self.all.iter().map(|entry| &entry.eni)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Eni> {
        self.touch(0..self.all.len());
        self.all.iter_mut().map(|entry| {
            entry.touched = true;
            &mut entry.eni
        })
    }

    /// Adds an ENI in place of any with the same id.
    pub(super) fn insert(&mut self, eni: Eni) {
        self.remove(&eni.id.clone());
        let Err(n) = self.find(&eni.id) else { return };
        self.all.insert(n, Entry { eni, counted: Sums::default(), touched: true });
        self.touch(0..self.all.len());
    }

    pub(super) fn remove(&mut self, id: &EniId) -> Option<Eni> {
        let n = self.find(id).ok()?;
        let entry = self.all.remove(n);
        self.sums.replace(&entry.counted, &Sums::default());
        // Not joined with what was touched before: that may reach past the end now.
        self.touched = 0..self.all.len();
        Some(entry.eni)
    }

    /// Puts the sums right. `slots`: those of an ENI; if that changes, every ENI must be touched.
    pub(super) fn refresh(&mut self, slots: u32) {
        let touched = std::mem::take(&mut self.touched);
        for entry in self.all.get_mut(touched).unwrap_or_default() {
            if std::mem::take(&mut entry.touched) {
                let sums = Sums::of(&entry.eni, slots);
                self.sums.replace(&entry.counted, &sums);
                entry.counted = sums;
            }
        }
    }

    /// Sums as they were at the last [`refresh`](Self::refresh); nothing may have changed since.
    pub(super) fn sums(&self) -> &Sums {
        debug_assert!(self.touched.is_empty(), "sums that may be out of date");
        &self.sums
    }

    /// Compares the sums with what they are made from.
    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn audit(&self, slots: u32) -> Result<(), String> {
        let mut counted = Sums::default();
        for eni in self.values() {
            counted.replace(&Sums::default(), &Sums::of(eni, slots));
        }
        if !self.touched.is_empty() || self.sums != counted {
            return Err(format!("sums over ENIs are {:?}, not {counted:?}", self.sums));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        cloud::{CloudEni, EniKind},
        config::{AllocationMode, PoolConfig, WarmTargets},
        time::Time,
    };

    fn eni(device: u8, config: &PoolConfig) -> Eni {
        let cloud = CloudEni {
            id: format!("eni-{device}").parse().unwrap(),
            mac: format!("02:00:00:00:00:0{device}").parse().unwrap(),
            device: device.into(),
            card: 0,
            kind: EniKind::Interface,
            primary: device == 0,
            excluded: false,
            subnet: "subnet-1".parse().unwrap(),
            subnet_cidr: "10.0.0.0/24".parse().unwrap(),
            primary_ip: [10, 0, 0, device].into(),
            cidrs: Vec::new(),
            tags: BTreeMap::new(),
        };
        Eni::new(&cloud, config, Time::ZERO)
    }

    #[test]
    fn an_eni_that_goes_does_not_hide_changes_of_the_others() {
        let targets = WarmTargets::default();
        let config = PoolConfig::new(AllocationMode::Secondary, targets, 3, 9).unwrap();
        let mut enis = Enis::default();
        (0..3).for_each(|device| enis.insert(eni(device, &config)));
        enis.refresh(9);
        enis.values_mut().for_each(|eni| eni.unsaved = !eni.unsaved);
        enis.remove(&"eni-2".parse().unwrap());
        enis.refresh(9);
        enis.audit(9).unwrap();
    }
}
