//! A node in a world, and what happens there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use vpc_eni_aws::emulator::{Emulator, tokio_clock};
use vpc_ipam_core::{
    id::{EniId, InstanceId},
    testkit::{
        FakeDatapath, MemoryStore,
        ec2::{Delays, Ec2Action, Ec2Error, World, WorldConfig},
    },
};

use super::{
    calls::Calls,
    node::Node,
    pods::{self, Started},
};

/// Longer than any script takes, in virtual time, so that what goes wrong ends.
const PATIENCE: Duration = Duration::from_secs(48 * 3600);
/// How often the node is looked at: at first, and after [`COARSE_AFTER`].
const FINE: Duration = Duration::from_millis(100);
const COARSE: Duration = Duration::from_secs(1);
const COARSE_AFTER: Duration = Duration::from_secs(20);

/// Runs a test whose clock jumps to whatever comes next.
pub(crate) fn in_virtual_time(test: impl Future<Output = ()>) {
    // The SDK's retries are spread by this thread's numbers.
    fastrand::seed(7);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("the script hangs") });
}

/// A node, its cloud, and its pods.
pub(crate) struct Scene {
    pub(crate) emulator: Emulator,
    pub(crate) instance: InstanceId,
    pub(crate) datapath: Arc<FakeDatapath>,
    pub(crate) store: Arc<MemoryStore>,
    env: BTreeMap<String, String>,
    node: Option<Node>,
    /// Running pods by name.
    pub(crate) pods: BTreeMap<String, Started>,
    /// What the daemon has said to ADDs that failed.
    pub(crate) refusals: Vec<String>,
    /// Free addresses at rest.
    pub(super) warm: RangeInclusive<u64>,
    /// Addresses of a node that can have no more.
    pub(super) capacity: u64,
    /// ENIs that are not the pool's.
    pub(crate) others: BTreeSet<EniId>,
    /// What may be wrong with a node at rest.
    pub(crate) excused: Vec<&'static str>,
    /// Every reason that the node gave while it was being watched.
    pub(crate) said: BTreeSet<String>,
    pub(super) began: Instant,
    before: Calls,
}

impl Scene {
    /// An m5.large (3 ENIs of 9 addresses for pods) in a subnet of 10.0.0.0/24, which keeps two
    /// addresses free. Not started yet.
    pub(crate) fn new() -> Self {
        Self::with(
            WorldConfig::new("10.0.0.0/16".parse().unwrap()).subnet("10.0.0.0/24".parse().unwrap()),
        )
    }

    /// The same in the first subnet of another world.
    pub(crate) fn with(config: WorldConfig) -> Self {
        let clock = tokio_clock();
        let config = config.instance(0, "m5.large").delays(Delays::USUAL).seed(7).start(clock());
        let world = config.build().unwrap();
        let instance = world.instances()[0].id.clone();
        let env = [("WARM_IP_TARGET", "2")];
        Self {
            emulator: Emulator::new(Arc::new(Mutex::new(world)), clock),
            instance,
            datapath: Arc::new(FakeDatapath::new()),
            store: Arc::new(MemoryStore::new()),
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            node: None,
            pods: BTreeMap::new(),
            refusals: Vec::new(),
            warm: 2..=2,
            capacity: 27,
            others: BTreeSet::new(),
            excused: Vec::new(),
            said: BTreeSet::new(),
            began: Instant::now(),
            before: Calls::default(),
        }
    }

    /// Another setting of the daemon, from its next start on.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Free addresses of the node at rest, if not two.
    pub(crate) fn warm(mut self, free: RangeInclusive<u64>) -> Self {
        self.warm = free;
        self
    }

    /// Starts the daemon.
    pub(crate) fn start(&mut self) {
        assert!(self.node.is_none(), "it runs already");
        let Self { emulator, instance, datapath, store, env, .. } = &*self;
        self.node = Some(Node::start(emulator, instance, datapath, store, env));
    }

    /// Stops the daemon as SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        self.node.take().expect("no daemon").stop().await;
    }

    /// Stops the daemon as SIGKILL does.
    pub(crate) async fn kill(&mut self) {
        self.node.take().expect("no daemon").kill().await;
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("no daemon")
    }

    /// The world as it is now.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let now = self.emulator.now();
        let mut world = self.emulator.world().lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(now);
        world
    }

    /// Lets the next calls of `action` fail.
    pub(crate) fn fail(&self, action: Ec2Action, error: Ec2Error, times: u32) {
        self.world().faults_mut().fail(action, error, times);
    }

    /// A rest until the node has what it wants; then whatever is counted and timed begins.
    pub(crate) async fn begin(&mut self) {
        if self.node.is_none() {
            self.start();
        }
        self.settle(Duration::from_secs(300)).await;
        self.mark();
    }

    /// Counting and timing begin here.
    pub(crate) fn mark(&mut self) {
        self.began = Instant::now();
        self.before = self.total_calls();
        self.said.clear();
        self.refusals.clear();
    }

    /// Calls since the mark.
    pub(crate) fn calls(&self) -> Calls {
        self.total_calls().since(&self.before)
    }

    fn total_calls(&self) -> Calls {
        Calls::new(self.world().calls())
    }

    /// Starts these pods at the same time, and waits until all of them run.
    pub(crate) async fn serve<S: ToString>(&mut self, names: impl IntoIterator<Item = S>) {
        let socket = self.node().socket();
        let start = |name: S| {
            let name = name.to_string();
            (name.clone(), tokio::spawn(pods::start(socket.clone(), name)))
        };
        let starting: Vec<_> = names.into_iter().map(start).collect();
        for (name, task) in starting {
            // While somebody waits, somebody else looks at the node.
            while !task.is_finished() {
                self.look().await;
                sleep(FINE).await;
            }
            let started = task.await.unwrap();
            self.refusals.extend(started.refusals.iter().cloned());
            assert!(self.pods.insert(name, started).is_none(), "started twice");
        }
    }

    /// One ADD; what the daemon says if it fails.
    pub(crate) async fn add(&mut self, name: &str) -> Result<(), String> {
        let socket = self.node().socket();
        let id = format!("{name}-0");
        match pods::add(&socket, &id).await {
            Ok(ip) => {
                let key = vpc_ipam_core::id::SandboxKey::new("aws-cni", &id, "eth0").unwrap();
                self.pods.insert(name.to_owned(), Started { key, ip, refusals: Vec::new() });
                Ok(())
            }
            Err(status) => {
                pods::del(&socket, &id).await.unwrap();
                Err(status.message().to_owned())
            }
        }
    }

    /// Ends a pod.
    pub(crate) async fn end(&mut self, name: &str) {
        let pod = self.pods.remove(name).expect("no such pod");
        pods::del(&self.node().socket(), pod.key.container_id()).await.unwrap();
    }

    /// Notes what the node says is wrong.
    pub(crate) async fn look(&mut self) {
        let degraded = self.node().degraded().await;
        self.said.extend(degraded);
    }

    /// Lets time pass, with an eye on the node.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look().await;
            sleep(self.pause(end - time).min(end - Instant::now())).await;
        }
    }

    fn pause(&self, since: Instant) -> Duration {
        if since.elapsed() < COARSE_AFTER { FINE } else { COARSE }
    }

    /// Waits until something is true; `what` it is, if it never becomes so.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut is: impl AsyncFnMut(&Self) -> bool,
    ) {
        let start = Instant::now();
        while !is(self).await {
            assert!(
                start.elapsed() < limit,
                "waited {limit:?} in vain for {what}: {:#?}",
                self.said
            );
            self.look().await;
            sleep(self.pause(start)).await;
        }
    }

    /// Waits until the node is at rest and all is well, and says how long that took.
    pub(super) async fn settle(&mut self, limit: Duration) -> Duration {
        let start = Instant::now();
        loop {
            let state = match self.at_rest().await {
                Ok(()) => self.audit().await,
                Err(why) => Err(why),
            };
            let Err(why) = state else { return self.began.elapsed() };
            assert!(
                start.elapsed() < limit,
                "not at rest after {limit:?}: {why}\n{:#?}",
                self.said
            );
            self.look().await;
            sleep(self.pause(start)).await;
        }
    }

    /// Asserts that somebody who looked at the node, or a pod that was refused, was told all of
    /// `parts` in one sentence.
    pub(crate) fn was_told(&self, parts: &[&str]) {
        let told = self.said.iter().chain(&self.refusals);
        let whole = |text: &&String| parts.iter().all(|part| text.contains(part));
        assert!(
            told.clone().any(|text| whole(&text)),
            "nobody was told {parts:?}, but {:#?}",
            told.collect::<Vec<_>>()
        );
    }
}
