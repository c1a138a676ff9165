//! A simulated node: the driver and the pool that ship on the model of EC2.

use std::time::Duration;

use vpc_ipam_core::testkit::sim::{Sim, SimConfig};

use crate::{Shape, rows::Row};

/// The row, pod by pod.
pub(crate) fn at_rest(row: &Row) -> Shape {
    let mut sim = start(row);
    for n in 0..row.pods {
        sim.add(n).unwrap();
        sim.run_for(Duration::from_secs(2)).unwrap();
    }
    rest(&mut sim);
    assert_eq!(sim.running().len(), row.pods as usize, "{:?}", sim.refused());
    shape(&sim)
}

pub(crate) fn start(row: &Row) -> Sim {
    let mut config = SimConfig::with(row.instance_type, row.mode, row.targets, 7).unwrap();
    config.pool.max_pods = row.max_pods;
    let mut sim = Sim::new(&config).unwrap();
    rest(&mut sim);
    sim
}

pub(crate) fn rest(sim: &mut Sim) {
    sim.come_to_rest(Duration::from_secs(7200)).unwrap();
}

pub(crate) fn shape(sim: &Sim) -> Shape {
    let stats = sim.pool().stats();
    let cidrs = stats.enis.iter().flat_map(|eni| &eni.cidrs);
    Shape {
        enis: stats.enis.iter().map(|eni| eni.cidrs.len() as u64).collect(),
        total: stats.total,
        available: stats.total - stats.assigned,
        free: cidrs.filter(|cidr| cidr.assigned() == 0).count() as u64,
    }
}
