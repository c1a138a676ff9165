//! The tables.

use vpc_ipam_core::{
    config::{
        AllocationMode::{self, Prefix, Secondary},
        PoolConfig, WarmTargets,
    },
    testkit::ec2::instance_type,
};

use crate::Shape;

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) instance_type: &'static str,
    pub(crate) mode: AllocationMode,
    pub(crate) targets: WarmTargets,
    pub(crate) max_pods: u32,
    pub(crate) pods: u32,
    enis: &'static [u64],
    total: u64,
    available: u64,
    free: u64,
}

impl Row {
    pub(crate) fn config(&self) -> PoolConfig {
        let limits = instance_type(self.instance_type).unwrap().limits();
        let config = PoolConfig::new(self.mode, self.targets, limits.enis, limits.slots());
        let mut config = config.unwrap();
        config.max_pods = self.max_pods;
        config
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            enis: self.enis.to_vec(),
            total: self.total,
            available: self.available,
            free: self.free,
        }
    }
}

fn warm_enis(enis: u32) -> WarmTargets {
    WarmTargets { enis, ..WarmTargets::default() }
}

fn warm_prefixes(prefixes: u32) -> WarmTargets {
    WarmTargets { prefixes, ..WarmTargets::default() }
}

pub(crate) fn warm_ips(ips: u32, minimum_ips: u32) -> WarmTargets {
    WarmTargets { ips, minimum_ips, ..WarmTargets::default() }
}

/// An m5.large: three ENIs of nine addresses.
pub(crate) fn secondary_rows() -> Vec<Row> {
    let row = |targets, pods, enis: &'static [u64], total, available| Row {
        instance_type: "m5.large",
        mode: Secondary,
        targets,
        max_pods: 29,
        pods,
        enis,
        total,
        available,
        free: available,
    };
    vec![
        // 9 < 9 is false.
        row(warm_enis(1), 0, &[9], 9, 9),
        // 8 < 9: a new ENI.
        row(warm_enis(1), 1, &[9, 9], 18, 17),
        // 8 < 9 at 10 pods.
        row(warm_enis(1), 10, &[9, 9, 9], 27, 17),
        // Low, but no room.
        row(warm_enis(1), 19, &[9, 9, 9], 27, 8),
        // Grows only when none is available.
        row(warm_enis(0), 1, &[9], 9, 8),
        // 9 < 18.
        row(warm_enis(2), 0, &[9, 9], 18, 18),
        // max(2, 6).
        row(warm_ips(2, 6), 0, &[6], 6, 6),
        // over = min(1, 0) = 0.
        row(warm_ips(2, 6), 3, &[6], 6, 3),
        // The primary ENI is full.
        row(warm_ips(2, 6), 9, &[9, 2], 11, 2),
        row(warm_ips(2, 6), 20, &[9, 9, 4], 22, 2),
        // Of eight pods the reference serves five and no more, since nothing is below the targets;
        // here pods that wait are a reason to grow. What the targets alone say: see
        // `a_minimum_alone_asks_for_no_more_than_itself`.
        row(warm_ips(0, 5), 5, &[5], 5, 0),
        row(warm_ips(0, 5), 8, &[8], 8, 0),
    ]
}

pub(crate) fn prefix_rows() -> Vec<Row> {
    let row = |instance_type, targets, pods, enis: &'static [u64], available, free| Row {
        instance_type,
        mode: Prefix,
        targets,
        max_pods: 110,
        pods,
        enis,
        total: enis.iter().sum::<u64>() * 16,
        available,
        free,
    };
    vec![
        // Three ENIs of nine prefixes.
        row("m5.large", warm_prefixes(1), 0, &[1], 16, 1),
        // 15 < 16.
        row("m5.large", warm_prefixes(1), 1, &[2], 31, 1),
        row("m5.large", warm_prefixes(1), 16, &[2], 16, 1),
        row("m5.large", warm_prefixes(1), 17, &[3], 31, 1),
        // 31 < 32, wanted = max(1, 2 - 1).
        row("m5.large", warm_prefixes(2), 1, &[3], 47, 2),
        row("m5.large", warm_prefixes(2), 40, &[5], 40, 2),
        row("m5.large", warm_ips(16, 0), 0, &[1], 16, 1),
        // One is missing: one prefix. overP = min(1, 2 - ceil16(17)) = 0.
        row("m5.large", warm_ips(16, 0), 1, &[2], 31, 1),
        // 20 are missing: two prefixes.
        row("m5.large", warm_ips(7, 20), 0, &[2], 32, 2),
        row("m5.large", warm_ips(7, 20), 17, &[2], 15, 0),
        // Three ENIs of three prefixes. The published table lists one prefix with 16 addresses for this
        // row; 20 addresses need two.
        row("t3.small", warm_ips(7, 20), 0, &[2], 32, 2),
        row("t3.small", warm_prefixes(1), 58, &[3, 2], 22, 1),
        // Fifteen ENIs of 49 prefixes. The published table lists two or three ENIs for these rows; the
        // first one is never full.
        row("p3dn.24xlarge", warm_prefixes(1), 95, &[7], 17, 1),
        row("p3dn.24xlarge", warm_ips(5, 10), 45, &[4], 19, 1),
    ]
}
