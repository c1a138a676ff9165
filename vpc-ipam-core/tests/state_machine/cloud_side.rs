//! The model's view of ENIs: what the cloud's answers mean for the datastore, and whether what the pool
//! asks of the cloud and the host is allowed.

use std::{net::IpAddr, time::Duration};

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudEni, CloudView},
    id::{EniId, OpId},
    pool::Event,
    time::Time,
};

use crate::model::{Cidr, Model, Use, has_pods};

/// How long a view is not believed to show something again that was given up.
pub(crate) const GONE_FOR: Duration = Duration::from_secs(60);
/// How long EC2 must show what is in doubt.
const DOUBTED_FOR: Duration = Duration::from_secs(10);
/// Set-ups in a row that must fail before an ENI counts as broken.
const BROKEN: u32 = 6;
/// Take-downs of an ENI that may fail before it is deleted regardless.
const TEAR_DOWN_TRIES: u32 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Eni {
    pub(crate) id: EniId,
    pub(crate) device: u32,
    pub(crate) primary: bool,
    primary_ip: IpAddr,
    pub(crate) since: Time,
    /// EC2 does not show it.
    pub(crate) missing: bool,
    /// Change under way in the cloud.
    pub(crate) busy: Option<OpId>,
    /// Set-up under way on the host.
    pub(crate) setting_up: Option<(OpId, Vec<Prefix>)>,
    /// What the host knows, if it is known.
    pub(crate) on_host: Vec<Prefix>,
    pub(crate) failures: u32,
    /// Number of the last change that ended.
    pub(crate) changed: u64,
    /// Given up, and not yet known to be gone.
    pub(crate) leaving: Vec<Prefix>,
}

impl Eni {
    pub(crate) fn is_broken(&self) -> bool {
        self.failures >= BROKEN
    }
}

/// An ENI that has left the pool.
#[derive(Clone, Debug)]
pub(crate) struct Departing {
    pub(crate) id: EniId,
    /// Attached still.
    pub(crate) delete: bool,
    pub(crate) failures: u32,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum What {
    Cidr(Prefix),
    Eni(EniId),
}

/// Something that was given up, and until when, and after which change, a view must be to be believed.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    what: What,
    until: Time,
    change: u64,
}

impl Model {
    pub(crate) fn eni(&self, id: &EniId) -> Option<&Eni> {
        self.enis.iter().find(|eni| eni.id == *id)
    }

    pub(crate) fn eni_mut(&mut self, id: &EniId) -> Option<&mut Eni> {
        self.enis.iter_mut().find(|eni| eni.id == *id)
    }

    /// Something has happened, or time has passed.
    pub(crate) fn happened(&mut self, event: &Event, now: Time) {
        self.end_rests(now);
        match event {
            Event::AddressesAssigned { op, result } => {
                let (id, _) = self.take_op(*op);
                self.change_ends(*op, &id);
                self.lose_enis_at(result.as_deref().unwrap_or_default());
                for cidr in result.iter().flatten() {
                    self.gone.retain(|gone| gone.what != What::Cidr(*cidr));
                    self.add_cidr(&id, *cidr);
                }
            }
            Event::AddressesUnassigned { op, .. } => {
                let (id, cidrs) = self.take_op(*op);
                self.change_ends(*op, &id);
                for cidr in cidrs {
                    if let Some(eni) = self.eni_mut(&id) {
                        eni.leaving.retain(|other| *other != cidr);
                    }
                    self.give_up(What::Cidr(cidr), now + GONE_FOR);
                }
            }
            Event::EniDeleted { op, result } => {
                let (id, _) = self.take_op(*op);
                self.deleted(id, result.is_ok(), now);
            }
            Event::EniTornDown { op, result } => {
                let (id, _) = self.take_op(*op);
                self.torn_down(&id, result.is_ok());
            }
            Event::EniCreated { op, result } => {
                self.creating.retain(|other| other != op);
                self.changes += 1;
                self.created = self.changes;
                if let Ok(cloud) = result {
                    self.gone.retain(|gone| match &gone.what {
                        What::Eni(id) => *id != cloud.id,
                        What::Cidr(cidr) => !cloud.cidrs.contains(cidr),
                    });
                    self.lose_enis_at(&cloud.cidrs);
                    self.adopt(cloud, now);
                } else {
                    self.doubtful_until = now + GONE_FOR;
                }
            }
            Event::EniSetUp { op, result } => self.set_up_ends(*op, result.is_ok()),
            Event::Described { op, result } => {
                let asked = self.reads.iter().find(|(read, _)| read == op).map(|(_, at)| *at);
                self.reads.retain(|(read, _)| read != op);
                if let (Some(asked), Ok(view)) = (asked, result) {
                    self.compare(view, asked, now);
                }
            }
            Event::Persisted { result, .. } => self.write_ends(result.is_ok(), now),
            Event::Draining => self.draining = true,
            Event::Reconfigured(config) => self.config = (**config).clone(),
            Event::Timeout => {}
            other => unreachable!("{other:?}"),
        }
        self.settle(now);
    }

    /// Which ENI, and which of its blocks, an operation is about.
    fn take_op(&mut self, op: OpId) -> (EniId, Vec<Prefix>) {
        let n = self.ops.iter().position(|(other, ..)| *other == op).expect("it was asked for");
        let (_, id, cidrs) = self.ops.remove(n);
        (id, cidrs)
    }

    fn torn_down(&mut self, id: &EniId, ok: bool) {
        let Some(leaving) = self.departing.iter_mut().find(|d| d.id == *id) else { return };
        leaving.failures += u32::from(!ok);
        let done = ok || leaving.failures >= TEAR_DOWN_TRIES;
        if done && (!leaving.delete || self.draining) {
            self.departing.retain(|d| d.id != *id);
        }
    }

    fn deleted(&mut self, id: EniId, ok: bool, now: Time) {
        self.changes += 1;
        self.departing.retain(|d| d.id != id);
        if !ok {
            self.doubtful_until = now + GONE_FOR;
        }
        self.give_up(What::Eni(id), if ok { now + GONE_FOR } else { now });
    }

    /// A change of addresses ends.
    fn change_ends(&mut self, op: OpId, id: &EniId) {
        self.changes += 1;
        let changes = self.changes;
        if let Some(eni) = self.eni_mut(id) {
            eni.busy = eni.busy.filter(|busy| *busy != op);
            eni.changed = changes;
        }
    }

    fn set_up_ends(&mut self, op: OpId, ok: bool) {
        let running = |eni: &&mut Eni| eni.setting_up.as_ref().is_some_and(|(id, _)| *id == op);
        let Some(eni) = self.enis.iter_mut().find(running) else { return };
        let sources = eni.setting_up.take().map(|(_, sources)| sources).unwrap_or_default();
        eni.failures = if ok { 0 } else { eni.failures + 1 };
        eni.on_host = if ok { sources } else { Vec::new() };
        for cidr in self.cidrs.iter_mut().filter(|cidr| cidr.eni == eni.id) {
            cidr.ready = eni.on_host.contains(&cidr.cidr);
        }
    }

    pub(crate) fn give_up(&mut self, what: What, until: Time) {
        self.gone.retain(|gone| gone.what != what);
        self.gone.push(Gone { what, until, change: self.changes });
    }

    fn is_gone(&self, what: &What, asked: u64, now: Time) -> bool {
        let unbelievable = |gone: &Gone| gone.until > now || gone.change > asked;
        self.gone.iter().any(|gone| gone.what == *what && unbelievable(gone))
    }

    /// EC2 shows what the node has. `asked`: changes that had ended when it was asked.
    fn compare(&mut self, view: &CloudView, asked: u64, now: Time) {
        // Every instance has one.
        if !view.enis.iter().any(|eni| eni.primary) {
            return;
        }
        for id in self.enis.iter().map(|eni| eni.id.clone()).collect::<Vec<_>>() {
            let shown = view.enis.iter().find(|eni| eni.id == id);
            let Some(eni) = self.eni_mut(&id) else { continue };
            if eni.busy.is_some() || eni.changed > asked {
                continue;
            }
            if shown.is_none() {
                eni.missing = true;
                eni.leaving.clear();
            }
            for cidr in self.cidrs.iter_mut().filter(|cidr| cidr.eni == id) {
                cidr.confirmed &= shown.is_some_and(|eni| eni.cidrs.contains(&cidr.cidr));
            }
            self.cidrs.retain(|cidr| cidr.eni != id || cidr.confirmed || has_pods(cidr));
        }
        let known: Vec<Prefix> = self.cidrs.iter().map(|cidr| cidr.cidr).collect();
        let mut shown = view.enis.clone();
        shown.sort_by(|a, b| a.id.cmp(&b.id));
        for mut eni in shown {
            let unfinished = !self.creating.is_empty() || self.created > asked;
            let left = self.departing.iter().any(|d| d.id == eni.id);
            if left
                || self.eni(&eni.id).is_none() && unfinished
                || self.is_gone(&What::Eni(eni.id.clone()), asked, now)
            {
                continue;
            }
            eni.cidrs.retain(|cidr| !self.is_gone(&What::Cidr(*cidr), asked, now));
            self.adopt(&eni, now);
        }
        if now < self.doubtful_until {
            let new = |c: &&mut Cidr| !known.contains(&c.cidr) && !has_pods(c);
            self.cidrs.iter_mut().filter(new).for_each(|cidr| cidr.doubted = Some(now));
        }
    }

    /// EC2 has given these to an ENI: none whose own address is among them is there any more.
    fn lose_enis_at(&mut self, cidrs: &[Prefix]) {
        for eni in &mut self.enis {
            if eni.missing || !cidrs.iter().any(|cidr| cidr.contains(eni.primary_ip)) {
                continue;
            }
            eni.missing = true;
            eni.leaving.clear();
            let mine = |cidr: &Cidr| cidr.eni == eni.id;
            self.cidrs.iter_mut().filter(|c| mine(c)).for_each(|c| c.confirmed = false);
            self.cidrs.retain(|cidr| !mine(cidr) || has_pods(cidr));
        }
    }

    fn adopt(&mut self, cloud: &CloudEni, now: Time) {
        let mut new = true;
        if let Some(eni) = self.eni_mut(&cloud.id) {
            new = std::mem::take(&mut eni.missing);
        } else {
            self.enis.push(Eni {
                id: cloud.id.clone(),
                device: cloud.device,
                primary: cloud.primary,
                primary_ip: cloud.primary_ip,
                since: now,
                missing: false,
                busy: None,
                setting_up: None,
                on_host: Vec::new(),
                failures: 0,
                changed: self.changes,
                leaving: Vec::new(),
            });
        }
        if new {
            // Whatever block had that address is not the node's any more.
            let own = |cidr: &Cidr| cidr.cidr.contains(cloud.primary_ip);
            self.cidrs.iter_mut().filter(|c| own(c)).for_each(|c| c.confirmed = false);
            self.cidrs.retain(|cidr| !own(cidr) || has_pods(cidr));
        }
        for cidr in &cloud.cidrs {
            self.add_cidr(&cloud.id, *cidr);
        }
    }

    /// The cloud shows a block on an ENI. Pods and rests of its addresses come along.
    fn add_cidr(&mut self, id: &EniId, cidr: Prefix) {
        if self.eni(id).is_none_or(|eni| eni.leaving.contains(&cidr)) {
            return;
        }
        let own = |eni: &Eni| !eni.missing && cidr.contains(eni.primary_ip);
        let is_own = self.enis.iter().any(own);
        let known = self.cidrs.iter_mut().find(|c| c.eni == *id && c.cidr == cidr);
        if let Some(known) = known {
            if !is_own {
                known.confirmed = true;
                let at = self.read_at;
                known.doubted = known.doubted.filter(|since| at.since(*since) < DOUBTED_FOR);
            }
            return;
        }
        if is_own {
            return;
        }
        let overlaps = |c: &Cidr| c.cidr.covers(&cidr) || cidr.covers(&c.cidr);
        if self.cidrs.iter().any(|c| overlaps(c) && c.confirmed && c.doubted.is_none()) {
            return;
        }
        self.cidrs.retain(|c| !overlaps(c));
        self.gone.retain(|gone| gone.what != What::Cidr(cidr));
        let addresses = (0..cidr.size()).filter_map(|n| cidr.nth(n)).map(|ip| {
            let lease = self.leases.iter().find(|lease| lease.ip == ip);
            let rest = self.resting.iter().find(|(other, _)| *other == ip);
            let state = match (lease, rest) {
                (Some(lease), _) => Use::Leased(lease.key.clone()),
                (None, Some((_, at))) => Use::Resting(*at),
                (None, None) => Use::Fresh,
            };
            (ip, state)
        });
        let addresses = addresses.collect();
        let (eni, confirmed, ready, doubted) = (id.clone(), true, false, None);
        self.cidrs.push(Cidr { eni, cidr, confirmed, ready, doubted, addresses });
    }
}
