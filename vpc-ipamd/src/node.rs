//! Who this node is, and the kernel set up accordingly: at start, and again when the VPC's blocks
//! change.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use vpc_ipam_core::{
    cloud::{CloudBackend, InstanceFacts},
    datapath::Datapath,
};

use crate::settings::Settings;

/// How often the VPC's blocks are looked up: what the reference does.
const REFRESH: Duration = Duration::from_secs(30);
/// First pause after a failure, doubled up to `RETRY_MAX`. Metadata is usually there within a
/// second of boot.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// IMDS and EC2 outages last minutes; a node that finds out half a minute late loses little.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// An answer that takes longer is treated as none. Backends bound their own calls; this bounds
/// the ones of embedders.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Reason of a node whose instance is not known.
pub(crate) const INSTANCE: &str = "instance";
/// Reason of a node whose kernel could not be set up.
pub(crate) const NODE_SET_UP: &str = "node_set_up";

/// What the node task has found out.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    /// A step failed and will be retried.
    Failed { reason: &'static str, message: String },
    /// The kernel is set up for these facts.
    SetUp(Arc<InstanceFacts>),
    /// A step that had failed works again, with nothing new.
    Works { reason: &'static str },
}

/// Runs for ever, until the engine is gone.
pub(crate) async fn watch(
    cloud: Arc<dyn CloudBackend>,
    datapath: Arc<dyn Datapath>,
    settings: Arc<Settings>,
    events: mpsc::Sender<NodeEvent>,
) {
    let mut applied: Option<Arc<InstanceFacts>> = None;
    let mut retry = RETRY_MIN;
    loop {
        let event = step(&cloud, &datapath, &settings, applied.as_ref()).await;
        let pause = match &event {
            NodeEvent::Failed { reason, .. } => {
                if *reason == NODE_SET_UP {
                    // Some of it may be done: whatever the facts are next, do it again.
                    applied = None;
                }
                let pause = jittered(retry);
                retry = RETRY_MAX.min(retry.saturating_mul(2));
                pause
            }
            NodeEvent::SetUp(facts) => {
                applied = Some(Arc::clone(facts));
                retry = RETRY_MIN;
                REFRESH
            }
            NodeEvent::Works { .. } => {
                retry = RETRY_MIN;
                REFRESH
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

async fn step(
    cloud: &Arc<dyn CloudBackend>,
    datapath: &Arc<dyn Datapath>,
    settings: &Arc<Settings>,
    applied: Option<&Arc<InstanceFacts>>,
) -> NodeEvent {
    let facts = match timeout(ANSWER_MAX, cloud.instance()).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(e)) => {
            return NodeEvent::Failed {
                reason: INSTANCE,
                message: format!("who is this node? {e}"),
            };
        }
        Err(_) => {
            let message = format!("who is this node? no answer within {} s", ANSWER_MAX.as_secs());
            return NodeEvent::Failed { reason: INSTANCE, message };
        }
    };
    if applied.is_some_and(|known| **known == facts) {
        return NodeEvent::Works { reason: INSTANCE };
    }
    let spec = settings.node_spec(&facts);
    let datapath = Arc::clone(datapath);
    let message = match spawn_blocking(move || datapath.set_up_node(&spec)).await {
        Ok(Ok(())) => return NodeEvent::SetUp(Arc::new(facts)),
        Ok(Err(e)) => format!("cannot set up the node's network: {e}"),
        Err(e) => format!("cannot set up the node's network: the step died: {e}"),
    };
    NodeEvent::Failed { reason: NODE_SET_UP, message }
}

/// Between half of `pause` and all of it: nodes that start together must not retry together.
fn jittered(pause: Duration) -> Duration {
    // The standard library's only source of randomness.
    let random = RandomState::new().build_hasher().finish();
    let half = pause / 2;
    let extra = half.as_millis().max(1);
    half + Duration::from_millis(u64::try_from(u128::from(random) % extra).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use vpc_ipam_core::testkit::{
        FakeDatapath, ModelCloud, Reach,
        ec2::{World, WorldConfig},
    };

    use super::*;

    fn settings() -> Arc<Settings> {
        Arc::new(Settings::parse(&BTreeMap::<&str, &str>::new()).unwrap().0)
    }

    fn world() -> World {
        WorldConfig::new("10.0.0.0/16".parse().unwrap())
            .subnet("10.0.0.0/24".parse().unwrap())
            .instance(0, "m5.large")
            .build()
            .unwrap()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn the_kernel_learns_of_new_blocks_of_the_vpc_and_of_nothing_else() {
        let world = Arc::new(Mutex::new(world()));
        let instance = world.lock().unwrap().instances()[0].id.clone();
        let model = Arc::new(ModelCloud::new(Arc::clone(&world), instance));
        let kernel = Arc::new(FakeDatapath::new());
        let cloud: Arc<dyn CloudBackend> = Arc::<ModelCloud>::clone(&model);
        let datapath: Arc<dyn Datapath> = Arc::<FakeDatapath>::clone(&kernel);
        run(async {
            let NodeEvent::SetUp(facts) = step(&cloud, &datapath, &settings(), None).await else {
                panic!("not set up");
            };
            let first = kernel.node().unwrap();
            assert_eq!(first.vpc_cidrs, ["10.0.0.0/16".parse().unwrap()]);
            let again = step(&cloud, &datapath, &settings(), Some(&facts)).await;
            assert!(matches!(again, NodeEvent::Works { reason: INSTANCE }), "{again:?}");

            let vpc = facts.vpc.clone();
            let block = "10.1.0.0/16".parse().unwrap();
            world.lock().unwrap().add_vpc_cidr(&vpc, block).unwrap();
            let changed = step(&cloud, &datapath, &settings(), Some(&facts)).await;
            assert!(matches!(changed, NodeEvent::SetUp(_)), "{changed:?}");
            assert!(kernel.node().unwrap().vpc_cidrs.contains(&block));

            model.set_reach(Reach::Nothing);
            let failed = step(&cloud, &datapath, &settings(), Some(&facts)).await;
            assert!(matches!(failed, NodeEvent::Failed { reason: INSTANCE, .. }), "{failed:?}");
        });
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(1));
            assert!((Duration::from_millis(500)..Duration::from_secs(1)).contains(&pause));
        }
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }
}
