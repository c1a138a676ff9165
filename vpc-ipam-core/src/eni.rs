//! One ENI of the pool: what it holds, what the host knows of it, and its sums.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    addr::Prefix,
    backoff::Backoff,
    class::{Standing, Traits},
    cloud::{AddressCount, CloudEni},
    config::{AllocationMode, PoolConfig},
    datapath::{EniSpec, route_table},
    id::{EniId, MacAddr, OpId, SubnetId},
    slots::{Rank, Slots},
    tally::Tally,
    time::Time,
};

/// First delay after a failed set-up. A new link shows up within one or two seconds.
const SET_UP_RETRY: Duration = Duration::from_millis(250);
/// Longest delay between two set-ups, and between two growths.
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(30);
/// First delay after a failed growth of this ENI.
const GROW_RETRY: Duration = Duration::from_secs(1);
/// Failed set-ups in a row after which the pool grows elsewhere: about ten seconds, longer than any
/// link takes to appear.
const SET_UP_BROKEN: u32 = 6;

/// A secondary address or prefix of an ENI.
#[derive(Clone, Debug)]
pub(crate) struct Cidr {
    pub(crate) slots: Slots,
    /// False while the cloud does not show it although pods use it.
    pub(crate) confirmed: bool,
    /// Since when instance metadata alone vouches for it; not given to pods before that has aged.
    pub(crate) hinted: Option<Time>,
    /// It came with a view of EC2 that may have shown what is gone: `hinted` says when, and ends with a
    /// later view.
    pub(crate) doubted: bool,
    /// An earlier life of the node vouched for it.
    pub(crate) remembered: bool,
    /// The host knows that its packets leave by this ENI.
    pub(crate) ready: bool,
    /// Its place in the ENI's order, and the address that the next pod gets there.
    listed: Option<Preference>,
    next: Option<IpAddr>,
}

/// What an ENI is for at present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Duty {
    pub(crate) mode: AllocationMode,
    pub(crate) standing: Standing,
}

impl Duty {
    /// True if new pods are given addresses of `prefix`.
    pub(crate) fn serves(self, prefix: &Prefix) -> bool {
        self.standing.serves() && prefix.is_host() == (self.mode == AllocationMode::Secondary)
    }

    /// True if new pods are given addresses of `prefix` when there is nothing else: a single address
    /// in prefix mode.
    pub(crate) fn stands_in(self, prefix: &Prefix) -> bool {
        let single = prefix.is_host() && prefix.is_v4();
        self.standing.serves() && self.mode == AllocationMode::Prefix && single
    }
}

/// What the host knows of an ENI.
#[derive(Clone, Debug)]
pub(crate) struct HostSide {
    /// What should be there has changed since the last set-up was issued.
    pub(crate) stale: bool,
    pub(crate) running: Option<OpId>,
    /// Sources of the last set-up, if it succeeded.
    pub(crate) applied: Option<BTreeSet<Prefix>>,
    pub(crate) retry_at: Option<Time>,
    pub(crate) backoff: Backoff,
    pub(crate) error: Option<String>,
}

/// Order in which CIDRs are used: those that stand in for others last; most pods first, so that
/// others become free; then never-used addresses, then those that rested longest.
type Preference = (bool, Reverse<u64>, Rank, Prefix);

/// Puts a CIDR where it belongs in the order.
fn relist(order: &mut BTreeSet<Preference>, prefix: &Prefix, cidr: &mut Cidr, duty: Duty) {
    let stands_in = duty.stands_in(prefix);
    let serves = stands_in || duty.serves(prefix);
    let assignable = cidr.confirmed && cidr.hinted.is_none() && cidr.ready && serves;
    let next = if assignable { cidr.slots.next() } else { None };
    cidr.next = next.map(|(_, ip)| ip);
    let place = next.map(|(rank, _)| (stands_in, Reverse(cidr.slots.leased()), rank, *prefix));
    if place == cidr.listed {
        return;
    }
    if let Some(before) = std::mem::replace(&mut cidr.listed, place) {
        order.remove(&before);
    }
    order.extend(place);
}

#[derive(Clone, Debug)]
pub(crate) struct Eni {
    pub(crate) id: EniId,
    pub(crate) mac: MacAddr,
    pub(crate) device: u32,
    pub(crate) card: u32,
    pub(crate) traits: Traits,
    pub(crate) subnet: SubnetId,
    pub(crate) subnet_cidr: Prefix,
    pub(crate) primary_ip: IpAddr,
    /// When it joined the pool.
    pub(crate) since: Time,
    /// The cloud does not show it although pods use it.
    pub(crate) missing: bool,
    /// Cloud operation under way, and what it adds.
    pub(crate) op: Option<(OpId, Option<AddressCount>)>,
    /// Sequence number of the end of the last cloud operation on it.
    pub(crate) mutated: u64,
    /// Left the pool; the host or the cloud may still have them.
    pub(crate) leaving: BTreeSet<Prefix>,
    pub(crate) host: HostSide,
    /// What is to be remembered of it has changed.
    pub(crate) unsaved: bool,
    pub(crate) grow_backoff: Backoff,
    pub(crate) hold_until: Option<Time>,
    cidrs: BTreeMap<Prefix, Cidr>,
    order: BTreeSet<Preference>,
    tally: Tally,
    duty: Duty,
}

impl Eni {
    /// The ENI without its CIDRs.
    pub(crate) fn new(cloud: &CloudEni, config: &PoolConfig, now: Time) -> Self {
        let traits = Traits {
            kind: cloud.kind,
            primary: cloud.primary,
            excluded: cloud.excluded,
            disowned: false,
        };
        Self {
            id: cloud.id.clone(),
            mac: cloud.mac,
            device: cloud.device,
            card: cloud.card,
            traits,
            subnet: cloud.subnet.clone(),
            subnet_cidr: cloud.subnet_cidr,
            primary_ip: cloud.primary_ip,
            since: now,
            missing: false,
            op: None,
            mutated: 0,
            leaving: BTreeSet::new(),
            unsaved: true,
            host: HostSide {
                stale: true,
                running: None,
                applied: None,
                retry_at: None,
                backoff: Backoff::new(SET_UP_RETRY, RETRY_CAP),
                error: None,
            },
            grow_backoff: Backoff::new(GROW_RETRY, RETRY_CAP),
            hold_until: None,
            cidrs: BTreeMap::new(),
            order: BTreeSet::new(),
            tally: Tally::default(),
            duty: Duty { mode: config.mode, standing: traits.standing(config) },
        }
    }

    /// Takes over what the cloud says of the ENI itself.
    pub(crate) fn refresh(&mut self, cloud: &CloudEni) {
        let facts = |eni: &Self| (eni.mac, eni.device, eni.card, eni.subnet_cidr, eni.primary_ip);
        let before = (facts(self), self.traits);
        self.traits.kind = cloud.kind;
        self.traits.excluded = cloud.excluded;
        self.mac = cloud.mac;
        self.device = cloud.device;
        self.card = cloud.card;
        self.subnet = cloud.subnet.clone();
        self.subnet_cidr = cloud.subnet_cidr;
        self.primary_ip = cloud.primary_ip;
        self.host.stale |= facts(self) != before.0;
        self.unsaved |= (facts(self), self.traits) != before;
    }

    /// The ENI as the cloud would describe it with these CIDRs.
    pub(crate) fn cloud(&self, cidrs: Vec<Prefix>) -> CloudEni {
        CloudEni {
            id: self.id.clone(),
            mac: self.mac,
            device: self.device,
            card: self.card,
            kind: self.traits.kind,
            primary: self.traits.primary,
            excluded: self.traits.excluded,
            subnet: self.subnet.clone(),
            subnet_cidr: self.subnet_cidr,
            primary_ip: self.primary_ip,
            cidrs,
            tags: BTreeMap::new(),
        }
    }

    pub(crate) fn table(&self) -> u32 {
        route_table(self.card, self.device)
    }

    /// What the host should have.
    pub(crate) fn spec(&self) -> EniSpec {
        EniSpec {
            id: self.id.clone(),
            mac: self.mac,
            device: self.device,
            card: self.card,
            primary: self.traits.primary,
            primary_ip: self.primary_ip,
            subnet_cidr: self.subnet_cidr,
            table: self.table(),
            sources: self.cidrs.keys().copied().collect(),
        }
    }

    /// False while the host cannot be set up for it, or the cloud does not show it.
    pub(crate) fn usable(&self) -> bool {
        !self.missing && self.host.backoff.failures() < SET_UP_BROKEN
    }

    /// The host has what it should have.
    pub(crate) fn settled(&self) -> bool {
        !self.host.stale && self.host.running.is_none() && self.host.applied.is_some()
    }

    pub(crate) fn duty(&self) -> Duty {
        self.duty
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn cidrs(&self) -> &BTreeMap<Prefix, Cidr> {
        &self.cidrs
    }

    /// The CIDR that the next pod's address comes from.
    pub(crate) fn next_cidr(&self) -> Option<&Prefix> {
        self.order.first().map(|(_, _, _, prefix)| prefix)
    }

    /// The CIDR that the next pod's address comes from, and that address.
    pub(crate) fn next(&self) -> Option<(Prefix, IpAddr)> {
        let prefix = self.next_cidr()?;
        Some((*prefix, self.cidrs.get(prefix)?.next?))
    }

    /// Addresses that the next pods get, about in that order.
    pub(crate) fn next_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let blocks = self.order.iter().filter_map(|(_, _, _, prefix)| self.cidrs.get(prefix));
        blocks.flat_map(|cidr| cidr.slots.free_addresses())
    }

    /// Adds an unused CIDR; the host must learn of it before pods can have it.
    pub(crate) fn insert(&mut self, prefix: Prefix, hinted: Option<Time>) {
        let slots = Slots::new(prefix);
        let cidr = Cidr {
            slots,
            confirmed: true,
            hinted,
            doubted: false,
            remembered: false,
            ready: false,
            listed: None,
            next: None,
        };
        self.enter(prefix, cidr);
        self.host.stale = true;
        self.unsaved = true;
    }

    pub(crate) fn remove(&mut self, prefix: &Prefix) -> Option<Cidr> {
        let cidr = self.leave(prefix)?;
        self.host.stale = true;
        self.unsaved = true;
        Some(cidr)
    }

    /// The only way to change a CIDR: keeps sums and order in step with it.
    pub(crate) fn edit<R>(
        &mut self,
        prefix: &Prefix,
        change: impl FnOnce(&mut Cidr) -> R,
    ) -> Option<R> {
        let cidr = self.cidrs.get_mut(prefix)?;
        let before = Tally::of(cidr, prefix, self.duty);
        let result = change(cidr);
        self.tally.replace(before, Tally::of(cidr, prefix, self.duty));
        relist(&mut self.order, prefix, cidr, self.duty);
        Some(result)
    }

    /// Applies a change to every CIDR.
    pub(crate) fn edit_all(&mut self, mut change: impl FnMut(&Prefix, &mut Cidr)) {
        self.tally = Tally::default();
        for (prefix, cidr) in &mut self.cidrs {
            change(prefix, cidr);
            self.tally.add(Tally::of(cidr, prefix, self.duty));
            relist(&mut self.order, prefix, cidr, self.duty);
        }
    }

    /// Draws the conclusions from what is known of the ENI and from the settings.
    pub(crate) fn assess(&mut self, config: &PoolConfig) {
        let duty = Duty { mode: config.mode, standing: self.traits.standing(config) };
        if self.duty != duty {
            self.duty = duty;
            self.edit_all(|_, _| {});
        }
    }

    fn leave(&mut self, prefix: &Prefix) -> Option<Cidr> {
        let cidr = self.cidrs.remove(prefix)?;
        self.tally.sub(Tally::of(&cidr, prefix, self.duty));
        if let Some(preference) = cidr.listed {
            self.order.remove(&preference);
        }
        Some(cidr)
    }

    fn enter(&mut self, prefix: Prefix, mut cidr: Cidr) {
        self.tally.add(Tally::of(&cidr, &prefix, self.duty));
        relist(&mut self.order, &prefix, &mut cidr, self.duty);
        self.cidrs.insert(prefix, cidr);
    }

    /// Sums made from scratch, to check the ones that are kept.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn recount(&self) -> Tally {
        let mut tally = Tally::default();
        for (prefix, cidr) in &self.cidrs {
            tally.add(Tally::of(cidr, prefix, self.duty));
        }
        tally
    }
}
