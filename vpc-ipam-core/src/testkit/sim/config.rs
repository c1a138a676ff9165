//! What a simulated node is like.

use std::{net::Ipv6Addr, time::Duration};

use thiserror::Error;

use crate::{
    addr::{Prefix, PrefixError},
    config::{AllocationMode, ConfigError, Family, PoolConfig, WarmTargets},
    pool::Action,
    testkit::{
        check::Violation,
        ec2::{Allocation, Delays, Ec2Error, World, WorldConfig, WorldError, instance_type},
    },
};

/// Base of the /64 of an IPv6 node's subnet.
const SUBNET_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);

/// Why a simulation cannot start.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SimError {
    /// The pool's settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The world has no instance.
    #[error("the world has no instance")]
    NoInstance,
    /// A malformed block.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// The model of EC2 refused to set the scene.
    #[error("the scene cannot be set: {error}")]
    Refused {
        /// Its answer.
        error: Ec2Error,
    },
    /// An instance type that the model does not know.
    #[error("instance type {0:?} is not in the model's catalog")]
    UnknownInstanceType(String),
    /// An invariant was broken at the very start.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The world cannot be built.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// Shortest and longest time of each kind of call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Latency {
    /// Cloud calls.
    pub cloud: (Duration, Duration),
    /// Writes of the state file and kernel operations.
    pub blocking: (Duration, Duration),
}

impl Default for Latency {
    /// EC2 calls take tenths of a second, disks milliseconds.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { cloud: (ms(100), ms(1500)), blocking: (ms(1), ms(10)) }
    }
}

impl Latency {
    pub(super) fn of(&self, action: &Action) -> (Duration, Duration) {
        match action {
            Action::Persist { .. }
            | Action::Remember { .. }
            | Action::SetUpEni { .. }
            | Action::TearDownEni { .. } => self.blocking,
            _ => self.cloud,
        }
    }
}

/// How closely a simulation looks. All of it by default; a fleet over days does with none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detail {
    /// Check every step; otherwise only when [`Sim::check`](super::Sim::check) is called.
    pub checks: bool,
    /// Keep all actions and refusals.
    pub history: bool,
    /// Write the state file and the hint. Without them a crash finds no leases.
    pub state_file: bool,
}

impl Detail {
    /// Everything.
    pub const FULL: Self = Self { checks: true, history: true, state_file: true };
    /// What costs no time.
    pub const LIGHT: Self = Self { checks: false, history: false, state_file: false };
}

/// A node of one type in one subnet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimConfig {
    /// Decides latencies, jitter and ids.
    pub seed: u64,
    /// For example `m5.large`.
    pub instance_type: String,
    /// Block of the subnet, inside `10.0.0.0/16`.
    pub subnet: Prefix,
    /// Blocks of further subnets of the same zone, in which the node is not.
    pub further_subnets: Vec<Prefix>,
    /// Settings of the pool.
    pub pool: PoolConfig,
    /// How long calls take.
    pub latency: Latency,
    /// How late instance metadata is.
    pub delays: Delays,
    /// How EC2 picks addresses.
    pub allocation: Allocation,
    /// How closely to look.
    pub detail: Detail,
}

impl SimConfig {
    /// Secondary mode with the usual targets in a /20.
    ///
    /// # Errors
    ///
    /// If the model does not know the instance type.
    pub fn new(instance_type: &str, seed: u64) -> Result<Self, SimError> {
        Self::with(instance_type, AllocationMode::Secondary, WarmTargets::default(), seed)
    }

    /// Any mode and targets.
    ///
    /// # Errors
    ///
    /// If the model does not know the instance type, or the settings contradict each other.
    pub fn with(
        type_name: &str,
        mode: AllocationMode,
        targets: WarmTargets,
        seed: u64,
    ) -> Result<Self, SimError> {
        let limits = instance_type(type_name)
            .ok_or_else(|| SimError::UnknownInstanceType(type_name.to_owned()))?
            .limits();
        let mut pool = PoolConfig::new(mode, targets, limits.enis, limits.slots())?;
        pool.seed = seed;
        let address_to_imds = Duration::from_secs(4);
        Ok(Self {
            seed,
            instance_type: type_name.to_owned(),
            subnet: "10.0.0.0/20".parse()?,
            further_subnets: Vec::new(),
            pool,
            latency: Latency::default(),
            delays: Delays { address_to_imds, ..Delays::NONE },
            allocation: Allocation::default(),
            detail: Detail::FULL,
        })
    }

    /// IPv6 in a dual-stack subnet.
    ///
    /// # Errors
    ///
    /// If the model does not know the instance type.
    pub fn ipv6(type_name: &str, seed: u64) -> Result<Self, SimError> {
        let mut config = Self::new(type_name, seed)?;
        let PoolConfig { max_enis, slots, .. } = config.pool;
        config.pool = PoolConfig::ipv6(max_enis, slots)?;
        config.pool.seed = seed;
        Ok(config)
    }

    pub(super) fn world(&self) -> Result<World, WorldError> {
        self.world_of(1)
    }

    /// A world with so many instances in the subnet.
    pub(super) fn world_of(&self, instances: u32) -> Result<World, WorldError> {
        let world = WorldConfig::new(Prefix::new([10, 0, 0, 0].into(), 16).unwrap_or(self.subnet));
        let mut config = (0..instances)
            .fold(world.subnet(self.subnet), |world, _| world.instance(0, &self.instance_type))
            .delays(self.delays)
            .allocation(self.allocation)
            .seed(self.seed);
        for subnet in &self.further_subnets {
            config = config.subnet(*subnet);
        }
        if self.pool.family == Family::V6 {
            config = config.ipv6(0, Prefix::new(SUBNET_V6.into(), 64).unwrap_or(self.subnet));
        }
        config.build()
    }
}
