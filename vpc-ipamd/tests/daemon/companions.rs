//! Work that goes on beside the pool.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;
use vpc_ipamd::{CloudCount, CloudReport};

use crate::node::{Scene, run, until};

/// Says when it is dropped.
struct Guard(Arc<Mutex<Vec<&'static str>>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("dropped");
    }
}

#[test]
fn a_companion_runs_beside_the_pool_and_ends_with_the_daemon() {
    run(async {
        let (log, go) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (logging, going) = (Arc::clone(&log), Arc::clone(&go));
        let scene = Scene::new().daemon(move |daemon| {
            let (guard, log, go) =
                (Guard(Arc::clone(&logging)), Arc::clone(&logging), Arc::clone(&going));
            let work = async move {
                let _guard = guard;
                log.lock().unwrap().push("began");
                go.notified().await;
                log.lock().unwrap().push("went on");
                std::future::pending::<()>().await;
            };
            daemon.with_companion("test", work).with_companion("short", std::future::ready(()))
        });
        let node = scene.start();
        node.ready().await;
        go.notify_one();
        until("the companion", || async { (log.lock().unwrap().len() == 2).then_some(()) }).await;
        // Neither it nor the one that has ended is in the way of pods.
        node.add("a").await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["began", "went on"]);
        node.stop().await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["began", "went on", "dropped"]);
    });
}

#[test]
fn a_companion_that_panics_takes_nothing_with_it() {
    run(async {
        let scene = Scene::new()
            .daemon(|daemon| daemon.with_companion("test", async { panic!("on purpose") }));
        let node = scene.start();
        node.ready().await;
        node.add("a").await.unwrap();
        node.stop().await.unwrap();
    });
}

#[test]
fn what_is_wrong_beside_the_pool_is_shown_while_it_lasts() {
    run(async {
        let troubles = Arc::new(Mutex::new(BTreeMap::new()));
        let shown = Arc::clone(&troubles);
        let scene = Scene::new().daemon(move |daemon| {
            let shown = Arc::clone(&shown);
            let (name, help) = ("vpc_cni_leaked_enis_deleted", "Leaked ENIs");
            daemon.with_cloud_report(move || CloudReport {
                troubles: shown.lock().unwrap().clone(),
                counts: vec![CloudCount { name, help, value: 7 }],
                ..CloudReport::default()
            })
        });
        let node = scene.start();
        node.ready().await;
        assert_eq!(node.degraded().await, [""; 0]);
        let message = "the IAM role of the daemon lacks ec2:CreateTags".to_owned();
        troubles.lock().unwrap().insert("permissions", message.clone());
        assert_eq!(node.degraded().await, [format!("permissions: {message}")]);
        let (_, _, page) = node.metrics().await;
        for line in ["vpc_cni_degraded{reason=\"permissions\"} 1", "vpc_cni_leaked_enis_deleted 7"]
        {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        // Pods do not depend on it.
        node.add("a").await.unwrap();
        troubles.lock().unwrap().clear();
        assert_eq!(node.degraded().await, [""; 0]);
    });
}
