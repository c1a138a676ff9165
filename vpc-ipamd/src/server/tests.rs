//! The pages as texts, of a pool that has lived a little.

use std::{collections::BTreeMap, time::Duration};

use vpc_ipam_core::{
    checkpoint,
    cloud::{Authority, CloudEni, CloudView, EniKind},
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{EniId, OpId, PodRef, SandboxKey, SubnetId},
    pool::{Action, Assign, Event, Pool, Release},
    time::Time,
};

use super::{enis, metrics};
use crate::{
    cloud::{CallCount, CallLatency, CallPace, CloudCount, CloudReport},
    snapshot::{Degraded, Snapshot},
    telemetry::Counter,
};

const START: Time = Time::from_millis(1_735_689_600_123);

/// Answers everything that the pool wants as a perfect world would, until it wants nothing more.
fn settle(pool: &mut Pool, view: &CloudView, now: Time) {
    while let Some(action) = pool.poll_action(now) {
        let op = action.op();
        let event = match action {
            Action::Describe { .. } => Event::Described { op, result: Ok(view.clone()) },
            Action::SetUpEni { .. } => Event::EniSetUp { op, result: Ok(()) },
            Action::Persist { .. } => Event::Persisted { op, result: Ok(()) },
            other => panic!("not in this scene: {other:?}"),
        };
        pool.handle(event, now);
    }
    while pool.poll_reply().is_some() {}
}

fn key(id: &str) -> SandboxKey {
    SandboxKey::new("aws-cni", id, "eth0").unwrap()
}

/// One ENI with a prefix and a single address; one pod has an address, another one had.
fn pool() -> Pool {
    let targets = WarmTargets { enis: 0, ips: 0, minimum_ips: 0, prefixes: 1 };
    let mut config = PoolConfig::new(AllocationMode::Prefix, targets, 2, 3).unwrap();
    // What is seen is not changed.
    config.provisioning = false;
    let eni = CloudEni {
        id: EniId::new("eni-0a1").unwrap(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        device: 0,
        card: 0,
        kind: EniKind::Interface,
        primary: true,
        excluded: false,
        subnet: SubnetId::new("subnet-0b2").unwrap(),
        subnet_cidr: "10.1.0.0/16".parse().unwrap(),
        primary_ip: "10.1.4.1".parse().unwrap(),
        cidrs: vec!["10.1.4.16/28".parse().unwrap()],
        tags: BTreeMap::new(),
    };
    let view = CloudView { enis: vec![eni], authority: Authority::Ec2 };
    let mut pool = Pool::new(config, START);
    settle(&mut pool, &view, START);
    for (id, name) in [("9f1c", "cart-7d9f-abcde"), ("77ab", "till")] {
        let pod = PodRef { namespace: "shop".to_owned(), name: name.to_owned() };
        assert!(matches!(pool.assign(key(id), pod, START), Ok(Assign::Pending(OpId(_)))));
        settle(&mut pool, &view, START);
    }
    let later = START + Duration::from_secs(1);
    assert!(matches!(pool.release(&key("77ab"), later), Ok(Release::Pending(_))));
    settle(&mut pool, &view, later);
    pool
}

fn snapshot() -> Box<Snapshot> {
    let pool = pool();
    Box::new(Snapshot {
        stats: pool.stats(),
        config: pool.config().clone(),
        facts: None,
        ready: true,
        startup: Some(Duration::from_millis(700)),
        node_init: Some(Duration::from_millis(20)),
        degraded: vec![Degraded { reason: "ec2", message: "no answer".to_owned() }],
        running: BTreeMap::from([("nodeIPPoolReconcile", 1)]),
    })
}

#[test]
fn enis_are_the_reference_s_json_without_what_could_forge_a_del() {
    let json = serde_json::to_string(&enis::cards(&snapshot().stats)).unwrap();
    let golden = concat!(
        r#"{"0":{"TotalIPs":16,"AssignedIPs":1,"ENIs":{"eni-0a1":{"#,
        r#""ID":"eni-0a1","IsPrimary":true,"IsTrunk":false,"IsEFA":false,"DeviceNumber":0,"#,
        r#""AvailableIPv4Cidrs":{"10.1.4.16/28":{"Cidr":{"IP":"10.1.4.16","Mask":"////8A=="},"#,
        r#""IPAddresses":{"10.1.4.16":{"Address":"10.1.4.16","#,
        r#""IPAMKey":{"networkName":"aws-cni","containerID":"","ifName":""},"#,
        r#""IPAMMetadata":{"k8sPodNamespace":"shop","k8sPodName":"cart-7d9f-abcde","interfacesCount":1},"#,
        r#""AssignedTime":"2025-01-01T00:00:00.123Z","UnassignedTime":"0001-01-01T00:00:00Z"},"#,
        r#""10.1.4.17":{"Address":"10.1.4.17","#,
        r#""IPAMKey":{"networkName":"","containerID":"","ifName":""},"IPAMMetadata":{},"#,
        r#""AssignedTime":"2025-01-01T00:00:00.123Z","UnassignedTime":"2025-01-01T00:00:01.123Z"}},"#,
        r#""IsPrefix":true,"AddressFamily":""}},"#,
        r#""IPv6Cidrs":{},"IsExcludedForPodIPs":false,"RouteTableID":254,"SubnetID":"subnet-0b2"}}}}"#,
    );
    assert_eq!(json, golden);
}

#[test]
fn metrics_have_the_reference_s_names_types_and_no_suffixes() {
    let calls = BTreeMap::from([(
        "CreateNetworkInterface".to_owned(),
        CallCount {
            requests: 3,
            errors: 1,
            errors_by_code: BTreeMap::from([("RequestLimitExceeded".to_owned(), 1)]),
        },
    )]);
    let latencies = vec![CallLatency {
        api: "CreateNetworkInterface".to_owned(),
        failed: false,
        status: "200".to_owned(),
        count: 2,
        total: Duration::from_millis(1250),
    }];
    let counts = BTreeMap::from([
        ((Counter::AddRequests, ""), 2),
        ((Counter::DelRequests, "PodDeleted"), 1),
        ((Counter::Errors, "reconcileFailedGetENIs"), 4),
    ]);
    let counts_beside = vec![CloudCount {
        name: "vpc_cni_leaked_enis_deleted",
        help: "Leaked ENIs deleted",
        value: 5,
    }];
    let unfinished = BTreeMap::from([(("FreeENIDeleteErr", "InUse".to_owned()), 2)]);
    let out_of_sync = CallCount {
        errors: 1,
        errors_by_code: BTreeMap::from([("InvalidNetworkInterfaceID.NotFound".to_owned(), 1)]),
        ..CallCount::default()
    };
    let pace = CallPace {
        class: "mutating".to_owned(),
        tokens: 7,
        rate_percent: 50,
        waiting: 3,
        sent: 9,
        wait: Duration::from_millis(1500),
        held_back: 2,
        retries_dropped: 1,
    };
    let cloud = CloudReport {
        calls,
        metadata: BTreeMap::from([("IMDSMetaDataOutOfSync".to_owned(), out_of_sync)]),
        latencies,
        unfinished,
        paces: vec![pace],
        counts: counts_beside,
        ..CloudReport::default()
    };
    let page = metrics::render(metrics::Scrape { snapshot: snapshot(), counts, cloud }).unwrap();
    let values: Vec<&str> = page.lines().filter(|line| !line.starts_with("# HELP")).collect();
    let golden = include_str!("metrics.golden");
    let version = format!("version=\"{}\"", crate::VERSION);
    let golden = golden.replace("version=\"VERSION\"", &version);
    assert_eq!(values, golden.lines().collect::<Vec<_>>(), "{}", values.join("\n"));
}

#[test]
fn places_of_unmanaged_enis_are_not_counted_as_the_pool_s() {
    let mut snapshot = snapshot();
    snapshot.stats.unmanaged_enis = 1;
    let (counts, cloud) = (BTreeMap::new(), CloudReport::default());
    let page = metrics::render(metrics::Scrape { snapshot, counts, cloud }).unwrap();
    for line in ["awscni_eni_max 1", "awscni_ip_max 48"] {
        assert!(page.lines().any(|l| l == line), "{line}: {page}");
    }
}

#[test]
fn the_scene_is_what_it_says() {
    let checkpoint = pool().checkpoint();
    assert_eq!(checkpoint.leases.len(), 1);
    assert!(checkpoint::decode(&checkpoint::encode(&checkpoint)).is_ok());
}
