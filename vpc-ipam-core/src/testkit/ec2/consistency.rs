//! Eventual consistency: a describe may show what was, and a new ENI may not be known everywhere yet.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{eni::Eni, error::Ec2Error, ids::Random, world::World};
use crate::{id::EniId, time::Time};

/// How far EC2's answers may lag behind. Not at all by default. How far one call lags follows from the
/// world's seed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Consistency {
    /// The oldest state that `DescribeNetworkInterfaces` shows.
    pub lag: Duration,
    /// A reader never sees a state older than one it has seen. Who reads is known from a filter by
    /// `attachment.instance-id`; calls without it are one reader.
    pub monotonic: bool,
    /// For at most so long after `CreateNetworkInterface`, calls that name the ENI end with
    /// `InvalidNetworkInterfaceID.NotFound`.
    pub unseen: Duration,
}

impl Consistency {
    /// Every answer shows the present.
    pub const STRONG: Self = Self { lag: Duration::ZERO, monotonic: false, unseen: Duration::ZERO };
}

type Versions = VecDeque<(Time, Option<Eni>)>;

#[derive(Clone, Debug)]
pub(super) struct Past {
    config: Consistency,
    random: Random,
    versions: BTreeMap<EniId, Versions>,
    /// The moment that each reader saw last.
    seen: BTreeMap<String, Time>,
    /// Until when an ENI is unknown to calls.
    hidden: BTreeMap<EniId, Time>,
}

impl Past {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            config: Consistency::STRONG,
            random: Random::new(seed),
            versions: BTreeMap::new(),
            seen: BTreeMap::new(),
            hidden: BTreeMap::new(),
        }
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.next() % ms.saturating_add(1))
    }
}

/// The moment that one call sees; `None` is the present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen(Option<Time>);

impl Seen {
    pub(super) fn eni<'a>(&self, world: &'a World, id: &EniId) -> Option<&'a Eni> {
        let Some(at) = self.0 else {
            return world.eni(id).filter(|_| !world.is_hidden(id));
        };
        let versions = world.past.versions.get(id)?;
        let (_, eni) = versions.iter().rfind(|(from, _)| *from <= at)?;
        eni.as_ref().filter(|_| !world.is_hidden(id))
    }

    /// ENIs by id.
    pub(super) fn enis<'a>(&'a self, world: &'a World) -> Box<dyn Iterator<Item = &'a Eni> + 'a> {
        match self.0 {
            None => Box::new(world.enis.values()),
            Some(_) => Box::new(world.past.versions.keys().filter_map(|id| self.eni(world, id))),
        }
    }
}

impl World {
    /// How consistent EC2's answers are.
    pub fn consistency(&self) -> Consistency {
        self.past.config
    }

    /// How consistent EC2's answers are from now on.
    pub fn set_consistency(&mut self, config: Consistency) {
        let lags = !config.lag.is_zero();
        if lags && self.past.config.lag.is_zero() {
            let present = |eni: &Eni| Versions::from([(Time::ZERO, Some(eni.clone()))]);
            self.past.versions =
                self.enis.iter().map(|(id, eni)| (id.clone(), present(eni))).collect();
        }
        if !lags {
            self.past.versions.clear();
            self.past.seen.clear();
        }
        if config.unseen.is_zero() {
            self.past.hidden.clear();
        }
        self.past.config = config;
    }

    /// Ends the time for which a new ENI is unknown, for a caller that has waited for that.
    pub fn reveal_eni(&mut self, eni: &EniId) {
        self.past.hidden.remove(eni);
    }

    /// Called after every change of an ENI.
    pub(super) fn touch(&mut self, id: &EniId) {
        let lag = self.past.config.lag;
        if lag.is_zero() {
            return;
        }
        let now = self.now();
        let state = self.enis.get(id).cloned();
        let versions = self.past.versions.entry(id.clone()).or_default();
        versions.push_back((now, state));
        let oldest = Time::from_millis(
            now.as_millis().saturating_sub(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
        );
        while versions.get(1).is_some_and(|(from, _)| *from <= oldest) {
            versions.pop_front();
        }
        self.past.versions.retain(
            |_, versions| !matches!(versions.make_contiguous(), [(from, None)] if *from <= oldest),
        );
    }

    /// True if the newest state remembered of each ENI is its present state.
    #[cfg(test)]
    pub(super) fn remembers_the_present(&self) -> bool {
        let newest = |id: &EniId| self.past.versions.get(id)?.back()?.1.as_ref();
        let ids = self.past.versions.keys().chain(self.enis.keys());
        ids.into_iter().all(|id| newest(id) == self.enis.get(id))
    }

    /// The moment that a describe of `reader` sees.
    pub(super) fn look(&mut self, reader: &str) -> Seen {
        let Consistency { lag, monotonic, .. } = self.past.config;
        if lag.is_zero() {
            return Seen(None);
        }
        let behind = u64::try_from(self.past.up_to(lag).as_millis()).unwrap_or(u64::MAX);
        let mut at = Time::from_millis(self.now().as_millis().saturating_sub(behind));
        if monotonic {
            let last = self.past.seen.entry(reader.to_owned()).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        Seen(Some(at))
    }

    pub(super) fn hide_for_a_while(&mut self, eni: &EniId) {
        let unseen = self.past.config.unseen;
        if !unseen.is_zero() {
            let now = self.now();
            self.past.hidden.retain(|_, until| *until > now);
            let until = now + self.past.up_to(unseen);
            self.past.hidden.insert(eni.clone(), until);
        }
    }

    fn is_hidden(&self, eni: &EniId) -> bool {
        self.past.hidden.get(eni).is_some_and(|until| *until > self.now())
    }

    /// The ENI, if a call that names it finds it.
    pub(super) fn visible_eni(&self, eni: &EniId) -> Result<&Eni, Ec2Error> {
        if self.is_hidden(eni) {
            return Err(Ec2Error::eni_not_found(eni));
        }
        self.known_eni(eni)
    }
}
