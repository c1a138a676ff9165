//! Nodes that share an account: subnets, request rates, and each other's leftovers.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{Sim, SimConfig, SimError};
use crate::{
    testkit::{check::Violation, ec2::World, lock},
    time::Time,
};

/// Nodes of one kind in one world, stepped in the order of time.
///
/// ```
/// use std::time::Duration;
/// use vpc_ipam_core::testkit::{ec2::RequestRates, sim::{Fleet, SimConfig}};
///
/// let mut fleet = Fleet::new(&SimConfig::new("t3.small", 7)?, 4)?;
/// fleet.world().set_request_rates(&RequestRates::documented());
/// for node in fleet.nodes_mut() {
///     node.add(0)?;
/// }
/// fleet.run_for(Duration::from_secs(60))?;
/// assert!(fleet.nodes().iter().all(|node| node.running().len() == 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fleet {
    world: Arc<Mutex<World>>,
    nodes: Vec<Sim>,
    now: Time,
}

impl Fleet {
    /// So many nodes in the subnet of `config`, each with a seed of its own.
    ///
    /// # Errors
    ///
    /// If the subnet has no room for them.
    pub fn new(config: &SimConfig, nodes: u32) -> Result<Self, SimError> {
        let world = config.world_of(nodes)?;
        let instances: Vec<_> = world.instances().iter().map(|i| i.id.clone()).collect();
        let world = Arc::new(Mutex::new(world));
        let mut sims = Vec::new();
        for (instance, number) in instances.into_iter().zip(0u64..) {
            let mut config = config.clone();
            config.seed = config.seed.wrapping_add(number);
            config.pool.seed = config.pool.seed.wrapping_add(number);
            sims.push(Sim::join(&config, Arc::clone(&world), instance)?);
        }
        Ok(Self { world, nodes: sims, now: Time::ZERO })
    }

    /// Lets time pass on all nodes.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Violation> {
        let end = self.now + time;
        let next = |node: &Sim| node.next_at().filter(|at| *at <= end);
        while let Some(at) = self.nodes.iter().filter_map(next).min() {
            for node in self.nodes.iter_mut().filter(|node| next(node) == Some(at)) {
                node.run_for(at.since(node.now()))?;
            }
        }
        for node in &mut self.nodes {
            node.run_for(end.since(node.now()))?;
        }
        self.now = end;
        Ok(())
    }

    /// The present of all nodes.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The world they share.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Sim] {
        &self.nodes
    }

    /// The nodes, for requests.
    pub fn nodes_mut(&mut self) -> &mut [Sim] {
        &mut self.nodes
    }
}
