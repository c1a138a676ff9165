//! Policies: how much a pool keeps ready.

use std::{str::FromStr, time::Duration};

use thiserror::Error;
use vpc_ipam_core::{
    config::{AllocationMode, PoolConfig, WarmTargets},
    policy::{Bounds, PolicyConfig},
    testkit::sim::{SimConfig, SimError},
};

/// A policy that has a name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What it makes of a node's configuration. A policy that is more than settings plugs in here.
    apply: fn(&mut SimConfig),
}

pub(crate) static NAMED: [Named; 5] = [
    Named {
        name: "warm-eni",
        about: "WARM_ENI_TARGET=1: a spare ENI's worth of addresses, the default of the reference",
        apply: |sim| sim.pool.targets = targets(1, 0, 0, 0),
    },
    Named {
        name: "warm-ip",
        about: "WARM_IP_TARGET=5,MINIMUM_IP_TARGET=10",
        apply: |sim| sim.pool.targets = targets(1, 5, 10, 0),
    },
    Named {
        name: "warm-prefix",
        about: "WARM_PREFIX_TARGET=1, with ENABLE_PREFIX_DELEGATION",
        apply: |sim| {
            sim.pool.mode = AllocationMode::Prefix;
            sim.pool.targets = targets(1, 0, 0, 1);
        },
    },
    Named {
        name: "adaptive",
        about: "VPC_CNI_WARM_POLICY=adaptive: learns from the pods of the last minutes, hours and days",
        apply: |sim| sim.pool.policy = PolicyConfig::Adaptive(Bounds::default()),
    },
    Named {
        name: "adaptive-prefix",
        about: "the same with ENABLE_PREFIX_DELEGATION",
        apply: |sim| {
            sim.pool.mode = AllocationMode::Prefix;
            sim.pool.targets = targets(1, 0, 0, 1);
            sim.pool.policy = PolicyConfig::Adaptive(Bounds::default());
        },
    },
];

/// How many of them are compared when nobody says otherwise: the static ones.
const USUAL: usize = 3;

fn targets(enis: u32, ips: u32, minimum_ips: u32, prefixes: u32) -> WarmTargets {
    WarmTargets { enis, ips, minimum_ips, prefixes }
}

/// One policy to simulate.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Named(&'static Named),
    Settings(Settings),
}

/// Settings in the daemon's own terms.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    enis: Option<u32>,
    ips: Option<u32>,
    minimum_ips: Option<u32>,
    prefixes: Option<u32>,
    prefix_mode: Option<bool>,
    max_enis: Option<u32>,
    cooldown_s: Option<u32>,
}

/// Why a text is no policy.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum PolicyError {
    #[error("{0:?} is neither a policy's name nor SETTING=VALUE; --list shows the names")]
    Unknown(String),
    #[error(
        "{0} is no setting of the pool; known: WARM_ENI_TARGET, WARM_IP_TARGET, MINIMUM_IP_TARGET, WARM_PREFIX_TARGET, ENABLE_PREFIX_DELEGATION, MAX_ENI, IP_COOLDOWN_PERIOD"
    )]
    Setting(String),
    #[error("{name}={value:?} is not {expected}")]
    Value { name: String, value: String, expected: &'static str },
}

impl Policy {
    /// As the user wrote it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A node of that type under this policy.
    pub(crate) fn config(&self, instance_type: &str, seed: u64) -> Result<SimConfig, SimError> {
        let mut sim = SimConfig::new(instance_type, seed)?;
        match &self.kind {
            Kind::Named(named) => (named.apply)(&mut sim),
            Kind::Settings(settings) => settings.apply(&mut sim.pool),
        }
        // The constructor knows what contradicts itself.
        let pool = &sim.pool;
        PoolConfig::new(pool.mode, pool.targets, pool.max_enis, pool.slots)?;
        Ok(sim)
    }
}

impl Settings {
    fn set(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        if name == "ENABLE_PREFIX_DELEGATION" {
            self.prefix_mode = Some(match value {
                "true" => true,
                "false" => false,
                _ => return Err(wrong(name, value, "true or false")),
            });
            return Ok(());
        }
        let field = match name {
            "IP_COOLDOWN_PERIOD" => &mut self.cooldown_s,
            "MAX_ENI" => &mut self.max_enis,
            "MINIMUM_IP_TARGET" => &mut self.minimum_ips,
            "WARM_ENI_TARGET" => &mut self.enis,
            "WARM_IP_TARGET" => &mut self.ips,
            "WARM_PREFIX_TARGET" => &mut self.prefixes,
            _ => return Err(PolicyError::Setting(name.to_owned())),
        };
        *field = Some(value.parse().map_err(|_| wrong(name, value, "a whole number"))?);
        Ok(())
    }

    fn apply(&self, pool: &mut PoolConfig) {
        pool.targets = targets(
            self.enis.unwrap_or(1),
            self.ips.unwrap_or(0),
            self.minimum_ips.unwrap_or(0),
            self.prefixes.unwrap_or(0),
        );
        // A target for prefixes means nothing without them.
        if self.prefix_mode.unwrap_or(self.prefixes.is_some()) {
            pool.mode = AllocationMode::Prefix;
        }
        if let Some(max) = self.max_enis.filter(|max| *max > 0) {
            pool.max_enis = pool.max_enis.min(max);
        }
        if let Some(seconds) = self.cooldown_s {
            pool.cooldown = Duration::from_secs(seconds.into());
        }
    }
}

fn wrong(name: &str, value: &str, expected: &'static str) -> PolicyError {
    PolicyError::Value { name: name.to_owned(), value: value.to_owned(), expected }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let name = text.to_owned();
        if let Some(named) = NAMED.iter().find(|named| named.name == text) {
            return Ok(Self { name, kind: Kind::Named(named) });
        }
        let mut settings = Settings::default();
        for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
            let (key, value) =
                part.split_once('=').ok_or_else(|| PolicyError::Unknown(part.to_owned()))?;
            settings.set(key, value)?;
        }
        if text.contains('=') {
            Ok(Self { name, kind: Kind::Settings(settings) })
        } else {
            Err(PolicyError::Unknown(name))
        }
    }
}

/// What is compared when nobody says otherwise.
pub(crate) fn usual() -> Vec<Policy> {
    NAMED
        .iter()
        .take(USUAL)
        .map(|named| Policy { name: named.name.to_owned(), kind: Kind::Named(named) })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pool(text: &str) -> PoolConfig {
        text.parse::<Policy>().unwrap().config("m5.large", 1).unwrap().pool
    }

    #[test]
    fn names_are_short_for_settings() {
        for (name, settings) in [
            ("warm-eni", "WARM_ENI_TARGET=1"),
            ("warm-ip", "WARM_IP_TARGET=5,MINIMUM_IP_TARGET=10"),
            ("warm-prefix", "WARM_PREFIX_TARGET=1"),
        ] {
            assert_eq!(pool(name), pool(settings), "{name}");
        }
        assert_eq!(pool("warm-prefix").mode, AllocationMode::Prefix);
    }

    #[test]
    fn the_adaptive_policy_has_a_name() {
        assert_eq!(pool("adaptive").policy, PolicyConfig::Adaptive(Bounds::default()));
        assert!(usual().iter().all(|policy| policy.name() != "adaptive"));
        let (learning, fixed) = (pool("adaptive-prefix"), pool("warm-prefix"));
        assert_eq!(learning.policy, PolicyConfig::Adaptive(Bounds::default()));
        assert_eq!((learning.mode, learning.targets), (fixed.mode, fixed.targets));
    }

    #[test]
    fn settings_are_the_daemons() {
        let pool =
            pool("ENABLE_PREFIX_DELEGATION=true WARM_IP_TARGET=3 MAX_ENI=2 IP_COOLDOWN_PERIOD=5");
        assert_eq!((pool.mode, pool.targets.ips), (AllocationMode::Prefix, 3));
        assert_eq!((pool.max_enis, pool.cooldown), (2, Duration::from_secs(5)));
    }

    #[test]
    fn a_wrong_policy_says_what_is_wrong() {
        for (text, words) in [
            ("adaptive-ish", "--list"),
            ("", "--list"),
            ("WARM_IP_TARGET=five", "not a whole number"),
            ("WARM_PODS=5", "known: WARM_ENI_TARGET"),
        ] {
            let error = text.parse::<Policy>().unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        let empty: Policy = "ENABLE_PREFIX_DELEGATION=true".parse().unwrap();
        assert!(empty.config("m5.large", 1).is_err());
    }
}
