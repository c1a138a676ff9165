//! A node that is killed at any step of any write, and goes back and forth between this daemon and the
//! reference. The kernel's own knowledge of the pods is left out: the files alone must do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

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

use super::*;

const FILE: &str = "ipam.json";

/// A directory that survives the process, and stops it at a chosen operation.
#[derive(Debug, Default)]
struct Platter {
    files: BTreeMap<String, Vec<u8>>,
    /// What a machine that lost power would find.
    durable: BTreeMap<String, Vec<u8>>,
    synced: BTreeMap<String, Vec<u8>>,
    /// Operations that are still done; the one after them is done by half, and no other.
    left: Option<usize>,
    steps: usize,
}

#[derive(Clone, Debug, Default)]
struct FakeDisk(Arc<Mutex<Platter>>);

enum Fate {
    Done,
    Half,
    Dead,
}

impl FakeDisk {
    fn stop_after(&self, steps: Option<usize>) {
        let mut platter = self.0.lock().unwrap();
        platter.left = steps;
        platter.steps = 0;
    }

    fn step<T>(&self, act: impl FnOnce(&mut Platter, bool) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.0.lock().unwrap();
        platter.steps += 1;
        let fate = match &mut platter.left {
            None => Fate::Done,
            Some(0) => Fate::Dead,
            Some(1) => Fate::Half,
            Some(_) => Fate::Done,
        };
        platter.left = platter.left.map(|n| n.saturating_sub(1));
        let dead = || io::Error::other("the process is dead");
        match fate {
            Fate::Done => act(&mut platter, false),
            Fate::Half => {
                let _ = act(&mut platter, true);
                Err(dead())
            }
            Fate::Dead => Err(dead()),
        }
    }

    fn is_dead(&self) -> bool {
        self.0.lock().unwrap().left == Some(0)
    }

    fn lose_power(&self) {
        let mut platter = self.0.lock().unwrap();
        platter.files = platter.durable.clone();
        platter.synced = platter.durable.clone();
    }
}

impl Disk for FakeDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(name).cloned())
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step(|platter, half| {
            let len = if half { content.len() / 2 } else { content.len() };
            assert!(!platter.files.contains_key(name), "{name} exists");
            platter.files.insert(name.to_owned(), content[..len].to_vec());
            platter.synced.insert(name.to_owned(), Vec::new());
            Ok(())
        })
    }

    fn append(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step(|platter, half| {
            let len = if half { content.len() / 2 } else { content.len() };
            let file = platter.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            file.extend_from_slice(&content[..len]);
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.step(|platter, half| {
            let content = platter.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            if !half {
                platter.synced.insert(name.to_owned(), content.clone());
                // The name is durable already if an earlier life of the file was.
                if let Some(durable) = platter.durable.get_mut(name) {
                    *durable = content;
                }
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|platter, half| {
            // A rename is done or not; a process that is killed in it does not know which.
            if half && platter.steps % 2 == 0 {
                return Ok(());
            }
            let content = platter.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            let synced = platter.synced.remove(from).unwrap_or_default();
            platter.files.insert(to.to_owned(), content);
            platter.synced.insert(to.to_owned(), synced);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|platter, half| {
            if half && platter.steps % 2 == 0 {
                return Ok(());
            }
            platter.files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.step(|platter, half| {
            if !half {
                platter.durable = platter.synced.clone();
                platter.durable.retain(|name, _| platter.files.contains_key(name));
            }
            Ok(())
        })
    }
}

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
struct Node {
    disk: FakeDisk,
    cloud: Arc<ModelCloud>,
    /// Pods that were told their address, and have not been deleted since.
    live: BTreeMap<u32, IpAddr>,
    /// Sandboxes whose ADD or DEL nobody answered: the runtime deletes them.
    unanswered: BTreeSet<u32>,
    targets: WarmTargets,
    /// The reference has lived here: what it never heard of is known by its address alone.
    mixed: bool,
    now: Time,
}

fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("sandbox-{n}"), "eth0").unwrap()
}

fn pod(n: u32) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: format!("pod-{n}") }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u32),
    Del(u32),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    Reference,
    Whole,
    Journaled,
}

impl Node {
    fn new() -> Self {
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
    fn scarce() -> Self {
        let targets = WarmTargets { ips: 1, minimum_ips: 16, ..WarmTargets::default() };
        Self { targets, ..Self::new() }
    }

    fn told(&mut self, n: u32, ip: IpAddr) {
        let other = self.live.iter().find(|(other, has)| **other != n && **has == ip);
        assert!(other.is_none(), "{ip} is pod {other:?}'s and was given to pod {n}");
        self.live.insert(n, ip);
    }

    /// One life of a daemon. Returns how many file operations it needed.
    fn live(&mut self, who: Who, steps: &[Step], stop_after: Option<usize>) -> usize {
        self.disk.stop_after(stop_after);
        let mut todo: Vec<Step> = self.unanswered.iter().map(|n| Step::Del(*n)).collect();
        todo.extend(steps);
        match who {
            Who::Reference => self.reference(&todo),
            Who::Whole => self.ours(&todo, false),
            Who::Journaled => self.ours(&todo, true),
        };
        let steps = self.disk.0.lock().unwrap().steps;
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
        let content = self.disk.0.lock().unwrap().files.get(FILE).cloned();
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

/// Sandboxes that come, go and come again.
fn busy(from: u32) -> Vec<Step> {
    let mut steps: Vec<Step> = (from..from + 4).map(Step::Add).collect();
    steps.extend((from..from + 2).map(Step::Del));
    steps.extend([from + 4, from + 5, from].map(Step::Add));
    steps
}

/// Every step of the first life, of the second and of both is the last one, once.
fn stop_everywhere(lives: [Who; 3]) {
    let run = |first: Option<usize>, second: Option<usize>| {
        let mut node = Node::new();
        // The first life makes addresses.
        node.live(Who::Whole, &[], None);
        let steps = node.live(lives[0], &busy(0), first);
        let steps = steps.max(node.live(lives[1], &busy(20), second));
        node.live(lives[2], &busy(40), None);
        assert!(node.live.len() >= 5, "{lives:?} serves nobody");
        steps
    };
    let steps = run(None, None);
    assert!(steps > 10, "{lives:?} needed {steps} operations");
    for stop in (0..=steps).map(Some) {
        run(stop, None);
        run(None, stop);
        run(stop, stop);
    }
}

#[test]
fn an_address_that_is_used_again_is_in_the_file_before_its_pod_has_it() {
    let mut steps: Vec<Step> = (0..15).map(Step::Add).collect();
    steps.extend([Step::Del(0), Step::Add(20), Step::Add(21), Step::Del(1), Step::Add(22)]);
    for stop in 0..100 {
        let mut node = Node::scarce();
        node.live(Who::Whole, &[], None);
        node.live(Who::Journaled, &steps, Some(stop));
        node.live(Who::Reference, &[Step::Add(40), Step::Add(41)], None);
        node.live(Who::Journaled, &[Step::Add(60)], None);
    }
}

#[test]
fn ours_and_the_reference_take_turns_and_no_address_is_given_twice() {
    use Who::{Journaled as J, Reference as R, Whole as W};
    for lives in [[J, R, J], [R, J, R], [J, J, J], [J, W, J], [W, R, W]] {
        stop_everywhere(lives);
    }
}

#[test]
fn a_pod_costs_one_append_and_one_sync() {
    let operations = |pods| {
        let mut node = Node::new();
        node.live(Who::Whole, &[], None);
        let steps: Vec<Step> = (0..pods).map(Step::Add).collect();
        node.live(Who::Journaled, &steps, None)
    };
    assert_eq!(operations(20) - operations(2), 2 * 18);
}

#[test]
fn what_was_answered_outlives_the_machine() {
    for stop in 0..60 {
        let mut node = Node::new();
        node.live(Who::Whole, &[], None);
        node.live(Who::Journaled, &busy(0), Some(stop));
        node.disk.lose_power();
        node.live(Who::Journaled, &busy(20), None);
        assert!(node.live.len() >= 5);
    }
}

#[test]
fn a_journal_that_has_become_long_or_failed_is_replaced() {
    let disk = FakeDisk::default();
    let books = Books::open(disk.clone(), FILE, true).unwrap();
    assert_eq!(books.takes(), Takes::WholeWithReserve);
    let content = encode(&Checkpoint::default());
    let changes = Changes { put: Vec::new(), removed: vec![key(1)] }.encode();
    books.save(&content).unwrap();
    let mut appends = 0;
    while books.takes() == Takes::Changes {
        books.append(&changes).unwrap();
        appends += 1;
    }
    assert!((500..2000).contains(&appends), "{appends}");
    assert!(books.append(&changes).is_ok(), "it is for the caller to save");
    books.save(&content).unwrap();
    disk.stop_after(Some(1));
    books.append(&changes).unwrap_err();
    disk.stop_after(None);
    assert_eq!(books.takes(), Takes::WholeWithReserve);
    books.append(&changes).unwrap_err();
    books.save(&content).unwrap();
    assert_eq!(disk.names().unwrap().len(), 2, "the file and one journal");
}

#[test]
fn the_journal_of_another_file_is_set_aside() {
    let disk = FakeDisk::default();
    let books = Books::open(disk.clone(), FILE, true).unwrap();
    books.save(&encode(&Checkpoint::default())).unwrap();
    let other = encode(&Checkpoint { leases: Vec::new(), ..Checkpoint::default() });
    let other = [b" ", other.as_slice()].concat();
    disk.0.lock().unwrap().files.insert(FILE.to_owned(), other.clone());
    assert_eq!(books.load().unwrap().unwrap(), other);
    assert_eq!(disk.names().unwrap(), [FILE, "ipam.json.set-aside-journal"]);
}
