//! When callers go away, and when the daemon does.

use std::sync::{Arc, Condvar, Mutex};

use tonic::Code;
use vpc_cni_plugin::rpc::cni_backend_client::CniBackendClient;
use vpc_ipam_core::{
    checkpoint,
    store::{Store, StoreError},
    testkit::{MemoryStore, Reach},
};

use crate::node::{Node, Scene, add_request, run, until};

/// A disk that takes its time.
#[derive(Debug, Default)]
struct Gate {
    inner: MemoryStore,
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: Mutex<u32>,
}

/// Opens the gate when dropped, so that no failing test waits for a blocked thread.
struct Closed<'a>(&'a Gate);

impl Gate {
    fn close(&self) -> Closed<'_> {
        *self.closed.lock().unwrap() = true;
        Closed(self)
    }

    async fn is_reached(&self) {
        until("a write", || async { (*self.waiting.lock().unwrap() > 0).then_some(()) }).await;
    }
}

async fn node_behind_gate(scene: &Scene) -> (Arc<Gate>, Node) {
    let gate = Arc::new(Gate::default());
    let node = scene.start_on(Arc::<Gate>::clone(&gate));
    node.ready().await;
    (gate, node)
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        *self.0.closed.lock().unwrap() = false;
        self.0.changed.notify_all();
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

async fn is_undone(node: &Node) {
    until("an undone ADD", || async {
        let (_, _, metrics) = node.metrics().await;
        metrics.contains("vpc_cni_undelivered_adds 1").then_some(())
    })
    .await;
}

#[test]
fn a_caller_that_goes_away_leaves_no_address_behind() {
    run(async {
        let scene = Scene::new();
        let (gate, node) = node_behind_gate(&scene).await;
        let closed = gate.close();
        let calling = node.call_add("a").await;
        gate.is_reached().await;
        assert_eq!(node.assigned().await, 1);
        calling.abort();
        assert!(calling.await.unwrap_err().is_cancelled());
        is_undone(&node).await;
        drop(closed);
        until("a released address", || async { (node.assigned().await == 0).then_some(()) }).await;
        assert_eq!(node.del("a").await.unwrap_err().code(), Code::Unknown);
    });
}

#[test]
fn a_caller_s_deadline_counts_as_going_away() {
    run(async {
        let scene = Scene::new();
        let (gate, node) = node_behind_gate(&scene).await;
        let closed = gate.close();
        let mut client = CniBackendClient::new(node.channel().await);
        let mut request = tonic::Request::new(add_request("a"));
        request.set_timeout(std::time::Duration::from_millis(50));
        client.add_network(request).await.unwrap_err();
        is_undone(&node).await;
        drop(closed);
        until("a released address", || async { (node.assigned().await == 0).then_some(()) }).await;
    });
}

#[test]
fn a_stop_refuses_those_who_wait_for_growth_instead_of_growing() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.ready().await;
        scene.cloud.set_reach(Reach::Metadata);
        node.add("a").await.unwrap();
        node.add("b").await.unwrap();
        let waiting = node.call_add("c").await;
        until("a waiting ADD", || async {
            let (_, _, metrics) = node.metrics().await;
            metrics.contains("vpc_cni_waiting_adds 1").then_some(())
        })
        .await;
        node.stop().await.unwrap();
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.message().contains("the node is draining"), "{error}");
    });
}

#[test]
fn a_stop_waits_for_what_is_being_written() {
    run(async {
        let scene = Scene::new();
        let (gate, node) = node_behind_gate(&scene).await;
        let closed = gate.close();
        let calling = node.call_add("a").await;
        gate.is_reached().await;
        let stopping = tokio::spawn(node.stop());
        tokio::task::yield_now().await;
        drop(closed);
        assert!(calling.await.unwrap().unwrap().success);
        stopping.await.unwrap().unwrap();
        let content = gate.inner.content().unwrap();
        assert_eq!(checkpoint::decode(&content).unwrap().leases.len(), 1);
    });
}
