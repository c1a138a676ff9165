//! The usual world in a few lines.

use super::{delays::Delays, error::WorldError, space::Allocation, world::World};
use crate::{addr::Prefix, time::Time};

/// One VPC with subnets and instances.
///
/// ```
/// use vpc_ipam_core::testkit::ec2::WorldConfig;
///
/// let world = WorldConfig::new("10.0.0.0/16".parse()?)
///     .subnet("10.0.0.0/24".parse()?)
///     .instance(0, "m5.large")
///     .instance(0, "t3.small")
///     .build()?;
/// assert_eq!(world.instances().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct WorldConfig {
    region: String,
    vpc_cidrs: Vec<Prefix>,
    first_cidr: Prefix,
    subnets: Vec<Prefix>,
    ipv6: Vec<(usize, Prefix)>,
    instances: Vec<(usize, String)>,
    delays: Delays,
    allocation: Allocation,
    seed: u64,
    start: Time,
}

impl WorldConfig {
    /// A VPC with that block in region `us-west-2`; no delays, lowest free address first.
    pub fn new(vpc_cidr: Prefix) -> Self {
        Self {
            region: "us-west-2".to_owned(),
            vpc_cidrs: Vec::new(),
            first_cidr: vpc_cidr,
            subnets: Vec::new(),
            ipv6: Vec::new(),
            instances: Vec::new(),
            delays: Delays::NONE,
            allocation: Allocation::LowestFree,
            seed: 0,
            start: Time::ZERO,
        }
    }

    /// A further block of the VPC.
    pub fn vpc_cidr(mut self, cidr: Prefix) -> Self {
        self.vpc_cidrs.push(cidr);
        self
    }

    /// A subnet, all in one availability zone; numbered from 0 in the order of calls.
    pub fn subnet(mut self, cidr: Prefix) -> Self {
        self.subnets.push(cidr);
        self
    }

    /// Gives the subnet of that number an IPv6 /64, and instances in it an IPv6 address.
    pub fn ipv6(mut self, subnet: usize, cidr: Prefix) -> Self {
        self.ipv6.push((subnet, cidr));
        self
    }

    /// An instance with its primary ENI in the subnet of that number.
    pub fn instance(mut self, subnet: usize, type_name: &str) -> Self {
        self.instances.push((subnet, type_name.to_owned()));
        self
    }

    /// Other than `us-west-2`.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// How long changes take.
    pub fn delays(mut self, delays: Delays) -> Self {
        self.delays = delays;
        self
    }

    /// How addresses are picked.
    pub fn allocation(mut self, allocation: Allocation) -> Self {
        self.allocation = allocation;
        self
    }

    /// Decides ids, MACs and scattered addresses.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// When the instances were started.
    pub fn start(mut self, start: Time) -> Self {
        self.start = start;
        self
    }

    /// Makes the world.
    ///
    /// # Errors
    ///
    /// If the parts do not fit together.
    pub fn build(&self) -> Result<World, WorldError> {
        let mut world = World::new(&self.region, self.seed);
        world.set_delays(self.delays);
        world.set_allocation(self.allocation);
        let vpc = world.add_vpc(self.first_cidr)?;
        for cidr in &self.vpc_cidrs {
            world.add_vpc_cidr(&vpc, *cidr)?;
        }
        let zone = format!("{}a", self.region);
        let mut subnets = Vec::new();
        for cidr in &self.subnets {
            subnets.push(world.add_subnet(&vpc, *cidr, &zone)?);
        }
        let subnet = |number: usize| {
            let count = subnets.len();
            subnets.get(number).ok_or(WorldError::NoSuchSubnet { number, count })
        };
        for (number, cidr) in &self.ipv6 {
            world.set_subnet_ipv6(subnet(*number)?, *cidr)?;
        }
        for (number, type_name) in &self.instances {
            let subnet = subnet(*number)?;
            world.add_instance(subnet, type_name, self.start)?;
        }
        Ok(world)
    }
}
