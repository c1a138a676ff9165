//! Cost of one ADD and DEL in the pool alone, for a small node and for the largest one.
//!
//! The two sizes run in one process, so that their ratio means something on a noisy machine.

#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

use std::{collections::BTreeMap, hint::black_box, net::IpAddr, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{Authority, CloudEni, CloudView, EniKind},
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{PodRef, SandboxKey},
    pool::{Action, Assign, Event, Pool},
    time::Time,
};

/// ENIs and prefixes per ENI: 96 addresses, and a p3dn.24xlarge's 11,760.
const SIZES: [(u32, u32); 2] = [(3, 2), (15, 49)];

fn eni(device: u32, prefixes: u32) -> CloudEni {
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
        subnet: "subnet-0a".parse().unwrap(),
        subnet_cidr: "10.0.0.0/8".parse().unwrap(),
        primary_ip: IpAddr::from([10, 255, 0, device as u8]),
        cidrs: (0..prefixes).map(|n| block(n).unwrap()).collect(),
        tags: BTreeMap::new(),
    }
}

/// Answers every action at once; the bench measures the pool, not the world.
fn settle(pool: &mut Pool, enis: &[CloudEni], now: Time) {
    while let Some(action) = pool.poll_action(now) {
        let event = match action {
            Action::Describe { op } => Event::Described {
                op,
                result: Ok(CloudView { enis: enis.to_vec(), authority: Authority::Ec2 }),
            },
            Action::Persist { op, .. } => Event::Persisted { op, result: Ok(()) },
            Action::SetUpEni { op, .. } => Event::EniSetUp { op, result: Ok(()) },
            other => panic!("a full pool asks for {other:?}"),
        };
        pool.handle(event, now);
    }
    while pool.poll_reply().is_some() {}
}

fn full_pool(enis: u32, prefixes: u32) -> (Pool, Vec<CloudEni>, Vec<SandboxKey>) {
    let targets = WarmTargets { prefixes: 1, ..WarmTargets::default() };
    let mut config =
        PoolConfig::new(AllocationMode::Prefix, targets, enis, prefixes.max(2)).unwrap();
    config.provisioning = false;
    config.cooldown = Duration::ZERO;
    config.max_pods = 1_000_000;
    let view: Vec<_> = (0..enis).map(|device| eni(device, prefixes)).collect();
    let mut pool = Pool::new(config, Time::ZERO);
    settle(&mut pool, &view, Time::ZERO);
    // All but one address are taken: the worst case for whoever searches.
    let keys: Vec<_> = (0..enis * prefixes * 16 - 1)
        .map(|n| SandboxKey::new("aws-cni", &format!("{n:064x}"), "eth0").unwrap())
        .collect();
    for key in &keys {
        pool.assign(key.clone(), PodRef::default(), Time::ZERO).unwrap();
        settle(&mut pool, &view, Time::ZERO);
    }
    (pool, view, keys)
}

fn assign_and_release(c: &mut Criterion) {
    let mut group = c.benchmark_group("add_and_del");
    for (enis, prefixes) in SIZES {
        let (mut pool, view, _) = full_pool(enis, prefixes);
        let key = SandboxKey::new("aws-cni", "the-pod", "eth0").unwrap();
        group.bench_function(BenchmarkId::from_parameter(enis * prefixes * 16), |b| {
            b.iter(|| {
                let answer = pool.assign(key.clone(), PodRef::default(), Time::ZERO).unwrap();
                assert!(matches!(answer, Assign::Pending(_)));
                settle(&mut pool, &view, Time::ZERO);
                black_box(pool.release(&key, Time::ZERO)).unwrap();
                settle(&mut pool, &view, Time::ZERO);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, assign_and_release);
criterion_main!(benches);
