//! New settings while the pool runs.

use super::Pool;
use crate::{config::PoolConfig, time::Time};

impl Pool {
    pub(super) fn reconfigure(&mut self, config: PoolConfig, now: Time) {
        let view = |c: &PoolConfig| (c.instance.clone(), c.manage_untagged, c.metadata_only);
        if view(&self.config) != view(&config) {
            // Whose an ENI is may look different now.
            self.describe_soon(now);
        }
        if self.config.custom_network != config.custom_network {
            self.try_creation_again();
        }
        if !config.provisions() {
            self.keep_what_was_leaving();
        }
        for eni in self.enis.values_mut() {
            eni.assess(&config);
        }
        if self.config.policy != config.policy {
            self.policy = config.policy.build();
        }
        self.purse.resize(&config.budget);
        let family = std::mem::replace(&mut self.config, config).family;
        if self.config.family != family {
            self.change_family(now);
        }
    }

    /// What has left the pool, but not yet the cloud, is left there: the next view brings it back.
    fn keep_what_was_leaving(&mut self) {
        for eni in self.enis.values_mut().filter(|eni| eni.op.is_none()) {
            eni.leaving.clear();
        }
    }

    /// What ENIs hold of the former family is none of the pool's business any more; its leases stay.
    fn change_family(&mut self, now: Time) {
        let family = self.config.family;
        let strange = self.owners.iter().filter(|(cidr, _)| !family.takes(cidr));
        let strange: Vec<_> = strange.map(|(cidr, eni)| (eni.clone(), *cidr)).collect();
        for (eni, cidr) in strange {
            self.drop_cidr(&eni, &cidr);
        }
        self.describe_soon(now);
    }
}
