//! What the pool is told: limits and warm targets.

use std::time::Duration;

use thiserror::Error;

use crate::{
    addr::{DELEGATED_V6_LEN, Prefix},
    budget::Budget,
    id::{InstanceId, SecurityGroupId, SubnetId},
    policy::PolicyConfig,
};

/// Seconds a released address rests before it is given to another pod, unless configured.
const COOLDOWN_DEFAULT: Duration = Duration::from_secs(30);
/// How long an ADD may wait for an allocation that is under way. Runtimes give up on a plugin after
/// minutes, kubelets retry; most ENI attachments take 5 to 15 s.
const ADD_WAIT_DEFAULT: Duration = Duration::from_secs(45);
/// Pods of a node whose capacity nobody knows.
const MAX_PODS_DEFAULT: u32 = 110;

/// Difference between the seeds of neighbouring cards: odd and large, so that they share no sequence.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// How much to keep ready, in the reference's terms.
///
/// Precedence: address targets, then the prefix target (prefix mode), then the ENI target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WarmTargets {
    /// `WARM_ENI_TARGET`: spare ENIs, filled completely.
    pub enis: u32,
    /// `WARM_IP_TARGET`: available addresses to keep; 0 is off.
    pub ips: u32,
    /// `MINIMUM_IP_TARGET`: floor of the total; 0 is off.
    pub minimum_ips: u32,
    /// `WARM_PREFIX_TARGET`: prefixes to keep without a pod.
    pub prefixes: u32,
}

impl Default for WarmTargets {
    fn default() -> Self {
        Self { enis: 1, ips: 0, minimum_ips: 0, prefixes: 0 }
    }
}

impl WarmTargets {
    /// True if the address targets rule.
    pub fn has_ip_targets(&self) -> bool {
        self.ips > 0 || self.minimum_ips > 0
    }
}

/// Whether ENIs hold single addresses or prefixes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AllocationMode {
    /// Delegated `/28` prefixes.
    Prefix,
    /// Secondary addresses.
    Secondary,
}

/// Address family of the pods; a node has one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6: each ENI holds one delegated prefix, which is more than enough for all pods of a node, so
    /// that the warm targets play no part and nothing is ever given back.
    V6,
}

impl Family {
    /// True for a block of an ENI that pods of this family could be given addresses of. IPv6 addresses
    /// of an ENI belong to the node, as do those of the other family.
    pub fn takes(self, block: &Prefix) -> bool {
        match self {
            Self::V4 => block.is_v4(),
            // EC2 delegates nothing larger; the sums of a node stay below 2^64.
            Self::V6 => !block.is_v4() && !block.is_host() && block.len() >= DELEGATED_V6_LEN,
        }
    }
}

/// Where new ENIs go if pods do not belong into the node's own subnet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CustomNetwork {
    /// Pods belong where the node is.
    #[default]
    Off,
    /// The `ENIConfig` that this node is to use does not exist (yet): no ENI is made.
    Missing {
        /// Its name.
        name: String,
    },
    /// New ENIs go into this subnet; the primary ENI serves no pods.
    Subnet {
        /// The subnet.
        subnet: SubnetId,
        /// Security groups; none stands for those of the primary ENI.
        groups: Vec<SecurityGroupId>,
    },
}

/// Everything the pool needs to be told. Built once from the settings and the instance's limits.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Network card that the pool's ENIs are attached to. It minds no other.
    pub card: u32,
    /// What ENIs hold.
    pub mode: AllocationMode,
    /// Family of the addresses. What ENIs hold for the other one is left alone.
    pub family: Family,
    /// What to keep ready.
    pub targets: WarmTargets,
    /// Whether the targets decide what to keep ready, or a policy that learns.
    pub policy: PolicyConfig,
    /// ENIs this card may have: the instance limit, or `MAX_ENI` if that is smaller.
    pub max_enis: u32,
    /// Secondary addresses or prefixes per ENI: the instance limit less the primary address.
    pub slots: u32,
    /// Pods that the node runs at the most; the pool does not grow past it.
    pub max_pods: u32,
    /// How long a released address rests.
    pub cooldown: Duration,
    /// How long an ADD may wait for an address.
    pub add_wait: Duration,
    /// False: never change anything in the cloud, follow what it shows.
    pub provisioning: bool,
    /// `ENABLE_IMDS_ONLY_MODE`: nobody asks EC2, so that instance metadata is all there is to go by.
    /// Whoever else provides the ENIs keeps what is theirs: this too means that nothing is ever
    /// changed in the cloud.
    pub metadata_only: bool,
    /// The instance, as the tags of its ENIs name it; `None`: no ENI is known by its tag.
    pub instance: Option<InstanceId>,
    /// `MANAGE_UNTAGGED_ENI`: ENIs whose tags do not say whose they are belong to the pool.
    pub manage_untagged: bool,
    /// `AWS_MANAGE_ENIS_NON_SCHEDULABLE`: grow and free ENIs on a node that takes no new pods, too.
    pub manage_unschedulable: bool,
    /// `ENABLE_POD_ENI`: somebody attaches a trunk, which needs a place.
    pub pod_eni: bool,
    /// Whether the instance type can have a trunk; `None` if nobody knows.
    pub trunking: Option<bool>,
    /// `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG` and what came of it.
    pub custom_network: CustomNetwork,
    /// How many EC2 calls may be made.
    pub budget: Budget,
    /// Seed of the jitter of retries.
    pub seed: u64,
    /// Ask for the ENI view to be stored, for a start on which the cloud does not answer: see
    /// [`hint`](crate::hint). Nothing is given back to EC2 before the view without it is stored.
    pub remember: bool,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// An instance without ENIs or addresses for pods.
    #[error(
        "an instance with {max_enis} ENI(s) of {slots} secondary address(es) cannot hold any pod; check MAX_ENI and the instance type"
    )]
    NoCapacity {
        /// ENIs allowed.
        max_enis: u32,
        /// Slots per ENI.
        slots: u32,
    },
    /// Prefix mode with nothing to keep would take and release one prefix for ever.
    #[error(
        "prefix delegation needs WARM_PREFIX_TARGET, WARM_IP_TARGET or MINIMUM_IP_TARGET above 0"
    )]
    PrefixModeWithoutTarget,
}

impl PoolConfig {
    /// A configuration with default timing and `max_pods` 110.
    ///
    /// # Errors
    ///
    /// If the parts contradict each other.
    pub fn new(
        mode: AllocationMode,
        targets: WarmTargets,
        max_enis: u32,
        slots: u32,
    ) -> Result<Self, ConfigError> {
        if max_enis == 0 || slots == 0 {
            return Err(ConfigError::NoCapacity { max_enis, slots });
        }
        if mode == AllocationMode::Prefix && !targets.has_ip_targets() && targets.prefixes == 0 {
            return Err(ConfigError::PrefixModeWithoutTarget);
        }
        Ok(Self {
            card: 0,
            mode,
            family: Family::V4,
            targets,
            policy: PolicyConfig::default(),
            max_enis,
            slots,
            max_pods: MAX_PODS_DEFAULT,
            cooldown: COOLDOWN_DEFAULT,
            add_wait: ADD_WAIT_DEFAULT,
            provisioning: true,
            metadata_only: false,
            instance: None,
            manage_untagged: true,
            manage_unschedulable: false,
            pod_eni: false,
            trunking: None,
            custom_network: CustomNetwork::Off,
            budget: Budget::default(),
            seed: 0,
            remember: false,
        })
    }

    /// A configuration for IPv6 with default timing and `max_pods` 110.
    ///
    /// # Errors
    ///
    /// If the instance cannot hold any pod.
    pub fn ipv6(max_enis: u32, slots: u32) -> Result<Self, ConfigError> {
        let targets = WarmTargets { prefixes: 1, ..WarmTargets::default() };
        let config = Self::new(AllocationMode::Prefix, targets, max_enis, slots)?;
        Ok(Self { family: Family::V6, ..config })
    }

    /// The configuration of another network card of the same node, which may have `max_enis` ENIs.
    ///
    /// One free address is kept there, in whole prefixes in prefix mode, whatever the targets of card
    /// 0: only pods that ask for an address on every card, and those that card 0 has no address for,
    /// use it.
    pub fn on_card(&self, card: u32, max_enis: u32) -> Self {
        Self {
            card,
            targets: WarmTargets { enis: 0, ips: 1, minimum_ips: 1, prefixes: 0 },
            policy: PolicyConfig::Static,
            max_enis,
            // A trunk is attached to card 0.
            pod_eni: false,
            // Cards that fail together must not retry together.
            seed: self.seed.wrapping_add(u64::from(card).wrapping_mul(SEED_STEP)),
            ..self.clone()
        }
    }

    /// True if the pool may change something in the cloud.
    pub fn provisions(&self) -> bool {
        self.provisioning && !self.metadata_only
    }

    /// True if a place is kept for a trunk as long as none is attached: on the first card.
    pub fn expects_trunk(&self) -> bool {
        self.card == 0 && self.pod_eni && self.trunking != Some(false)
    }

    /// Addresses that one slot gives: 16 in prefix mode, else 1. Saturates in IPv6.
    pub fn addresses_per_slot(&self) -> u32 {
        match (self.family, self.mode) {
            (Family::V6, _) => u32::MAX,
            (Family::V4, AllocationMode::Prefix) => 16,
            (Family::V4, AllocationMode::Secondary) => 1,
        }
    }

    /// Addresses that one ENI gives.
    pub fn addresses_per_eni(&self) -> u32 {
        self.slots.saturating_mul(self.addresses_per_slot())
    }
}
