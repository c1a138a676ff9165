//! What a simulated node of several cards is like.

use crate::{
    config::{AllocationMode, Family, PoolConfig, WarmTargets},
    id::InstanceId,
    testkit::{
        ec2::{
            Allocation, AttachNetworkInterface, CreateNetworkInterface, InterfaceType, World,
            WorldConfig, instance_type,
        },
        sim::SimError,
    },
    time::Time,
};

/// The one type of the model's catalog with several network cards.
const INSTANCE_TYPE: &str = "p4d.24xlarge";
/// ENIs and slots on card 0: few, so that pods overflow to the other cards.
const FIRST: (u32, u32) = (2, 3);
/// The same on the others.
const OTHERS: (u32, u32) = (2, 2);

/// A node of which some cards are managed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CardsConfig {
    /// Decides latencies, jitter and ids.
    pub seed: u64,
    /// Settings of each managed card's pool.
    pub cards: Vec<PoolConfig>,
}

impl CardsConfig {
    /// A `p4d.24xlarge` with these cards of four, one address kept free, and few places on each card.
    ///
    /// # Errors
    ///
    /// None but those of the settings, which do not contradict each other.
    pub fn new(cards: &[u32], seed: u64) -> Result<Self, SimError> {
        Self::with(cards, AllocationMode::Secondary, seed)
    }

    /// The same with single addresses or prefixes.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn with(cards: &[u32], mode: AllocationMode, seed: u64) -> Result<Self, SimError> {
        let targets = WarmTargets { ips: 1, ..WarmTargets::default() };
        let mut first = PoolConfig::new(mode, targets, FIRST.0, FIRST.1)?;
        first.seed = seed;
        let pool = |card: &u32| match card {
            0 => first.clone(),
            card => PoolConfig { slots: OTHERS.1, ..first.on_card(*card, OTHERS.0) },
        };
        Ok(Self { seed, cards: cards.iter().map(pool).collect() })
    }

    /// The same with IPv6.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn ipv6(cards: &[u32], seed: u64) -> Result<Self, SimError> {
        let mut config = Self::with(cards, AllocationMode::Prefix, seed)?;
        config.on_all(|pool| pool.family = Family::V6);
        Ok(config)
    }

    /// Sets the same on every card.
    pub fn on_all(&mut self, set: impl Fn(&mut PoolConfig)) {
        self.cards.iter_mut().for_each(set);
    }

    pub(super) fn family(&self) -> Family {
        self.cards.first().map(|pool| pool.family).unwrap_or_default()
    }

    pub(super) fn world(&self) -> Result<(World, InstanceId), SimError> {
        let mut world = WorldConfig::new("10.0.0.0/16".parse()?)
            .subnet("10.0.0.0/22".parse()?)
            .instance(0, INSTANCE_TYPE)
            .allocation(Allocation::default())
            .seed(self.seed);
        if self.family() == Family::V6 {
            world = world.ipv6(0, "2001:db8::/64".parse()?);
        }
        let mut world = world.build()?;
        let instance = world.instances().first().ok_or(SimError::NoInstance)?;
        let (id, subnet) = (instance.id.clone(), instance.subnet.clone());
        let cards = instance_type(INSTANCE_TYPE).map_or(0, |t| t.card_enis.len());
        let managed = |card: &u32| self.cards.iter().any(|pool| pool.card == *card);
        for card in (0..u32::try_from(cards).unwrap_or(0)).filter(|card| !managed(card)) {
            let mut fabric = CreateNetworkInterface::new(subnet.clone());
            fabric.kind = InterfaceType::EfaOnly;
            let refused = |error| SimError::Refused { error };
            let eni = world.create_network_interface(&fabric, Time::ZERO).map_err(refused)?.id;
            let attach = AttachNetworkInterface { eni, instance: id.clone(), device: 1, card };
            world.attach_network_interface(&attach, Time::ZERO).map_err(refused)?;
        }
        Ok((world, id))
    }
}
