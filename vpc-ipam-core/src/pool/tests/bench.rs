//! A workbench for one pool: a cloud made of counters, answered at once or by hand.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{
    addr::Prefix,
    class::INSTANCE_TAG,
    cloud::{AddressCount, Authority, CloudEni, CloudError, CloudErrorKind, CloudView},
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{EniId, MacAddr, OpId, PodRef, SandboxKey},
    pool::{Action, Assign, AssignError, Assignment, Event, Pool, Release},
    store::StoreError,
    time::Time,
};

pub(super) const START: Time = Time::from_millis(1_000_000);

pub(super) fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("sandbox-{n}"), "eth0").unwrap()
}

pub(super) fn pod(n: u32) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: format!("cart-{n}") }
}

pub(super) fn config(mode: AllocationMode, targets: WarmTargets) -> PoolConfig {
    PoolConfig::new(mode, targets, 3, 9).unwrap()
}

pub(super) fn warm_ips(ips: u32, minimum_ips: u32) -> WarmTargets {
    WarmTargets { ips, minimum_ips, ..WarmTargets::default() }
}

/// The pool, what the cloud really has, and what is under way.
pub(super) struct Bench {
    pub(super) pool: Pool,
    pub(super) now: Time,
    pub(super) enis: BTreeMap<EniId, CloudEni>,
    /// Subnet of new ENIs.
    pub(super) subnet_cidr: Prefix,
    next_ip: u32,
    next_eni: u32,
    /// Actions that wait for `answer`, in order. Others are answered at once.
    pub(super) held: Vec<Action>,
    /// Which actions are not answered at once.
    pub(super) hold: fn(&Action) -> bool,
    pub(super) log: Vec<Action>,
    pub(super) replies: BTreeMap<OpId, Result<Assignment, AssignError>>,
    pub(super) store_fails: bool,
    /// The ENI view that was stored last.
    pub(super) remembered: Vec<CloudEni>,
    pub(super) cloud_fails: Option<CloudErrorKind>,
    /// `/28` blocks that the subnet can still give.
    pub(super) free_blocks: u32,
    pub(super) next_subnet: &'static str,
    pub(super) authority: Authority,
}

impl Bench {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self::with(Pool::new(config, START))
    }

    pub(super) fn with(pool: Pool) -> Self {
        let mut bench = Self {
            pool,
            now: START,
            enis: BTreeMap::new(),
            subnet_cidr: "10.0.0.0/16".parse().unwrap(),
            next_ip: 0,
            next_eni: 0,
            held: Vec::new(),
            hold: |_| false,
            log: Vec::new(),
            replies: BTreeMap::new(),
            store_fails: false,
            remembered: Vec::new(),
            cloud_fails: None,
            free_blocks: u32::MAX,
            next_subnet: "subnet-1",
            authority: Authority::Ec2,
        };
        bench.attach_eni();
        bench
    }

    /// A new ENI in the cloud, on card 0; the first one is primary.
    pub(super) fn attach_eni(&mut self) -> EniId {
        self.attach_eni_to(0)
    }

    pub(super) fn attach_eni_to(&mut self, card: u32) -> EniId {
        let n = self.next_eni;
        self.next_eni += 1;
        let id = EniId::new(&format!("eni-{n}")).unwrap();
        let enis = self.enis.values().filter(|e| e.card == card);
        let used: Vec<u32> = enis.map(|e| e.device).collect();
        let device = (0..).find(|d| !used.contains(d)).unwrap();
        let eni = CloudEni {
            id: id.clone(),
            mac: MacAddr([2, 0, 0, 0, 0, u8::try_from(n).unwrap()]),
            device,
            card,
            primary: n == 0,
            subnet: self.next_subnet.parse().unwrap(),
            subnet_cidr: self.subnet_cidr,
            primary_ip: format!("10.0.255.{}", n + 10).parse().unwrap(),
            ..CloudEni::example()
        };
        self.enis.insert(id.clone(), eni);
        id
    }

    /// New addresses on an ENI in the cloud.
    pub(super) fn assign_in_cloud(&mut self, id: &EniId, count: AddressCount) -> Vec<Prefix> {
        let mut new = Vec::new();
        for _ in 0..count.slots() {
            let base = 10 << 24 | self.next_ip << 4;
            let base_v6 = 0x2001_0db8 << 96 | u128::from(self.next_ip + 1) << 48;
            self.next_ip += 1;
            let ip: IpAddr = std::net::Ipv4Addr::from_bits(base).into();
            new.push(match count {
                AddressCount::Ipv6Prefixes(_) => {
                    Prefix::new(std::net::Ipv6Addr::from_bits(base_v6).into(), 80).unwrap()
                }
                AddressCount::Prefixes(_) => Prefix::new(ip, 28).unwrap(),
                AddressCount::Secondary(_) => Prefix::host(ip),
            });
        }
        self.enis.get_mut(id).unwrap().cidrs.extend(&new);
        new
    }

    pub(super) fn eni(&mut self, id: &EniId) -> &mut CloudEni {
        self.enis.get_mut(id).unwrap()
    }

    pub(super) fn primary(&self) -> EniId {
        self.enis.keys().next().unwrap().clone()
    }

    pub(super) fn tag(&mut self, id: &EniId, key: &str, value: &str) {
        self.eni(id).tags.insert(key.to_owned(), value.to_owned());
    }

    /// Past the next periodic read.
    pub(super) fn next_read(&mut self) {
        let describes = |a: &Action| matches!(a, Action::Describe { .. });
        let before = self.count(describes);
        while self.count(describes) == before {
            self.pass_s(5);
        }
    }

    pub(super) fn reconfigure(&mut self, change: impl FnOnce(&mut PoolConfig)) {
        let mut config = self.pool.config().clone();
        change(&mut config);
        self.pool.handle(Event::Reconfigured(Box::new(config)), self.now);
        self.run();
    }

    pub(super) fn run(&mut self) {
        loop {
            while let Some(reply) = self.pool.poll_reply() {
                assert!(self.replies.insert(reply.op, reply.result).is_none(), "answered twice");
            }
            let Some(action) = self.pool.poll_action(self.now) else { break };
            self.log.push(action.clone());
            if (self.hold)(&action) {
                self.held.push(action);
            } else {
                self.answer(action);
            }
        }
        crate::testkit::check::pool(&self.pool).unwrap();
    }

    /// Like `run`, but the first action of that sort fails.
    pub(super) fn run_but(&mut self, error: CloudErrorKind, what: fn(&Action) -> bool) {
        self.hold = what;
        self.run();
        self.hold = |_| false;
        self.cloud_fails = Some(error);
        let first = self.held.remove(0);
        self.answer(first);
        self.cloud_fails = None;
        self.run();
    }

    /// Lets `action` happen, and tells the pool.
    pub(super) fn answer(&mut self, action: Action) {
        let event = self.execute(action);
        self.pool.handle(event, self.now);
    }

    /// Answers everything that was held back.
    pub(super) fn answer_held(&mut self) {
        for action in std::mem::take(&mut self.held) {
            self.answer(action);
        }
        self.run();
    }

    /// Lets time pass, timeout by timeout.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.run();
        while let Some(at) = self.pool.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now, "a timeout that is not in the future: {at} at {}", self.now);
            self.now = at;
            self.pool.handle(Event::Timeout, self.now);
            self.run();
        }
        self.now = end;
    }

    pub(super) fn pass_s(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn fail(&self, what: &str) -> Result<(), CloudError> {
        self.cloud_fails.map_or(Ok(()), |kind| Err(CloudError::new(kind, what, "scripted")))
    }

    fn give(&mut self, what: &str, count: AddressCount) -> Result<(), CloudError> {
        self.fail(what)?;
        let AddressCount::Prefixes(n) = count else { return Ok(()) };
        let left = self.free_blocks.checked_sub(n);
        let kind = CloudErrorKind::InsufficientPrefixes;
        self.free_blocks = left.ok_or_else(|| CloudError::new(kind, what, "no free blocks"))?;
        Ok(())
    }

    fn execute(&mut self, action: Action) -> Event {
        match action {
            Action::AssignAddresses { op, eni, count } => {
                let result = self
                    .give("AssignPrivateIpAddresses", count)
                    .map(|()| self.assign_in_cloud(&eni, count));
                Event::AddressesAssigned { op, result }
            }
            Action::CreateEni { op, request } => {
                let count = request.count;
                let result = self.give("CreateNetworkInterface", count).map(|()| {
                    let id = self.attach_eni_to(request.card);
                    self.assign_in_cloud(&id, count);
                    let eni = self.enis.get_mut(&id).unwrap();
                    eni.subnet = request.subnet.unwrap_or(eni.subnet.clone());
                    if let Some(instance) = &self.pool.config().instance {
                        eni.tags.insert(INSTANCE_TAG.to_owned(), instance.to_string());
                    }
                    eni.clone()
                });
                Event::EniCreated { op, result }
            }
            Action::DeleteEni { op, eni } => {
                let result = self.fail("DetachNetworkInterface").map(|()| {
                    self.enis.remove(&eni);
                });
                Event::EniDeleted { op, result }
            }
            Action::Describe { op } => {
                let enis = self.enis.values().cloned().collect();
                let view = CloudView { enis, authority: self.authority };
                Event::Described {
                    op,
                    result: self.fail("DescribeNetworkInterfaces").map(|()| view),
                }
            }
            Action::Persist { op, .. } => {
                let error = || StoreError::new("/var/run/ipam.json", "no space left on device");
                let result = if self.store_fails { Err(error()) } else { Ok(()) };
                Event::Persisted { op, result }
            }
            Action::Remember { op } => {
                let error =
                    || StoreError::new("/var/run/ipam.json.enis", "no space left on device");
                let result = if self.store_fails { Err(error()) } else { Ok(()) };
                if result.is_ok() {
                    self.remembered = self.pool.remembered();
                }
                Event::Remembered { op, result }
            }
            Action::SetUpEni { op, .. } => Event::EniSetUp { op, result: Ok(()) },
            Action::TearDownEni { op, .. } => Event::EniTornDown { op, result: Ok(()) },
            Action::UnassignAddresses { op, eni, cidrs } => {
                let result = self.fail("UnassignPrivateIpAddresses").map(|()| {
                    if let Some(eni) = self.enis.get_mut(&eni) {
                        eni.cidrs.retain(|c| !cidrs.contains(c));
                        let blocks = cidrs.iter().filter(|c| !c.is_host()).count();
                        let blocks = u32::try_from(blocks).unwrap();
                        self.free_blocks = self.free_blocks.saturating_add(blocks);
                    }
                });
                Event::AddressesUnassigned { op, result }
            }
        }
    }

    /// Asks for an address and returns the number of the pending request.
    pub(super) fn ask(&mut self, n: u32) -> OpId {
        match self.pool.assign(key(n), pod(n), self.now).unwrap() {
            Assign::Pending(op) => {
                self.run();
                op
            }
            Assign::Ready(assignment) => panic!("ready at once: {assignment:?}"),
        }
    }

    /// An ADD that must succeed without time passing.
    pub(super) fn add(&mut self, n: u32) -> IpAddr {
        let op = self.ask(n);
        self.reply(op).unwrap().ip
    }

    /// A DEL that must succeed without time passing.
    pub(super) fn del(&mut self, n: u32) -> IpAddr {
        match self.pool.release(&key(n), self.now).unwrap() {
            Release::Pending(op) => {
                self.run();
                self.reply(op).unwrap().ip
            }
            Release::Absent => panic!("sandbox {n} is unknown"),
        }
    }

    pub(super) fn reply(&mut self, op: OpId) -> Result<Assignment, AssignError> {
        self.replies.remove(&op).expect("answered")
    }

    /// Addresses per ENI by device, and how many have no pod.
    pub(super) fn shape(&self) -> (Vec<u64>, u64) {
        let stats = self.pool.stats();
        let per_eni = stats.enis.iter().map(crate::stats::EniStats::total).collect();
        (per_eni, stats.total - stats.assigned)
    }

    pub(super) fn count(&self, what: fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|a| what(a)).count()
    }
}
