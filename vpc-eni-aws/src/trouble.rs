//! What is wrong though calls succeed.

use std::collections::BTreeMap;

use crate::backend::AwsBackend;

/// Reason of a node that cannot look up its subnets.
const SUBNETS: &str = "subnets";

impl AwsBackend {
    /// What the backend has to do without, as one sentence with cause and remedy, by a word for metrics
    /// and alerts: `subnets`. Empty if nothing is wrong. Asks nobody.
    pub fn troubles(&self) -> BTreeMap<&'static str, String> {
        let memory = self.memory();
        let subnets = memory.subnets.failure().map(|error| {
            format!(
                "the subnets cannot be looked up, so that new ENIs go by what was known before, or into \
                 the node's own subnet: {error}"
            )
        });
        subnets.map(|message| (SUBNETS, message)).into_iter().collect()
    }
}
