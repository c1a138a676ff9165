//! When cloud, store or callers fail.

use std::sync::{Arc, Condvar, Mutex};

use tonic::Code;
use vpc_cni_plugin::rpc::cni_backend_client::CniBackendClient;
use vpc_ipam_core::{
    checkpoint::{self, Checkpoint, Lease},
    id::{PodRef, SandboxKey},
    store::{Store, StoreError},
    testkit::{MemoryStore, Reach},
};
use vpc_ipamd::DaemonError;

use crate::node::{Scene, add_request, ip, run, until};

fn state_file(id: &str, ip: &str) -> Vec<u8> {
    let lease = Lease {
        key: SandboxKey::new("aws-cni", id, "eth0").unwrap(),
        ip: ip.parse().unwrap(),
        allocated_ns: 1_735_689_600_000_000_000,
        pod: PodRef { namespace: "shop".to_owned(), name: format!("pod-{id}") },
        interfaces: 1,
    };
    checkpoint::encode(&Checkpoint { leases: vec![lease] })
}

#[test]
fn a_node_whose_cloud_is_away_starts_serves_what_it_can_and_says_what_is_missing() {
    run(async {
        let scene = Scene::with_store(MemoryStore::with_content(state_file("old", "10.0.0.9")));
        scene.cloud.set_reach(Reach::Nothing);
        let node = scene.start();
        let reasons = until("a reason", || async {
            Some(node.degraded().await).filter(|r| r.iter().any(|r| r.starts_with("instance: ")))
        })
        .await;
        assert!(reasons.iter().any(|r| r.contains("did not answer in time")), "{reasons:?}");
        assert_eq!(node.get("/healthz").await.0, 503);
        assert!(!node.serves("").await);
        assert!(scene.datapath.node().is_none());
        let (_, _, metrics) = node.metrics().await;
        assert!(metrics.contains("vpc_cni_degraded{reason=\"instance\"} 1"), "{metrics}");
        // Its pod can go, whatever the cloud does.
        assert_eq!(node.del("old").await.unwrap().ip_allocation_metadata[0].ipv4_addr, "10.0.0.9");
        // A new one waits.
        let mut client = CniBackendClient::new(node.channel().await);
        let waiting = tokio::spawn(async move { client.add_network(add_request("new")).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        scene.cloud.set_reach(Reach::All);
        assert!(waiting.await.unwrap().unwrap().into_inner().success);
        node.ready().await;
        assert_eq!(node.degraded().await, [""; 0]);
        assert_eq!(node.get("/healthz").await.0, 200);
        assert!(scene.datapath.node().is_some());
    });
}

#[test]
fn no_eni_is_touched_before_the_node_is_set_up() {
    run(async {
        let scene = Scene::new();
        scene.cloud.set_reach(Reach::Nothing);
        let node = scene.start();
        until("a reason", || async { node.degraded().await.first().cloned() }).await;
        let calls: u64 = scene.cloud.world().calls().values().sum();
        assert_eq!(calls, 0);
        assert_eq!(scene.datapath.set_ups(), 0);
    });
}

#[test]
fn a_node_without_ec2_serves_from_metadata_and_says_so() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.add("a").await.unwrap();
        node.stop().await.unwrap();
        scene.cloud.set_reach(Reach::Metadata);
        let node = scene.start();
        node.ready().await;
        assert!(node.add("a").await.unwrap().success);
        let reasons = node.degraded().await;
        assert!(reasons.iter().any(|r| r.contains("EC2 does not answer")), "{reasons:?}");
        let (_, _, metrics) = node.metrics().await;
        assert!(metrics.contains("vpc_cni_degraded{reason=\"pool\"} 1"), "{metrics}");
    });
}

#[test]
fn an_address_that_cannot_be_recorded_is_not_given() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.ready().await;
        scene.store.fail_saves(1, false);
        let error = node.add("a").await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.message().contains("state file"), "{error}");
        assert_eq!(node.assigned().await, 0);
        let reply = node.add("a").await.unwrap();
        // An address whose release cannot be recorded stays where it is.
        scene.store.fail_saves(1, false);
        assert!(!node.del("a").await.unwrap().success);
        assert_eq!(ip(&node.add("a").await.unwrap()), ip(&reply));
        assert!(node.del("a").await.unwrap().success);
    });
}

#[test]
fn a_corrupt_state_file_is_kept_and_reported() {
    run(async {
        let mut torn = state_file("old", "10.0.0.9");
        torn.truncate(torn.len() / 2);
        let scene = Scene::with_store(MemoryStore::with_content(torn.clone()));
        let node = scene.start();
        node.ready().await;
        assert_eq!(scene.store.aside(), [torn]);
        let reasons = node.degraded().await;
        let about = reasons.iter().find(|r| r.starts_with("state_file: ")).expect("a reason");
        assert!(about.contains("memory.aside-1"), "does not say where: {about}");
        node.add("a").await.unwrap();
    });
}

#[test]
fn a_state_file_that_cannot_be_read_stops_the_daemon() {
    #[derive(Debug)]
    struct Broken;
    impl Store for Broken {
        fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
            Err(StoreError::new("/state", "input/output error"))
        }
        fn save(&self, _: &[u8]) -> Result<(), StoreError> {
            panic!("overwrote what it could not read")
        }
        fn set_aside(&self) -> Result<String, StoreError> {
            panic!("moved what it could not read")
        }
    }
    run(async {
        let node = Scene::new().start_on(Arc::new(Broken));
        let error = node.task.await.unwrap().unwrap_err();
        assert!(matches!(error, DaemonError::Restore(_)), "{error:?}");
        assert!(error.to_string().contains("/state"), "{error}");
    });
}

/// A disk that takes its time.
#[derive(Debug, Default)]
struct Gate {
    inner: MemoryStore,
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: Mutex<u32>,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.changed.notify_all();
    }
}

impl Store for Gate {
    fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.load()
    }
    fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        *self.waiting.lock().unwrap() += 1;
        let mut closed = self.closed.lock().unwrap();
        while *closed {
            closed = self.changed.wait(closed).unwrap();
        }
        self.inner.save(content)
    }
    fn set_aside(&self) -> Result<String, StoreError> {
        self.inner.set_aside()
    }
}

#[test]
fn a_caller_that_goes_away_leaves_no_address_behind() {
    run(async {
        let scene = Scene::new();
        let gate = Arc::new(Gate::default());
        let node = scene.start_on(Arc::<Gate>::clone(&gate));
        node.ready().await;
        gate.set_closed(true);
        let mut client = CniBackendClient::new(node.channel().await);
        let calling = tokio::spawn(async move { client.add_network(add_request("a")).await });
        until("the write", || async { (*gate.waiting.lock().unwrap() > 0).then_some(()) }).await;
        assert_eq!(node.assigned().await, 1);
        calling.abort();
        assert!(calling.await.unwrap_err().is_cancelled());
        until("the daemon to notice", || async {
            let (_, _, metrics) = node.metrics().await;
            metrics.contains("vpc_cni_undelivered_adds 1").then_some(())
        })
        .await;
        gate.set_closed(false);
        until("a released address", || async { (node.assigned().await == 0).then_some(()) }).await;
        assert_eq!(node.del("a").await.unwrap_err().code(), Code::Unknown);
    });
}

#[test]
fn a_caller_s_deadline_counts_as_going_away() {
    run(async {
        let scene = Scene::new();
        let gate = Arc::new(Gate::default());
        let node = scene.start_on(Arc::<Gate>::clone(&gate));
        node.ready().await;
        gate.set_closed(true);
        let mut client = CniBackendClient::new(node.channel().await);
        let mut request = tonic::Request::new(add_request("a"));
        request.set_timeout(std::time::Duration::from_millis(50));
        client.add_network(request).await.unwrap_err();
        gate.set_closed(false);
        until("a released address", || async { (node.assigned().await == 0).then_some(()) }).await;
    });
}

#[test]
fn a_stop_waits_for_what_is_being_written() {
    run(async {
        let scene = Scene::new();
        let gate = Arc::new(Gate::default());
        let node = scene.start_on(Arc::<Gate>::clone(&gate));
        node.ready().await;
        gate.set_closed(true);
        let mut client = CniBackendClient::new(node.channel().await);
        let calling = tokio::spawn(async move { client.add_network(add_request("a")).await });
        until("the write", || async { (*gate.waiting.lock().unwrap() > 0).then_some(()) }).await;
        let stopping = tokio::spawn(node.stop());
        tokio::task::yield_now().await;
        gate.set_closed(false);
        assert!(calling.await.unwrap().unwrap().into_inner().success);
        stopping.await.unwrap().unwrap();
        let content = gate.inner.content().unwrap();
        assert_eq!(checkpoint::decode(&content).unwrap().leases.len(), 1);
    });
}
