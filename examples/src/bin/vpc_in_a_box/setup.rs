//! What a run consists of before anything is started, and why a wish cannot come true.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, anyhow};
use vpc_eni_aws::emulator::Faults;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::InstanceLimits,
    testkit::ec2::{Delays, World, WorldConfig, instance_type, instance_types},
    time::Time,
};

use crate::{
    capacity::{Demand, max_pods},
    kubelet::PodPlan,
    options::Options,
};

/// Block of the VPC.
pub(crate) const VPC_CIDR: &str = "10.0.0.0/16";
/// The one subnet: room for the largest nodes that the box can be asked for.
const SUBNET_CIDR: &str = "10.0.0.0/17";
/// Type of the instance that is no node.
const VPC_HOST_TYPE: &str = "t3.small";
/// A host outside the VPC (TEST-NET-2).
pub(crate) const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Namespace of the pods.
const POD_NAMESPACE: &str = "demo";

/// A wish that can come true.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    /// Pods that each node may run.
    pub(crate) max_pods: u32,
    /// What goes wrong.
    pub(crate) faults: Faults,
}

impl Setup {
    /// Checks the wish against what the instance type holds.
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let limits = limits(&options.instance_type)?;
        let max_pods = max_pods(&Demand {
            instance_type: &options.instance_type,
            limits: &limits,
            mode: options.mode.into(),
            nodes: options.nodes.into(),
            pods: options.pods,
            max_pods: options.max_pods,
        })?;
        let faults = match &options.faults {
            Some(path) => faults(path)?,
            None => Faults::new(),
        };
        Ok(Self { options, max_pods, faults })
    }

    /// EC2 with a VPC and the instances in it: the nodes, and last the host that is no node.
    pub(crate) fn world(&self, now: Time) -> anyhow::Result<World> {
        let Options { nodes, instance_type, attach_delay_ms, link_delay_ms, .. } = &self.options;
        let ms = std::time::Duration::from_millis;
        let delays = Delays {
            attach: ms(*attach_delay_ms / 2),
            detach: ms(*attach_delay_ms),
            attach_to_imds: ms(*attach_delay_ms),
            address_to_imds: ms(*attach_delay_ms),
            link_after_attach: ms(*link_delay_ms),
        };
        let mut config = WorldConfig::new(cidr(VPC_CIDR)?)
            .subnet(cidr(SUBNET_CIDR)?)
            .delays(delays)
            .seed(self.options.seed)
            .start(now);
        for _ in 0..*nodes {
            config = config.instance(0, instance_type);
        }
        let config = config.instance(0, VPC_HOST_TYPE);
        config.build().context("make the VPC")
    }

    /// The pods, node by turns.
    pub(crate) fn pods(&self) -> Vec<PodPlan> {
        let (nodes, seed) = (usize::from(self.options.nodes), self.options.seed);
        let plan = |i: u32| PodPlan {
            node: i as usize % nodes.max(1),
            name: format!("{POD_NAMESPACE}/web-{i:04}"),
            // Far apart, so that no two pods draw the same ids.
            seed: seed.wrapping_mul(1 << 32).wrapping_add(u64::from(i) << 16),
        };
        (0..self.options.pods).map(plan).collect()
    }
}

fn faults(path: &Path) -> anyhow::Result<Faults> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Faults::parse(&path.display().to_string(), &text)?)
}

fn limits(name: &str) -> anyhow::Result<InstanceLimits> {
    instance_type(name).map(|t| t.limits()).ok_or_else(|| {
        let known: Vec<_> = instance_types().iter().map(|t| t.name).collect();
        anyhow!("--instance-type {name} is not known here; known: {}", known.join(", "))
    })
}

/// A block that is written in this program.
pub(crate) fn cidr(text: &str) -> anyhow::Result<Prefix> {
    text.parse().with_context(|| format!("{text} is a block"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;

    fn setup(args: &[&str]) -> anyhow::Result<Setup> {
        Setup::new(Options::try_parse_from([&["vpc-in-a-box"], args].concat()).unwrap())
    }

    #[test]
    fn an_unknown_type_is_refused_with_the_known_ones() {
        let error = setup(&["--instance-type", "m9.huge"]).unwrap_err().to_string();
        assert!(error.contains("m9.huge") && error.contains("m5.large"), "{error}");
    }

    #[test]
    fn a_fault_file_is_read_before_anything_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f.toml");
        let path = file.to_str().unwrap();
        let error = format!("{:#}", setup(&["--faults", path]).unwrap_err());
        assert!(error.contains("read") && error.contains(path), "{error}");
        fs::write(&file, "[[ec2]]\naction = \"CreateNetworkInterfaces\"\n").unwrap();
        let error = format!("{:#}", setup(&["--faults", path]).unwrap_err());
        assert!(error.contains("CreateNetworkInterfaces"), "{error}");
        fs::write(
            &file,
            "[[ec2]]\naction = \"CreateNetworkInterface\"\nerror = \"RequestLimitExceeded\"\n",
        )
        .unwrap();
        assert_ne!(setup(&["--faults", path]).unwrap().faults, Faults::new());
    }

    #[test]
    fn pods_are_spread_evenly_under_distinct_names_and_seeds() {
        let pods = setup(&["--nodes", "3", "--pods", "20"]).unwrap().pods();
        let on = |node| pods.iter().filter(|p| p.node == node).count();
        assert_eq!((on(0), on(1), on(2)), (7, 7, 6));
        let seeds: BTreeSet<_> = pods.iter().map(|p| (p.seed, &p.name)).collect();
        assert_eq!(seeds.len(), 20);
    }

    #[test]
    fn the_world_has_the_nodes_and_one_more_host() {
        let setup = setup(&["--nodes", "3"]).unwrap();
        assert_eq!(setup.world(Time::ZERO).unwrap().instances().len(), 4);
    }
}
