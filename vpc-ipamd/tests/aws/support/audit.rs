//! What must be true of a node at rest, whatever was done to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vpc_ipam_core::{
    addr::Prefix,
    id::EniId,
    testkit::{
        check,
        ec2::{Eni, World},
    },
};

use super::scene::Scene;

/// Ends a check that does not hold.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

/// What every ENI of ours is described as, up to the instance.
const DESCRIPTION: &str = "aws-K8S-";

impl Scene {
    /// Pool, EC2, kernel and state file agree, and each pod can be reached.
    pub(crate) async fn audit(&self) -> Result<(), String> {
        let held = held(&self.node().json("/v1/enis").await);
        let world = self.world();
        let enis = world.enis_of(&self.instance);
        let owned: BTreeMap<EniId, BTreeSet<Prefix>> = enis
            .iter()
            .map(|eni| (eni.id.clone(), eni.owned().into_iter().collect()))
            .filter(|(id, _)| !self.others.contains(id))
            .collect();
        ensure!(held == owned, "the pool holds {held:?}, EC2 says {owned:?}");
        nothing_loose(&world, &self.others)?;
        let outlives = enis.iter().find(|eni| {
            let attachment = eni.attachment.as_ref();
            is_ours(eni) && attachment.is_some_and(|a| !a.delete_on_termination)
        });
        ensure!(outlives.is_none(), "an ENI would outlive the instance: {outlives:?}");
        for (name, pod) in &self.pods {
            let covers = |eni: &&&Eni| eni.owned().iter().any(|cidr| cidr.contains(pod.ip));
            let eni = enis.iter().find(covers);
            let Some(eni) = eni else {
                return Err(format!("{name} has {}, which is on no ENI of the node", pod.ip));
            };
            let leaves = self.datapath.eni_of(pod.ip);
            ensure!(
                leaves.as_ref() == Some(&eni.id),
                "packets of {name} ({}) leave by {leaves:?}, but EC2 expects them on {}",
                pod.ip,
                eni.id
            );
        }
        let ips: BTreeSet<_> = self.pods.values().map(|pod| pod.ip).collect();
        ensure!(ips.len() == self.pods.len(), "two pods have one address: {:?}", self.pods);
        let leases = self.pods.values().map(|pod| (&pod.key, &pod.ip));
        check::stored(self.store.content().as_deref(), leases).map_err(|e| e.to_string())
    }

    /// The pool is at rest and at its targets.
    pub(crate) async fn at_rest(&self) -> Result<(), String> {
        let status = self.node().json("/v1/status").await;
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        ensure!(status["ready"] == true, "not ready: {}", status["degraded"]);
        let degraded = self.node().degraded().await;
        let unexpected = degraded.iter().find(|d| !self.excused.iter().any(|e| d.contains(e)));
        ensure!(unexpected.is_none(), "degraded: {unexpected:?}");
        ensure!(self.starting.is_empty(), "pods are on their way");
        ensure!(status["waiting"] == 0 && status["inFlight"] == 0, "busy: {status}");
        let (total, assigned) =
            (number(&status["addresses"]["total"]), number(&status["addresses"]["assigned"]));
        ensure!(
            assigned == self.pods.len() as u64,
            "{assigned} addresses are leased, {} pods run",
            self.pods.len()
        );
        let free = total - assigned;
        ensure!(
            self.warm.contains(&free) || total >= self.capacity,
            "{free} addresses are free, wanted are {:?}",
            self.warm
        );
        Ok(())
    }
}

/// The CIDRs of each ENI as introspection shows them.
fn held(page: &Value) -> BTreeMap<EniId, BTreeSet<Prefix>> {
    let mut held = BTreeMap::new();
    for card in page.as_object().unwrap().values() {
        for (id, eni) in card["ENIs"].as_object().unwrap() {
            let cidrs = eni["AvailableIPv4Cidrs"].as_object().unwrap();
            let cidrs = cidrs.keys().map(|cidr| cidr.parse().unwrap()).collect();
            held.insert(id.parse().unwrap(), cidrs);
        }
    }
    held
}

fn is_ours(eni: &Eni) -> bool {
    eni.description.starts_with(DESCRIPTION)
}

/// No ENI of ours is left unattached.
fn nothing_loose(world: &World, others: &BTreeSet<EniId>) -> Result<(), String> {
    let is_loose = |eni: &&Eni| eni.attachment.is_none() && is_ours(eni);
    let loose = world.enis().filter(is_loose).find(|eni| !others.contains(&eni.id));
    ensure!(loose.is_none(), "an ENI was left behind: {loose:?}");
    Ok(())
}
