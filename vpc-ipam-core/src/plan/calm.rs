//! Whether there is anything to plan, told from sums: most events change nothing that matters.

use super::{EniView, Need, Totals, View, is_cordoned, shrink, trunk_places};
use crate::{
    class::Standing,
    config::{Family, PoolConfig},
};

/// Sums over the ENIs of a [`View`], in which [`calm`] finds all that it needs. ENIs are counted unless
/// it says otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outline {
    pub(crate) enis: u64,
    /// Addresses of usable ENIs, as are the next four.
    pub(crate) total: u128,
    pub(crate) assigned: u64,
    pub(crate) cooling: u64,
    /// CIDRs.
    pub(crate) entries: u64,
    /// CIDRs without a lease.
    pub(crate) unleased: u64,
    /// Slots under way.
    pub(crate) incoming: u64,
    /// Usable, and not as the cloud or the host should have them.
    pub(crate) moving: u64,
    /// Without leases and resting addresses, and such as may be freed.
    pub(crate) idle: u64,
    /// Usable, and growth may ask them for more, or wait for what they have under way.
    pub(crate) open: u64,
    /// With something that plain ENIs do not have: another standing than active, single addresses in
    /// prefix mode, or CIDRs that serve nobody and may be released.
    pub(crate) odd: u64,
}

impl Outline {
    pub(crate) fn of(eni: &EniView, foreign_idle: u64, slots: u32) -> Self {
        let full = eni.taken.saturating_add(eni.incoming) >= slots;
        let plain = eni.standing == Standing::Active && eni.singles == 0 && foreign_idle == 0;
        let mut outline = Self {
            enis: 1,
            incoming: eni.incoming.into(),
            idle: (eni.freeable && eni.occupied == 0).into(),
            odd: (!plain || eni.incoming_singles > 0).into(),
            ..Self::default()
        };
        if eni.usable {
            outline.total = eni.total.into();
            outline.assigned = eni.assigned;
            outline.cooling = eni.cooling;
            outline.entries = eni.entries;
            outline.unleased = eni.unleased;
            outline.moving = (eni.busy || !eni.settled).into();
            outline.open = (eni.busy || eni.leaving > 0 || !full).into();
        }
        outline
    }

    /// Takes `after` in place of `before`, which it contains.
    pub(crate) fn replace(&mut self, before: &Self, after: &Self) {
        macro_rules! each { ($($sum:ident)*) => {
            $(self.$sum = self.$sum.wrapping_add(after.$sum).wrapping_sub(before.$sum);)*
        } }
        each!(enis total assigned cooling entries unleased incoming moving idle open odd);
    }

    /// What [`Totals::of`] would make of the view.
    fn totals(&self, frame: &View, config: &PoolConfig) -> Totals {
        let mut totals = Totals::of(frame, config);
        totals.total = u64::try_from(self.total).unwrap_or(u64::MAX);
        totals.assigned = self.assigned;
        totals.cooling = self.cooling;
        totals.entries = self.entries;
        totals.unleased = self.unleased;
        totals.incoming_entries += self.incoming;
        totals.incoming = totals.incoming_entries * u64::from(config.addresses_per_slot());
        totals
    }

    /// No address can be had, nor will one come by itself.
    fn is_full(&self, frame: &View, config: &PoolConfig) -> bool {
        let under_way = frame.creating.is_some() || frame.deleting || self.open > 0;
        let taken =
            self.enis + u64::from(frame.other_enis) + u64::from(trunk_places(frame, config));
        !under_way && taken >= u64::from(config.max_enis) && frame.holds.all.is_none()
    }
}

/// A pool that has nothing to do until something changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Calm {
    /// As it should be, or as it may be.
    Enough,
    /// Too low, and every place for an address is taken.
    Short,
}

/// Says if [`plan`](super::plan) would find nothing to do and no reason to come back, where sums can
/// tell. `frame` is the view without its ENIs.
pub(crate) fn calm(frame: &View, outline: &Outline, config: &PoolConfig) -> Option<Calm> {
    if frame.waiting > 0 || outline.odd > 0 || config.family != Family::V4 {
        return None;
    }
    if !config.provisions() || frame.draining {
        return Some(Calm::Enough);
    }
    let totals = outline.totals(frame, config);
    let cordoned = is_cordoned(frame, config);
    if let Need::Slots { .. } = Need::of(&totals, config) {
        return (!cordoned && outline.is_full(frame, config)).then_some(Calm::Short);
    }
    let growing = totals.incoming > 0 || totals.incoming_singles > 0;
    let moving = outline.moving > 0 || growing || frame.deleting;
    let idle = outline.idle > 0 && !cordoned;
    let too_much =
        || idle && shrink::gate(&totals, config, || idle) || shrink::surplus(&totals, config) > 0;
    (moving || !frame.confirmed || !too_much()).then_some(Calm::Enough)
}
