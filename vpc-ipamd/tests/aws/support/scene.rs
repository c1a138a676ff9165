//! A node in a world, and what happens there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use vpc_eni_aws::emulator::{Emulator, tokio_clock};
use vpc_ipam_core::{
    id::{EniId, InstanceId, SubnetId},
    testkit::{
        FakeDatapath, MemoryStore,
        ec2::{Delays, Ec2Action, Ec2Error, Fault, World, WorldConfig},
    },
};

use super::{
    calls::Calls,
    node::{Node, Socket},
    pods::{self, Started},
};

/// Longer than any script takes, in virtual time, so that what goes wrong ends.
const PATIENCE: Duration = Duration::from_secs(48 * 3600);
/// More calls than any script sees.
pub(crate) const FOREVER: u32 = 1_000_000;
/// Between two looks at the node, at the least.
const FINE: Duration = Duration::from_millis(100);

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
    socket: Socket,
    node: Option<Node>,
    /// Pods that are on their way.
    pub(super) starting: Vec<(String, JoinHandle<Started>)>,
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
    pub(crate) began: Instant,
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
        Self::on(config, "m5.large")
    }

    /// Another type of instance there.
    pub(crate) fn on(config: WorldConfig, instance_type: &str) -> Self {
        let clock = tokio_clock();
        let config = config.instance(0, instance_type).delays(Delays::USUAL).seed(7).start(clock());
        let world = config.build().unwrap();
        let instance = world.instances()[0].id.clone();
        let env = [("WARM_IP_TARGET", "2")];
        Self {
            emulator: Emulator::new(Arc::new(Mutex::new(world)), clock),
            instance,
            datapath: Arc::new(FakeDatapath::new()),
            store: Arc::new(MemoryStore::new()),
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            socket: Socket::default(),
            node: None,
            starting: Vec::new(),
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
        let Self { socket, emulator, instance, datapath, store, env, .. } = &*self;
        self.node = Some(Node::start(socket, emulator, instance, datapath, store, env));
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

    /// The subnet of the node.
    pub(crate) fn subnet(&self) -> SubnetId {
        self.world().subnets()[0].id.clone()
    }

    /// EC2 works again.
    pub(crate) fn heal(&self) {
        self.world().faults_mut().clear();
    }

    /// Every call of EC2 fails, until [`heal`](Self::heal).
    pub(crate) fn cut_off(&self, error: &Ec2Error) {
        for action in Ec2Action::ALL {
            self.fail(*action, error.clone(), FOREVER);
        }
    }

    /// What the next calls of `action` meet.
    pub(crate) fn meet(&self, action: Ec2Action, fault: Fault, times: u32) {
        self.world().faults_mut().meet(action, fault, times);
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

    /// Pods `p0`, `p1` and so on.
    pub(crate) fn names(numbers: Range<u32>) -> impl Iterator<Item = String> {
        numbers.map(|n| format!("p{n}"))
    }

    /// Starts pods of these numbers at the same time, and waits until all of them run.
    pub(crate) async fn serve(&mut self, numbers: Range<u32>) {
        self.launch(numbers);
        self.served().await;
    }

    /// Starts pods of these numbers at the same time.
    pub(crate) fn launch(&mut self, numbers: Range<u32>) {
        let socket = self.socket.clone();
        let start = |name: String| (name.clone(), tokio::spawn(pods::start(socket.clone(), name)));
        self.starting.extend(Self::names(numbers).map(start));
    }

    /// Waits until all pods that were launched run.
    pub(crate) async fn served(&mut self) {
        for (name, task) in std::mem::take(&mut self.starting) {
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
        let socket = self.socket.clone();
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

    /// Ends pods of these numbers.
    pub(crate) async fn end(&mut self, numbers: Range<u32>) {
        for name in Self::names(numbers) {
            let pod = self.pods.remove(&name).expect("no such pod");
            pods::del(&self.socket, pod.key.container_id()).await.unwrap();
        }
    }

    /// Notes what the node says is wrong.
    pub(crate) async fn look(&mut self) {
        let degraded = self.node().degraded().await;
        self.said.extend(degraded);
    }

    /// Lets time pass, with an eye on the node.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let (start, end) = (Instant::now(), Instant::now() + time);
        while Instant::now() < end {
            self.look().await;
            sleep(pause(start).min(end - Instant::now())).await;
        }
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
            sleep(pause(start)).await;
        }
    }

    /// Asserts that metrics count answers of `code` to `action`.
    pub(crate) async fn was_counted(&self, action: Ec2Action, code: &str) {
        let page = self.node().metrics().await;
        let count = format!("awscni_aws_api_error_count{{api=\"{action}\",error=\"{code}\"}} ");
        assert!(page.contains(&count), "{count} is missing in\n{page}");
    }

    /// True if one sentence of the node's, or one that a pod was refused with, has all of `parts`.
    pub(crate) fn knows(&self, parts: &[&str]) -> bool {
        let whole = |text: &String| parts.iter().all(|part| text.contains(part));
        self.said.iter().chain(&self.refusals).any(whole)
    }

    /// Waits until the node is at rest and all is well.
    pub(crate) async fn settle_now(&mut self) {
        self.settle(Duration::from_secs(600)).await;
    }

    /// Addresses of the pool.
    pub(crate) async fn total(&self) -> u64 {
        self.node().json("/v1/status").await["addresses"]["total"].as_u64().unwrap()
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
            sleep(pause(start)).await;
        }
    }

    /// Asserts that somebody who looked at the node, or a pod that was refused, was told all of
    /// `parts` in one sentence.
    pub(crate) fn was_told(&self, parts: &[&str]) {
        assert!(
            self.knows(parts),
            "nobody was told {parts:?}, but {:#?} {:#?}",
            self.said,
            self.refusals
        );
    }
}

/// Until the node is looked at again by who has waited since then.
fn pause(since: Instant) -> Duration {
    // A long wait is measured with less precision.
    since.elapsed().div_f64(100.0).max(FINE)
}
