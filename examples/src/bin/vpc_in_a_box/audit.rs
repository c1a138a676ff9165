//! Three accounts of who has which address must agree: the plugin's results, the daemons' pools,
//! and EC2's ENIs. Pure.

use std::{collections::BTreeMap, net::Ipv4Addr};

use vpc_ipam_core::{addr::Prefix, testkit::ec2::Eni};

use crate::plan::PodSite;

/// What the plugin gave a pod.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) pod: String,
    pub(crate) node: usize,
    pub(crate) ip: Ipv4Addr,
}

/// One node according to its daemon and to EC2.
#[derive(Clone, Debug)]
pub(crate) struct NodeAccount {
    pub(crate) name: String,
    /// Addresses that the daemon says pods have, with the ENI it says they are on.
    pub(crate) pool: Vec<(Ipv4Addr, String)>,
    /// The instance's ENIs.
    pub(crate) enis: Vec<EniAccount>,
}

/// An ENI according to EC2.
#[derive(Clone, Debug)]
pub(crate) struct EniAccount {
    pub(crate) id: String,
    pub(crate) device: u32,
    pub(crate) owned: Vec<Prefix>,
}

impl From<&Eni> for EniAccount {
    fn from(eni: &Eni) -> Self {
        Self {
            id: eni.id.to_string(),
            device: eni.attachment.as_ref().map_or(0, |a| a.device),
            owned: eni.owned(),
        }
    }
}

impl NodeAccount {
    fn owner(&self, ip: Ipv4Addr) -> Option<&EniAccount> {
        self.enis.iter().find(|eni| eni.owned.iter().any(|cidr| cidr.contains(ip.into())))
    }
}

/// Compares the accounts. Returns where every pod is, and each disagreement as a sentence.
pub(crate) fn reconcile(given: &[Given], nodes: &[NodeAccount]) -> (Vec<PodSite>, Vec<String>) {
    let (mut sites, mut wrong) = (Vec::new(), Vec::new());
    let mut holders: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    for Given { pod, node, ip } in given {
        if let Some(other) = holders.insert(*ip, pod) {
            wrong.push(format!("address {ip} was given twice: to {other} and to {pod}"));
        }
        let Some(account) = nodes.get(*node) else { continue };
        let name = &account.name;
        let Some(eni) = account.owner(*ip) else {
            wrong.push(format!("{pod} on {name} has {ip}, which no ENI of {name} owns"));
            continue;
        };
        match account.pool.iter().find(|(assigned, _)| assigned == ip) {
            Some((_, on)) if *on == eni.id => {}
            Some((_, on)) => wrong.push(format!(
                "{pod} on {name} has {ip}: the daemon says on {on}, EC2 says on {}",
                eni.id
            )),
            None => {
                wrong.push(format!("{pod} on {name} has {ip}, of which the daemon knows nothing"))
            }
        }
        sites.push(PodSite {
            name: pod.clone(),
            node: *node,
            ip: *ip,
            eni: eni.id.clone(),
            device: eni.device,
        });
    }
    for account in nodes {
        for (ip, _) in account.pool.iter().filter(|(ip, _)| !holders.contains_key(ip)) {
            let name = &account.name;
            wrong.push(format!("{name}: the daemon says {ip} is assigned, but no pod has it"));
        }
    }
    (sites, wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn node(pool: &[(&str, &str)]) -> NodeAccount {
        NodeAccount {
            name: "node-1".into(),
            pool: pool.iter().map(|(a, eni)| (ip(a), (*eni).to_owned())).collect(),
            enis: vec![
                EniAccount {
                    id: "eni-1".into(),
                    device: 0,
                    owned: vec!["10.0.0.5/32".parse().unwrap()],
                },
                EniAccount {
                    id: "eni-2".into(),
                    device: 1,
                    owned: vec!["10.0.0.16/28".parse().unwrap()],
                },
            ],
        }
    }

    fn given(pod: &str, address: &str) -> Given {
        Given { pod: pod.into(), node: 0, ip: ip(address) }
    }

    #[test]
    fn agreement_tells_where_every_pod_is() {
        let node = node(&[("10.0.0.5", "eni-1"), ("10.0.0.17", "eni-2")]);
        let (sites, wrong) = reconcile(&[given("a", "10.0.0.5"), given("b", "10.0.0.17")], &[node]);
        assert_eq!(wrong, Vec::<String>::new());
        let at: Vec<_> = sites.iter().map(|s| (s.eni.as_str(), s.device)).collect();
        assert_eq!(at, [("eni-1", 0), ("eni-2", 1)]);
    }

    #[test]
    fn every_disagreement_is_found() {
        let all = |pool, pods: &[Given]| reconcile(pods, &[node(pool)]).1.join("; ");
        let pool = &[("10.0.0.5", "eni-1")][..];
        let twice = all(pool, &[given("a", "10.0.0.5"), given("b", "10.0.0.5")]);
        assert_eq!(twice, "address 10.0.0.5 was given twice: to a and to b");
        let foreign = all(&[], &[given("a", "10.0.9.9")]);
        assert!(foreign.contains("no ENI of node-1 owns"), "{foreign}");
        let unknown = all(&[], &[given("a", "10.0.0.5")]);
        assert!(unknown.contains("the daemon knows nothing"), "{unknown}");
        let elsewhere = all(&[("10.0.0.5", "eni-2")], &[given("a", "10.0.0.5")]);
        assert!(elsewhere.contains("EC2 says on eni-1"), "{elsewhere}");
        let leaked = all(pool, &[]);
        assert!(leaked.contains("no pod has it"), "{leaked}");
    }
}
