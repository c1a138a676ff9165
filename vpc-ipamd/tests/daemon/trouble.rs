//! When cloud, store or callers fail.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tonic::Code;
use vpc_ipam_core::{
    checkpoint::{self, Checkpoint, Lease, Unknown},
    datapath::{
        Datapath, DatapathError, DatapathErrorKind, EniSpec, NodeSpec, PodSpec, PodTeardown,
        PodWiring,
    },
    id::{PodRef, SandboxKey},
    store::{Store, StoreError},
    testkit::{FakeDatapath, MemoryStore, Reach},
};
use vpc_ipamd::{DaemonError, Housekeeping, WiredPod};

use crate::node::{Scene, ip, run, until};

fn state_file(id: &str, ip: &str) -> Vec<u8> {
    let lease = Lease {
        key: SandboxKey::new("aws-cni", id, "eth0").unwrap(),
        ip: ip.parse().unwrap(),
        allocated_ns: 1_735_689_600_000_000_000,
        pod: PodRef { namespace: "shop".to_owned(), name: format!("pod-{id}") },
        interfaces: 1,
        unknown: Unknown::default(),
    };
    checkpoint::encode(&Checkpoint::new(vec![lease]))
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
        let waiting = node.call_add("new").await;
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        scene.cloud.set_reach(Reach::All);
        assert!(waiting.await.unwrap().unwrap().success);
        node.ready().await;
        assert_eq!(node.degraded().await, [""; 0]);
        assert_eq!(node.get("/healthz").await.0, 200);
        assert!(scene.datapath.node().is_some());
    });
}

#[test]
fn a_node_whose_cloud_is_away_serves_from_what_it_remembers_and_says_so() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.ready().await;
        let first = ip(&node.add("a").await.unwrap());
        node.stop().await.unwrap();
        scene.cloud.set_reach(Reach::Nothing);
        let calls = |scene: &Scene| scene.cloud.world().calls().values().sum::<u64>();
        let before = calls(&scene);
        let node = scene.start();
        node.ready().await;
        assert_eq!(ip(&node.add("a").await.unwrap()), first);
        let second = ip(&node.add("b").await.unwrap());
        assert_ne!(second, first);
        let owned: Vec<_> = {
            let world = scene.cloud.world();
            world.enis_of(scene.cloud.instance_id()).into_iter().flat_map(|e| e.owned()).collect()
        };
        assert!(owned.iter().any(|cidr| cidr.contains(second.parse().unwrap())), "{second}");
        assert_eq!(calls(&scene), before);
        assert_eq!(node.get("/healthz").await.0, 200, "it serves");
        let reasons = node.degraded().await;
        assert!(
            reasons.iter().any(|r| r.starts_with("instance: who is this node?")),
            "{reasons:?}"
        );
        assert!(reasons.iter().any(|r| r.contains("serves the addresses that it remembers")));
        scene.cloud.set_reach(Reach::All);
        until("a node without reasons", || async {
            node.degraded().await.is_empty().then_some(())
        })
        .await;
        assert!(![&first, &second].contains(&&ip(&node.add("c").await.unwrap())));
        node.stop().await.unwrap();
        // A memory that is of no use is none.
        scene.store.save_hint(b"{}").unwrap();
        let node = scene.start();
        node.ready().await;
        assert_eq!(ip(&node.add("a").await.unwrap()), first);
    });
}

/// A kernel that refuses the node's set-up until it is allowed.
#[derive(Debug)]
struct Refusing {
    inner: Arc<FakeDatapath>,
    allowed: AtomicBool,
}

impl Datapath for Refusing {
    fn set_up_node(&self, node: &NodeSpec) -> Result<(), DatapathError> {
        if self.allowed.load(Ordering::SeqCst) {
            return self.inner.set_up_node(node);
        }
        let kind = DatapathErrorKind::NotSupported;
        Err(DatapathError::new(kind, "table vpc-cni", "nf_tables is missing; load the module"))
    }
    fn set_up_eni(&self, eni: &EniSpec) -> Result<(), DatapathError> {
        self.inner.set_up_eni(eni)
    }
    fn tear_down_eni(&self, eni: &EniSpec) -> Result<(), DatapathError> {
        self.inner.tear_down_eni(eni)
    }
    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        self.inner.set_up_pod(pod)
    }
    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        self.inner.tear_down_pod(pod)
    }
}

#[test]
fn no_eni_is_touched_before_the_node_is_set_up() {
    run(async {
        let scene = Scene::new();
        let inner = Arc::clone(&scene.datapath);
        let refusing = Arc::new(Refusing { inner, allowed: AtomicBool::new(false) });
        let store = Arc::<MemoryStore>::clone(&scene.store);
        let node = scene.start_with(Arc::<Refusing>::clone(&refusing), store);
        let reasons = until("a reason", || async {
            Some(node.degraded().await).filter(|r| r.iter().any(|r| r.starts_with("node_set_up")))
        })
        .await;
        assert!(reasons.iter().any(|r| r.contains("load the module")), "{reasons:?}");
        assert_eq!(scene.cloud.world().calls().values().sum::<u64>(), 0);
        assert!(!node.serves("").await);
        refusing.allowed.store(true, Ordering::SeqCst);
        node.ready().await;
        assert!(scene.cloud.world().calls().values().sum::<u64>() > 0);
        assert_eq!(node.degraded().await, [""; 0]);
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

/// A node to which pods with these addresses are wired, or one that does not tell.
#[derive(Debug)]
struct Wired(Option<Vec<String>>);

impl Housekeeping for Wired {
    fn sweep(&self) -> Result<usize, DatapathError> {
        Ok(0)
    }

    fn gone(&self, _: &[Lease]) -> Result<BTreeSet<SandboxKey>, DatapathError> {
        Ok(BTreeSet::new())
    }

    fn wired(&self) -> Result<Vec<WiredPod>, DatapathError> {
        let ips = self.0.as_ref().ok_or_else(|| {
            DatapathError::new(DatapathErrorKind::Other, "routes", "the dump was interrupted")
        })?;
        let pod = |ip: &String| WiredPod { ip: ip.parse().unwrap(), host_if: format!("eni{ip}") };
        Ok(ips.iter().map(pod).collect())
    }
}

#[test]
fn pods_keep_their_addresses_when_the_state_file_is_lost_or_corrupt() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.ready().await;
        let mut held = BTreeSet::new();
        for id in ["a", "b", "c"] {
            held.insert(ip(&node.add(id).await.unwrap()));
        }
        node.stop().await.unwrap();
        for content in [None, Some(b"{\"version\":\"vpc-cni".to_vec())] {
            let store = content.map_or_else(MemoryStore::new, MemoryStore::with_content);
            let pods = Wired(Some(held.iter().cloned().collect()));
            // The same node in the same cloud, but for its file.
            let mut again = Scene::with_store(store).house(Arc::new(pods));
            again.cloud = Arc::clone(&scene.cloud);
            let node = again.start();
            node.ready().await;
            assert_eq!(node.assigned().await, 3);
            for id in ["d", "e", "f"] {
                let new = ip(&node.add(id).await.unwrap());
                assert!(!held.contains(&new), "{new} was given to {id}, and a pod has it");
            }
            node.stop().await.unwrap();
        }
    });
}

#[test]
fn without_a_state_file_and_without_a_list_of_pods_the_daemon_gives_no_addresses() {
    run(async {
        let node = Scene::new().house(Arc::new(Wired(None))).start();
        let error = node.task.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("interrupted"), "{error}");
    });
}

#[test]
fn what_the_state_file_does_not_explain_is_kept_reported_and_given_to_nobody() {
    const ENTRIES: &str = r#"{"networkName":"aws-cni","containerID":"a","ifName":"eth0","ipv4":"10.0.0.5"},{"networkName":"aws-cni","containerID":"b","ifName":"eth0","ipv4":"10.0.0.5"},{"ipv4":"10.0.0.6"}"#;
    run(async {
        let file = format!(r#"{{"version":"vpc-cni-ipam/1","allocations":[{ENTRIES}],"by":"v9"}}"#);
        let scene = Scene::with_store(MemoryStore::with_content(file.into_bytes()));
        let node = scene.start();
        node.ready().await;
        let reasons = node.degraded().await;
        assert!(reasons.iter().any(|r| r.contains("aws-cni/b/eth0 with 10.0.0.5")), "{reasons:?}");
        for n in 0..4 {
            let ip = ip(&node.add(&format!("new-{n}")).await.unwrap());
            assert!(!["10.0.0.5", "10.0.0.6"].contains(&ip.as_str()), "{ip} was given away");
        }
        let content = String::from_utf8(scene.store.content().unwrap()).unwrap();
        assert!(content.contains(ENTRIES) && content.contains(r#""by":"v9""#), "{content}");
        // The plugin forgets an unknown sandbox by itself; both claims end, and so does the report.
        for id in ["a", "b"] {
            assert_eq!(node.del(id).await.unwrap_err().code(), Code::Unknown);
        }
        node.del("new-0").await.unwrap();
        let content = String::from_utf8(scene.store.content().unwrap()).unwrap();
        assert!(!content.contains("10.0.0.5") && content.contains("10.0.0.6"), "{content}");
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
