//! The ENIs of the pool, and sums over them that are kept while they change.
//!
//! Whatever may have changed an ENI has borrowed it from here, so the sums are put right by looking at
//! those alone. A pod then costs the same on one ENI and on fifteen.

use std::{cmp::Reverse, ops::Range};

use super::view::{is_in_view, is_trunk, summary};
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
    pub(super) trunks: u64,
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
            trunks: is_trunk(eni).into(),
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
        each!(leased resting missing unsaved stale vacated trunks retrying);
    }
}

/// Order in which ENIs are used: those whose addresses stand in for others last; most pods first, so
/// that others become free; then the lower device.
type Turn = (bool, Reverse<u64>, u32);

/// What of an ENI is looked at for every pod.
#[derive(Debug)]
struct Head {
    id: EniId,
    /// As it was when last counted; `None` if it has no address for another pod.
    turn: Option<Turn>,
    /// It may have changed since.
    touched: bool,
}

#[derive(Debug)]
struct Body {
    eni: Eni,
    /// What the sums contain of it.
    counted: Sums,
}

fn turn(eni: &Eni) -> Option<Turn> {
    let cidr = eni.next_cidr().filter(|_| eni.usable())?;
    Some((eni.duty().stands_in(cidr), Reverse(eni.tally().leased), eni.device))
}

/// All ENIs, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Enis {
    heads: Vec<Head>,
    /// As many as there are heads, in the same order.
    bodies: Vec<Body>,
    sums: Sums,
    /// Where those are that have been touched.
    touched: Range<usize>,
}

impl Enis {
    fn find(&self, id: &EniId) -> Result<usize, usize> {
        // Most ids that are looked for came from here.
        match self.heads.iter().position(|head| head.id.shares_text_with(id)) {
            Some(n) => Ok(n),
            None => self.heads.binary_search_by(|head| head.id.cmp(id)),
        }
    }

    fn touch(&mut self, range: Range<usize>) {
        for head in self.heads.get_mut(range.clone()).unwrap_or_default() {
            head.touched = true;
        }
        let before = &self.touched;
        self.touched = if before.is_empty() {
            range
        } else {
            before.start.min(range.start)..before.end.max(range.end)
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bodies.len()
    }

    pub(super) fn get(&self, id: &EniId) -> Option<&Eni> {
        self.bodies.get(self.find(id).ok()?).map(|body| &body.eni)
    }

    pub(super) fn get_mut(&mut self, id: &EniId) -> Option<&mut Eni> {
        let n = self.find(id).ok()?;
        self.touch(n..n + 1);
        self.bodies.get_mut(n).map(|body| &mut body.eni)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Eni> {
        self.bodies.iter().map(|body| &body.eni)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Eni> {
        self.touch(0..self.heads.len());
        self.bodies.iter_mut().map(|body| &mut body.eni)
    }

    /// The ENI that the next pod's address comes from.
    pub(super) fn first(&self) -> Option<&Eni> {
        let mut first: Option<(Turn, &Eni)> = None;
        for (head, body) in self.heads.iter().zip(&self.bodies) {
            let turn = if head.touched { turn(&body.eni) } else { head.turn };
            // Of equal ones the one with the lower id.
            if let Some(turn) = turn
                && first.is_none_or(|(best, _)| turn < best)
            {
                first = Some((turn, &body.eni));
            }
        }
        first.map(|(_, eni)| eni)
    }

    /// Adds an ENI in place of any with the same id.
    pub(super) fn insert(&mut self, eni: Eni) {
        let id = eni.id.clone();
        self.remove(&id);
        let Err(n) = self.find(&id) else { return };
        self.heads.insert(n, Head { id, turn: None, touched: true });
        self.bodies.insert(n, Body { eni, counted: Sums::default() });
        self.touch(0..self.heads.len());
    }

    pub(super) fn remove(&mut self, id: &EniId) -> Option<Eni> {
        let n = self.find(id).ok()?;
        self.heads.remove(n);
        let body = self.bodies.remove(n);
        self.sums.replace(&body.counted, &Sums::default());
        // Not joined with what was touched before: that may reach past the end now.
        self.touched = 0..self.heads.len();
        Some(body.eni)
    }

    /// Puts the sums right. `slots`: those of an ENI; if that changes, every ENI must be touched.
    pub(super) fn refresh(&mut self, slots: u32) {
        if self.touched.is_empty() {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        let heads = self.heads.get_mut(touched.clone()).unwrap_or_default();
        let bodies = self.bodies.get_mut(touched).unwrap_or_default();
        for (head, body) in heads.iter_mut().zip(bodies) {
            if std::mem::take(&mut head.touched) {
                head.turn = turn(&body.eni);
                let sums = Sums::of(&body.eni, slots);
                self.sums.replace(&body.counted, &sums);
                body.counted = sums;
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
        for (head, body) in self.heads.iter().zip(&self.bodies) {
            counted.replace(&Sums::default(), &Sums::of(&body.eni, slots));
            if head.id != body.eni.id || head.turn != turn(&body.eni) {
                return Err(format!("{} is thought to be {head:?}", body.eni.id));
            }
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
