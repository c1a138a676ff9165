//! Who this node is, and the kernel set up accordingly: at start, and again when the VPC's blocks
//! change.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
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
/// The same for the first answer of a node that remembers who it was: pods need not wait longer. Metadata
/// answers within milliseconds, EC2 within a second.
const ANSWER_SOON: Duration = Duration::from_secs(5);

/// Reason of a node whose instance is not known.
pub(crate) const INSTANCE: &str = "instance";
/// Reason of a node whose kernel could not be set up.
pub(crate) const NODE_SET_UP: &str = "node_set_up";

/// What the node task has found out.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    /// A step failed and will be retried.
    Failed { reason: &'static str, message: String },
    /// The kernel is set up for these facts, which the cloud says or, while it does not answer, an
    /// earlier life of the node remembers.
    SetUp { facts: Arc<InstanceFacts>, remembered: bool },
    /// A step that had failed works again, with nothing new.
    Works { reason: &'static str },
}

/// What the node task works with.
pub(crate) struct Node {
    pub cloud: Arc<dyn CloudBackend>,
    pub datapath: Arc<dyn Datapath>,
    pub settings: Arc<Settings>,
    /// Who the node was before the daemon started, for as long as the cloud does not say.
    pub remembered: Option<Arc<InstanceFacts>>,
}

impl Node {
    /// Runs for ever, until the engine is gone.
    pub(crate) async fn watch(mut self, events: mpsc::Sender<NodeEvent>) {
        let mut applied: Option<Arc<InstanceFacts>> = None;
        let mut retry = RETRY_MIN;
        let mut random = self.settings.spread();
        loop {
            let event = self.step(applied.as_ref()).await;
            let from_memory = match &event {
                NodeEvent::Failed { reason: INSTANCE, .. } if applied.is_none() => {
                    self.remembered.clone()
                }
                _ => None,
            };
            let pause = match &event {
                NodeEvent::Failed { reason, .. } => {
                    if *reason == NODE_SET_UP {
                        // Some of it may be done: whatever the facts are next, do it again.
                        applied = None;
                    }
                    let pause = jittered(retry, &mut random);
                    retry = RETRY_MAX.min(retry.saturating_mul(2));
                    pause
                }
                NodeEvent::SetUp { facts, .. } => {
                    applied = Some(Arc::clone(facts));
                    self.remembered = None;
                    retry = RETRY_MIN;
                    REFRESH
                }
                NodeEvent::Works { .. } => {
                    self.remembered = None;
                    retry = RETRY_MIN;
                    REFRESH
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
            if let Some(facts) = from_memory {
                let event = self.set_up(&facts, true).await;
                if matches!(event, NodeEvent::SetUp { .. }) {
                    applied = Some(facts);
                }
                if events.send(event).await.is_err() {
                    return;
                }
            }
            sleep(pause).await;
        }
    }

    async fn step(&self, applied: Option<&Arc<InstanceFacts>>) -> NodeEvent {
        let patience = match (applied, &self.remembered) {
            (None, Some(_)) => ANSWER_SOON,
            _ => ANSWER_MAX,
        };
        let message = match timeout(patience, self.cloud.instance()).await {
            Ok(Ok(facts)) if applied.is_some_and(|known| **known == facts) => {
                return NodeEvent::Works { reason: INSTANCE };
            }
            Ok(Ok(facts)) => return self.set_up(&Arc::new(facts), false).await,
            Ok(Err(e)) => format!("who is this node? {e}"),
            Err(_) => format!("who is this node? no answer within {} s", patience.as_secs()),
        };
        NodeEvent::Failed { reason: INSTANCE, message }
    }

    async fn set_up(&self, facts: &Arc<InstanceFacts>, remembered: bool) -> NodeEvent {
        let spec = self.settings.node_spec(facts);
        let datapath = Arc::clone(&self.datapath);
        let message = match spawn_blocking(move || datapath.set_up_node(&spec)).await {
            Ok(Ok(())) => return NodeEvent::SetUp { facts: Arc::clone(facts), remembered },
            Ok(Err(e)) => format!("cannot set up the node's network: {e}"),
            Err(e) => format!("cannot set up the node's network: the step died: {e}"),
        };
        NodeEvent::Failed { reason: NODE_SET_UP, message }
    }
}

/// Between half of `pause` and all of it: nodes that start together must not retry together.
fn jittered(pause: Duration, random: &mut u64) -> Duration {
    let mut hasher = DefaultHasher::new();
    random.hash(&mut hasher);
    *random = hasher.finish();
    let half = pause / 2;
    let extra = half.as_millis().max(1);
    half + Duration::from_millis(u64::try_from(u128::from(*random) % extra).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Mutex,
    };

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
        let node = Node {
            cloud: Arc::<ModelCloud>::clone(&model),
            datapath: Arc::<FakeDatapath>::clone(&kernel),
            settings: settings(),
            remembered: None,
        };
        run(async {
            let NodeEvent::SetUp { facts, remembered: false } = node.step(None).await else {
                panic!("not set up");
            };
            let first = kernel.node().unwrap();
            assert_eq!(first.vpc_cidrs, ["10.0.0.0/16".parse().unwrap()]);
            let again = node.step(Some(&facts)).await;
            assert!(matches!(again, NodeEvent::Works { reason: INSTANCE }), "{again:?}");

            let vpc = facts.vpc.clone();
            let block = "10.1.0.0/16".parse().unwrap();
            world.lock().unwrap().add_vpc_cidr(&vpc, block).unwrap();
            let changed = node.step(Some(&facts)).await;
            assert!(matches!(changed, NodeEvent::SetUp { .. }), "{changed:?}");
            assert!(kernel.node().unwrap().vpc_cidrs.contains(&block));

            model.set_reach(Reach::Nothing);
            let failed = node.step(Some(&facts)).await;
            assert!(matches!(failed, NodeEvent::Failed { reason: INSTANCE, .. }), "{failed:?}");
            assert!(kernel.node().unwrap().vpc_cidrs.contains(&block), "the old set is kept");
        });
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        let mut random = 7;
        let second = Duration::from_secs(1);
        let pauses: BTreeSet<_> = (0..100).map(|_| jittered(second, &mut random)).collect();
        assert!(pauses.iter().all(|pause| (second / 2..second).contains(pause)), "{pauses:?}");
        assert!(pauses.len() > 50, "{pauses:?}");
        assert_eq!(jittered(Duration::ZERO, &mut random), Duration::ZERO);
    }
}
