//! One node, and what the daemon and the reference do on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use vpc_ipam_core::{
    checkpoint::{Checkpoint, Lease, Unknown, decode, encode},
    config::{AllocationMode, PoolConfig, WarmTargets},
    driver::{Driver, Job},
    id::{PodRef, SandboxKey},
    pool::{Assign, Pool, Release},
    store::Store,
    testkit::{FakeDatapath, ModelCloud, ec2::WorldConfig},
    time::Time,
};

use super::{Books, Disk as _, FakeDisk, StoreError, Takes};

pub(super) const FILE: &str = "ipam.json";

#[derive(Debug)]
struct TestStore(Books<FakeDisk>);

impl Store for TestStore {
    fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.load()
    }
    fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        self.0.save(content)
    }
    fn takes(&self) -> Takes {
        self.0.takes()
    }
    fn append(&self, changes: &[u8]) -> Result<(), StoreError> {
        self.0.append(changes)
    }
    fn set_aside(&self) -> Result<String, StoreError> {
        panic!("a file of ours is corrupt")
    }
}

/// One node through all its lives.
pub(super) struct Node {
    pub(super) disk: FakeDisk,
    cloud: Arc<ModelCloud>,
    /// Pods that were told their address, and have not been deleted since.
    pub(super) live: BTreeMap<u32, IpAddr>,
    /// Sandboxes whose ADD or DEL nobody answered: the runtime deletes them.
    unanswered: BTreeSet<u32>,
    targets: WarmTargets,
    /// The reference has lived here: what it never heard of is known by its address alone.
    mixed: bool,
    now: Time,
}

pub(super) fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("sandbox-{n}"), "eth0").unwrap()
}

fn pod(n: u32) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: format!("pod-{n}") }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Add(u32),
    Del(u32),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Who {
    Reference,
    Whole,
    Journaled,
}

impl Node {
    pub(super) fn new() -> Self {
        let world = WorldConfig::new("10.0.0.0/16".parse().unwrap())
            .subnet("10.0.0.0/20".parse().unwrap())
            .instance(0, "m5.large")
            .build()
            .unwrap();
        let instance = world.instances()[0].id.clone();
        Self {
            disk: FakeDisk::default(),
            cloud: Arc::new(ModelCloud::new(Arc::new(Mutex::new(world)), instance)),
            live: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            targets: WarmTargets { ips: 40, ..WarmTargets::default() },
            mixed: false,
            now: Time::from_millis(1_000_000),
        }
    }

    /// One prefix for up to fifteen pods, so that addresses are used again at once.
    pub(super) fn scarce() -> Self {
        let targets = WarmTargets { ips: 1, minimum_ips: 16, ..WarmTargets::default() };
        Self { targets, ..Self::new() }
    }

    fn told(&mut self, n: u32, ip: IpAddr) {
        let other = self.live.iter().find(|(other, has)| **other != n && **has == ip);
        assert!(other.is_none(), "{ip} is pod {other:?}'s and was given to pod {n}");
        self.live.insert(n, ip);
    }

    /// One life of a daemon. Returns how many file operations it needed.
    pub(super) fn live(&mut self, who: Who, steps: &[Step], stop_after: Option<usize>) -> usize {
        self.disk.stop_after(stop_after);
        let mut todo: Vec<Step> = self.unanswered.iter().map(|n| Step::Del(*n)).collect();
        todo.extend(steps);
        match who {
            Who::Reference => self.reference(&todo),
            Who::Whole => self.ours(&todo, false),
            Who::Journaled => self.ours(&todo, true),
        };
        let steps = self.disk.steps();
        self.disk.stop_after(None);
        steps
    }

    fn ours(&mut self, steps: &[Step], journaled: bool) -> Option<()> {
        let store = Arc::new(TestStore(Books::open(self.disk.clone(), FILE, journaled).ok()?));
        let content = store.load().ok()?;
        let checkpoint = content.map_or_else(Checkpoint::default, |c| decode(&c).unwrap());
        assert_eq!(checkpoint.kept, [], "the files contradict each other");
        for (n, ip) in &self.live {
            let held = checkpoint.leases.iter().find(|lease| lease.ip == *ip);
            let held = held.filter(|lease| self.mixed || lease.key == key(*n));
            assert!(held.is_some(), "{ip} of pod {n} is forgotten by {checkpoint:?}");
        }
        let mut config = PoolConfig::new(AllocationMode::Prefix, self.targets, 3, 9).unwrap();
        config.cooldown = Duration::ZERO;
        let pool = Pool::restore(config, &checkpoint, self.now);
        let kernel = Arc::new(FakeDatapath::new());
        let cloud = Arc::<ModelCloud>::clone(&self.cloud);
        let mut driver = Driver::new(pool, cloud, kernel, store);
        self.drain(&mut driver);
        for step in steps {
            if self.disk.is_dead() {
                return None;
            }
            let (Step::Add(n) | Step::Del(n)) = *step;
            self.now = self.now + Duration::from_secs(1);
            let pending = match step {
                Step::Add(_) => match driver.pool_mut().assign(key(n), pod(n), self.now).unwrap() {
                    Assign::Ready(assignment) => {
                        self.told(n, assignment.ip);
                        continue;
                    }
                    Assign::Pending(op) => op,
                },
                Step::Del(_) => {
                    self.live.remove(&n);
                    match driver.pool_mut().release(&key(n), self.now).unwrap() {
                        Release::Absent => {
                            self.unanswered.remove(&n);
                            continue;
                        }
                        Release::Pending(op) => op,
                    }
                }
            };
            let mut replies = self.drain(&mut driver);
            match (replies.remove(&pending), step) {
                (Some(Some(ip)), Step::Add(_)) => self.told(n, ip),
                (Some(Some(_)), Step::Del(_)) => drop(self.unanswered.remove(&n)),
                _ => drop(self.unanswered.insert(n)),
            }
        }
        Some(())
    }

    fn drain(&self, driver: &mut Driver) -> BTreeMap<vpc_ipam_core::id::OpId, Option<IpAddr>> {
        let mut replies = BTreeMap::new();
        loop {
            while let Some(reply) = driver.pool_mut().poll_reply() {
                replies.insert(reply.op, reply.result.ok().map(|a| a.ip));
            }
            let Some((_, job)) = driver.next_job(self.now) else { return replies };
            let event = match job {
                Job::Blocking(call) => call(),
                Job::Cloud(mut future) => {
                    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(event) => event,
                        Poll::Pending => panic!("the model is always ready"),
                    }
                }
            };
            driver.handle(event, self.now);
        }
    }

    /// What the reference does with its file, and nothing that it does not do.
    fn reference(&mut self, steps: &[Step]) -> Option<()> {
        self.mixed = true;
        let content = self.disk.read(FILE).unwrap();
        let mut leases = content.map_or_else(Vec::new, |c| {
            let checkpoint = decode(&c).unwrap();
            assert_eq!(checkpoint.kept, [], "the reference would not start");
            checkpoint.leases
        });
        // Entries whose pod has no link are dropped; those that name no pod are kept.
        leases.retain(|lease| {
            lease.pod.name.is_empty() || self.live.keys().any(|n| pod(*n) == lease.pod)
        });
        self.write(&leases)?;
        for step in steps {
            match step {
                Step::Add(n) => {
                    if let Some(lease) = leases.iter().find(|lease| lease.key == key(*n)) {
                        self.told(*n, lease.ip);
                        continue;
                    }
                    let Some(ip) = self.free_address(&leases) else { continue };
                    let unknown = Unknown::default();
                    let (key, pod) = (key(*n), pod(*n));
                    leases.push(Lease { key, ip, allocated_ns: 1, pod, interfaces: 1, unknown });
                    if self.write(&leases).is_none() {
                        self.unanswered.insert(*n);
                        return None;
                    }
                    self.told(*n, ip);
                }
                Step::Del(n) => {
                    self.live.remove(n);
                    leases.retain(|lease| lease.key != key(*n));
                    if self.write(&leases).is_none() {
                        self.unanswered.insert(*n);
                        return None;
                    }
                    self.unanswered.remove(n);
                }
            }
        }
        Some(())
    }

    fn free_address(&self, leases: &[Lease]) -> Option<IpAddr> {
        let world = self.cloud.world();
        let blocks = world.enis_of(self.cloud.instance_id()).into_iter().flat_map(|e| e.owned());
        let mut free = blocks.flat_map(|cidr| (0..cidr.size()).filter_map(move |n| cidr.nth(n)));
        free.find(|ip| leases.iter().all(|lease| lease.ip != *ip))
    }

    fn write(&self, leases: &[Lease]) -> Option<()> {
        let _ = self.disk.remove("ipam.json.tmp1");
        let content = encode(&Checkpoint::new(leases.to_vec()));
        self.disk.create("ipam.json.tmp1", &content).ok()?;
        self.disk.sync("ipam.json.tmp1").ok()?;
        self.disk.rename("ipam.json.tmp1", FILE).ok()
    }
}
