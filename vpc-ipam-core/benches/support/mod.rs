//! A pool on one node, and a world that answers at once: the benches measure the pool alone.

// Each bench uses its own part.
#![allow(dead_code)]

pub(crate) mod scan;
pub(crate) mod scenario;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use vpc_ipam_core::{
    addr::Prefix,
    checkpoint::{Checkpoint, Lease, Unknown},
    cloud::{Authority, CloudEni, CloudView, EniKind},
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{PodRef, SandboxKey},
    pool::{Action, Assign, Event, Pool, Release},
    time::Time,
};

/// A node by what its ENIs hold.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) enis: u32,
    /// Delegated prefixes of each.
    pub(crate) prefixes: u32,
}

/// 96 addresses, a small node.
pub(crate) const SMALL: Size = Size { enis: 3, prefixes: 2 };
/// 12,000 addresses: as many ENIs as any instance type has, and as many addresses on each.
pub(crate) const LARGE: Size = Size { enis: 15, prefixes: 50 };

/// Pods that come and go together. The warm target is below what is free throughout, and no prefix
/// is ever too much: a pool in its dead band, as it is for nearly every pod.
pub(crate) const BATCH: usize = 8;
/// `WARM_IP_TARGET`.
pub(crate) const WARM: u32 = 6;

impl Size {
    pub(crate) fn addresses(self) -> u32 {
        self.enis * self.prefixes * 16
    }
}

pub(crate) fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("{n:064x}"), "eth0").unwrap()
}

pub(crate) fn pod(n: u32) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: format!("cart-5f7d9c6b84-{n:05}") }
}

pub(crate) fn eni(device: u32, prefixes: u32) -> CloudEni {
    let block = |n: u32| {
        Prefix::new(IpAddr::from([10, device as u8, (n / 16) as u8, (n % 16 * 16) as u8]), 28)
    };
    CloudEni {
        id: format!("eni-{device:017x}").parse().unwrap(),
        mac: format!("02:00:00:00:00:{device:02x}").parse().unwrap(),
        device,
        card: 0,
        kind: EniKind::Interface,
        primary: device == 0,
        excluded: false,
        subnet: "subnet-0a".parse().unwrap(),
        subnet_cidr: "10.0.0.0/8".parse().unwrap(),
        primary_ip: IpAddr::from([10, 255, 0, device as u8]),
        cidrs: (0..prefixes).map(|n| block(n).unwrap()).collect(),
        tags: BTreeMap::new(),
    }
}

/// A state file of so many pods.
pub(crate) fn checkpoint(leases: u32) -> Checkpoint {
    let lease = |n: u32| Lease {
        key: key(n),
        ip: IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]),
        allocated_ns: 1_700_000_000_000_000_000 + i64::from(n),
        pod: pod(n),
        interfaces: 1,
        unknown: Unknown::default(),
    };
    Checkpoint::new((0..leases).map(lease).collect())
}

/// A node that is full but for a few addresses.
pub(crate) struct Bed {
    pub(crate) pool: Pool,
    pub(crate) view: CloudView,
    pub(crate) config: PoolConfig,
    pub(crate) now: Time,
    /// Sandboxes without an address.
    pub(crate) spare: Vec<SandboxKey>,
}

impl Bed {
    /// With `free` addresses without a pod, and a pool that may change nothing in the cloud.
    pub(crate) fn filled(size: Size, free: u32) -> Self {
        let targets = WarmTargets { ips: WARM, ..WarmTargets::default() };
        let mut config =
            PoolConfig::new(AllocationMode::Prefix, targets, size.enis, size.prefixes).unwrap();
        config.cooldown = Duration::ZERO;
        config.max_pods = size.addresses();
        let enis = (0..size.enis).map(|device| eni(device, size.prefixes)).collect();
        let view = CloudView { enis, authority: Authority::Ec2 };
        // While pods come one by one, most of the pool is idle, and must not be given back.
        let mut filling = config.clone();
        filling.provisioning = false;
        let now = Time::from_millis(1_000_000);
        let pool = Pool::new(filling, now);
        let spare = (0..BATCH as u32).map(|n| key(u32::MAX - n)).collect();
        let mut bed = Self { pool, view, config, now, spare };
        bed.answer_all();
        for n in 0..size.addresses() - free {
            bed.pool.assign(key(n), pod(n), now).unwrap();
            bed.answer_all();
        }
        bed
    }

    /// A pool that has enough and nothing too much before and after each batch of pods.
    pub(crate) fn calm(size: Size) -> Self {
        let mut bed = Self::filled(size, WARM + BATCH as u32);
        bed.pool.handle(Event::Reconfigured(Box::new(bed.config.clone())), bed.now);
        bed.answer_all();
        bed
    }

    /// Answers every action at once.
    pub(crate) fn answer_all(&mut self) {
        while let Some(action) = self.pool.poll_action(self.now) {
            let event = match action {
                Action::Describe { op } => Event::Described { op, result: Ok(self.view.clone()) },
                Action::Persist { op, .. } => Event::Persisted { op, result: Ok(()) },
                Action::SetUpEni { op, .. } => Event::EniSetUp { op, result: Ok(()) },
                other => panic!("a calm pool asks for {other:?}"),
            };
            self.pool.handle(event, self.now);
        }
        while self.pool.poll_reply().is_some() {}
    }

    /// What a daemon does until the ADD is answered and it sleeps again.
    pub(crate) fn assign(&mut self, n: usize, pod: PodRef) {
        self.begin_assign(n, pod);
        self.finish();
    }

    pub(crate) fn begin_assign(&mut self, n: usize, pod: PodRef) {
        let answer = self.pool.assign(self.spare.get(n).unwrap().clone(), pod, self.now);
        assert!(matches!(answer, Ok(Assign::Pending(_))));
    }

    pub(crate) fn release(&mut self, n: usize) {
        self.begin_release(n);
        self.finish();
    }

    pub(crate) fn begin_release(&mut self, n: usize) {
        let answer = self.pool.release(self.spare.get(n).unwrap(), self.now);
        assert!(matches!(answer, Ok(Release::Pending(_))));
    }

    fn finish(&mut self) {
        let Some(Action::Persist { op, .. }) = self.pool.poll_action(self.now) else {
            panic!("nothing to persist");
        };
        self.pool.handle(Event::Persisted { op, result: Ok(()) }, self.now);
        assert!(self.pool.poll_action(self.now).is_none(), "the pool is not calm");
        let reply = self.pool.poll_reply();
        assert!(reply.is_some_and(|reply| reply.result.is_ok()));
        assert!(self.pool.poll_reply().is_none());
        std::hint::black_box(self.pool.poll_timeout());
    }

    /// Lets a read of the cloud come due, and answers it.
    pub(crate) fn describe(&mut self) -> Event {
        self.now = self.now + Duration::from_secs(120);
        self.pool.handle(Event::Timeout, self.now);
        match self.pool.poll_action(self.now) {
            Some(Action::Describe { op }) => Event::Described { op, result: Ok(self.view.clone()) },
            other => panic!("{other:?} instead of a read"),
        }
    }
}
