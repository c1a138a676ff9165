//! ENIs and CIDRs entering and leaving the pool.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{Place, Pool};
use crate::{
    addr::Prefix,
    cloud::{Authority, CloudEni},
    eni::{Cidr, Eni},
    id::EniId,
    slots::{Past, Use},
    time::Time,
};

/// How long something given up is not taken back on the word of a cloud view: EC2 may show it for
/// a while. The reference's value.
pub(super) const GONE_FOR: Duration = Duration::from_secs(60);

/// How long instance metadata must have shown a CIDR before pods get it on that word alone, and EC2 one
/// that is in doubt. Both follow within seconds; a restart must not revive what was just given back.
pub(super) const HINT_AGE_MIN: Duration = Duration::from_secs(10);

/// When something was given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    /// Not to be taken back before.
    pub(super) until: Time,
    /// A view older than this sequence number says nothing about it.
    pub(super) sequence: u64,
}

impl Pool {
    /// Takes an ENI into the pool, or what is new of a known one.
    pub(super) fn adopt(&mut self, cloud: &CloudEni, authority: Authority, now: Time) {
        let mut new = true;
        if let Some(eni) = self.enis.get_mut(&cloud.id) {
            eni.refresh(cloud);
            new = std::mem::take(&mut eni.missing);
            eni.unsaved |= new;
            eni.assess(&self.config);
        } else {
            let mut eni = Eni::new(cloud, &self.config, now);
            eni.traits.disowned = self.foreign.contains_key(&cloud.id);
            eni.assess(&self.config);
            eni.mutated = self.sequence;
            self.enis.insert(eni);
        }
        if new && authority == Authority::Ec2 {
            self.give_up_own_address(cloud.primary_ip);
        }
        for cidr in &cloud.cidrs {
            self.add_cidr(&cloud.id, *cidr, authority, now);
        }
    }

    /// EC2 has given an address to an ENI for itself: whichever block had it is not the node's any more,
    /// although no view has said so yet.
    fn give_up_own_address(&mut self, ip: IpAddr) {
        if let Some(place) = self.place_of(ip) {
            self.lose_cidr(&place.eni, &place.cidr);
        }
    }

    /// Takes a CIDR that the cloud shows into the pool, and binds the leases in it. Nothing
    /// happens if it would overlap another one or contain the node's own addresses: a view can be
    /// torn between two moments.
    pub(super) fn add_cidr(&mut self, id: &EniId, cidr: Prefix, authority: Authority, now: Time) {
        if !self.config.family.takes(&cidr) {
            return;
        }
        let Some(eni) = self.enis.get(id) else { return };
        let known = eni.cidrs().get(&cidr);
        // Nearly every CIDR of every view.
        let settled = known.is_some_and(|known| known.confirmed && known.hinted.is_none());
        if settled || eni.leaving.contains(&cidr) {
            return;
        }
        let is_own = |eni: &Eni| !eni.missing && cidr.contains(eni.primary_ip);
        if self.enis.values().any(is_own) {
            return;
        }
        if let Some(known) = known {
            let hinted = known.hinted.filter(|_| !self.is_vouched(known, authority));
            self.confirm(id, &cidr, hinted);
            return;
        }
        if self.is_held(&cidr) {
            return;
        }
        // Addresses that pods used while the cloud denied them have moved here: so do the leases.
        for place in self.overlapping(&cidr) {
            self.drop_cidr(&place.eni, &place.cidr);
        }
        let keys = self.leases.owners_in(&cidr);
        let Some(eni) = self.enis.get_mut(id) else { return };
        eni.insert(cidr, (authority == Authority::Imds).then_some(now));
        self.owners.insert(cidr, id.clone());
        self.gone_cidrs.remove(&cidr);
        for (ip, past) in self.cooling.within(&cidr) {
            eni.edit(&cidr, |c| c.slots.rest(ip, past));
        }
        for key in keys {
            let Some(lease) = self.leases.get_mut(&key) else { continue };
            lease.place = Some(Place { eni: id.clone(), cidr });
            let ip = lease.ip;
            eni.edit(&cidr, |c| c.slots.lease(ip, key.clone()));
        }
    }

    /// True if what holds a CIDR back ends with a view that shows it again.
    fn is_vouched(&self, known: &Cidr, authority: Authority) -> bool {
        // What matters is what the view was taken of, not when it came.
        let shown_for = known.hinted.map(|since| self.describing.began.since(since));
        let enough = authority == Authority::Ec2 && !known.doubted;
        enough || shown_for.is_some_and(|time| time >= HINT_AGE_MIN)
    }

    fn confirm(&mut self, id: &EniId, cidr: &Prefix, hinted: Option<Time>) {
        let Some(eni) = self.enis.get_mut(id) else { return };
        let changed = eni.edit(cidr, |c| {
            let changed = !c.confirmed || c.hinted != hinted;
            (c.confirmed, c.hinted) = (true, hinted);
            c.doubted &= hinted.is_some();
            changed
        });
        eni.unsaved |= changed == Some(true);
    }

    /// EC2 has just given these to an ENI. One whose own address is among them has gone, although no
    /// view has said so yet.
    pub(super) fn take_given(&mut self, cidrs: &[Prefix], now: Time) {
        for cidr in cidrs {
            self.gone_cidrs.remove(cidr);
        }
        let is_given = |ip| cidrs.iter().any(|cidr| cidr.contains(ip));
        let lost = self.enis.values().filter(|eni| !eni.missing && is_given(eni.primary_ip));
        let lost: Vec<EniId> = lost.map(|eni| eni.id.clone()).collect();
        for id in lost {
            self.lose_eni(&id);
            self.describe_soon(now);
        }
    }

    /// CIDRs of the pool that share an address with `cidr`.
    fn overlapping(&self, cidr: &Prefix) -> Vec<Place> {
        let last = cidr.nth(cidr.size().saturating_sub(1)).unwrap_or(cidr.base());
        // CIDRs of the pool do not overlap each other, so of those that start earlier only the last
        // one can reach this far.
        let base = Prefix::host(cidr.base());
        let before = self.owners.range(..=base).next_back();
        let after = self.owners.range(base..).take_while(|(other, _)| other.base() <= last);
        before
            .filter(|(other, _)| other.covers(cidr) || cidr.covers(other))
            .into_iter()
            .chain(after.filter(|(other, _)| **other != base))
            .map(|(other, eni)| Place { eni: eni.clone(), cidr: *other })
            .collect()
    }

    /// True if the pool holds some of these addresses, and the cloud did not deny it or leave it in doubt.
    pub(super) fn is_held(&self, cidr: &Prefix) -> bool {
        let certain = |place| self.cidr_at(place).is_some_and(|c| c.confirmed && !c.doubted);
        self.overlapping(cidr).iter().any(certain)
    }

    /// True if the pool holds some of these addresses for their pods although the cloud denies it.
    pub(super) fn is_denied(&self, cidr: &Prefix) -> bool {
        self.overlapping(cidr).iter().any(|place| !self.is_confirmed(place))
    }

    pub(super) fn is_confirmed(&self, place: &Place) -> bool {
        self.cidr_at(place).is_some_and(|cidr| cidr.confirmed)
    }

    pub(super) fn cidr_at(&self, place: &Place) -> Option<&Cidr> {
        self.enis.get(&place.eni)?.cidrs().get(&place.cidr)
    }

    /// Removes a CIDR from the pool with what is remembered of its addresses. Its leases stay,
    /// without a place.
    pub(super) fn drop_cidr(&mut self, id: &EniId, cidr: &Prefix) {
        self.owners.remove(cidr);
        let Some(dropped) = self.enis.get_mut(id).and_then(|eni| eni.remove(cidr)) else { return };
        for (_, record) in dropped.slots.used() {
            if let Use::Leased(key) = record
                && let Some(lease) = self.leases.get_mut(key)
            {
                lease.place = None;
            }
        }
    }

    /// The cloud does not show this CIDR: it goes, or, while pods use it, stays out of use.
    pub(super) fn lose_cidr(&mut self, id: &EniId, cidr: &Prefix) {
        let Some(eni) = self.enis.get_mut(id) else { return };
        if eni.cidrs().get(cidr).is_some_and(|c| c.slots.leased() > 0) {
            eni.unsaved |= eni.edit(cidr, |c| std::mem::take(&mut c.confirmed)) == Some(true);
        } else {
            self.drop_cidr(id, cidr);
        }
    }

    /// The cloud does not show this ENI: it goes, or, while pods use it, stays out of use.
    pub(super) fn lose_eni(&mut self, id: &EniId) {
        let Some(eni) = self.enis.get_mut(id) else { return };
        eni.unsaved |= !std::mem::replace(&mut eni.missing, true);
        eni.leaving.clear();
        let cidrs: Vec<Prefix> = eni.cidrs().keys().copied().collect();
        for cidr in cidrs {
            self.lose_cidr(id, &cidr);
        }
    }

    /// Ends the use of an address, and what was kept for its sake. With `past`, the address rests.
    pub(super) fn free_address(&mut self, place: Option<&Place>, ip: IpAddr, past: Option<Past>) {
        let past = past.map(Arc::new);
        if let Some(past) = &past {
            self.cooling.push(ip, Arc::clone(past), place.cloned());
        }
        let Some(place) = place else { return };
        let Some(eni) = self.enis.get_mut(&place.eni) else { return };
        let lost = eni.edit(&place.cidr, |cidr| {
            cidr.slots.free(ip, past);
            !cidr.confirmed && cidr.slots.leased() == 0
        });
        if lost == Some(true) {
            self.drop_cidr(&place.eni, &place.cidr);
        }
    }

    /// The CIDR of the pool that holds `ip`.
    pub(super) fn place_of(&self, ip: IpAddr) -> Option<Place> {
        let (cidr, eni) = self.owners.range(..=Prefix::host(ip)).next_back()?;
        cidr.contains(ip).then(|| Place { eni: eni.clone(), cidr: *cidr })
    }

    /// Lets go of ENIs that the cloud does not show once their last pod has gone.
    pub(super) fn forget_lost(&mut self, now: Time) {
        if self.enis.sums().missing == 0 {
            return;
        }
        let lost: Vec<EniId> =
            self.enis.values().filter(|eni| eni.missing).map(|eni| eni.id.clone()).collect();
        for id in lost {
            self.forget_if_lost(&id, now);
        }
    }

    fn forget_if_lost(&mut self, id: &EniId, now: Time) {
        // A set-up under way must end first, or it could undo the take-down.
        let lost = self
            .enis
            .get(id)
            .is_some_and(|eni| eni.missing && eni.cidrs().is_empty() && eni.host.running.is_none());
        if lost && let Some(eni) = self.enis.remove(id) {
            self.memory.changed();
            self.take_down(eni.spec(), false, now);
        }
    }
}
