//! Settings and the instance's facts together: what pool and kernel are told.

use std::time::{SystemTime, UNIX_EPOCH};

use vpc_ipam_core::{
    cloud::{InstanceFacts, InstanceLimits},
    config::{AllocationMode, ConfigError, PoolConfig},
    datapath::{NodeSpec, Snat},
    policy::PolicyConfig,
};

use super::Settings;

/// Pods of a node in prefix mode: what EKS recommends for all but the largest instances.
const MAX_PODS_PREFIX: u32 = 110;
/// Pods on the host network that every node runs and that need no address: this daemon and kube-proxy.
const HOST_NETWORK_PODS: u32 = 2;

impl Settings {
    /// What ENIs hold on an instance with `limits`: prefixes where they are both wanted and possible.
    pub fn mode(&self, limits: &InstanceLimits) -> AllocationMode {
        if self.prefix_delegation && limits.prefixes {
            AllocationMode::Prefix
        } else {
            AllocationMode::Secondary
        }
    }

    /// The pool's configuration on the instance that `facts` tell of.
    ///
    /// # Errors
    ///
    /// If nothing could ever run there.
    pub fn pool_config(&self, facts: &InstanceFacts) -> Result<PoolConfig, ConfigError> {
        let limits = &facts.limits;
        let max_enis = self.max_eni.map_or(limits.enis, |max| max.min(limits.enis));
        let mode = self.mode(limits);
        let mut config = PoolConfig::new(mode, self.targets, max_enis, limits.slots())?;
        config.max_pods = self.max_pods.unwrap_or(match mode {
            AllocationMode::Prefix => MAX_PODS_PREFIX,
            AllocationMode::Secondary => {
                limits.enis.saturating_mul(limits.slots()).saturating_add(HOST_NETWORK_PODS)
            }
        });
        config.instance = Some(facts.instance.clone());
        self.common(&mut config);
        Ok(config)
    }

    /// The pool's configuration while nobody knows the instance: it keeps the leases of the state
    /// file and changes nothing.
    ///
    /// # Errors
    ///
    /// If targets contradict each other.
    pub fn provisional_config(&self) -> Result<PoolConfig, ConfigError> {
        let mut config = PoolConfig::new(AllocationMode::Secondary, self.targets, 1, 1)?;
        self.common(&mut config);
        config.provisioning = false;
        Ok(config)
    }

    fn common(&self, config: &mut PoolConfig) {
        config.policy = if self.adaptive {
            PolicyConfig::Adaptive(self.warm_bounds)
        } else {
            PolicyConfig::Static
        };
        config.cooldown = self.cooldown;
        config.provisioning = self.provisioning;
        config.metadata_only = self.imds_only;
        config.manage_untagged = self.manage_untagged;
        config.pod_eni = self.pod_eni;
        config.remember = true;
        config.seed = self.spread();
    }

    /// What spreads the retries of this process.
    pub(crate) fn spread(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ (u64::from(std::process::id()) << 32)
        })
    }

    /// Desired state of the node as a whole.
    pub fn node_spec(&self, facts: &InstanceFacts) -> NodeSpec {
        NodeSpec {
            primary_mac: facts.primary_mac,
            primary_ip: facts.primary_ip,
            vpc_cidrs: facts.vpc_cidrs.clone(),
            snat: if self.external_snat {
                Snat::External
            } else {
                Snat::Node { ports: self.snat_ports, exclude: self.exclude_snat_cidrs.clone() }
            },
            node_port: self.node_port,
            veth_prefix: self.veth_prefix.clone(),
            connmark: self.connmark,
            mtu: self.mtu,
            external_service_cidrs: self.external_service_cidrs.clone(),
        }
    }
}
