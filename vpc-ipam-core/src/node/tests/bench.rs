//! A workbench for one node of several cards, with a cloud that gives until a card is full.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use crate::{
    addr::Prefix,
    cloud::{AddressCount, Authority, CloudEni, CloudError, CloudErrorKind, CloudView, CreateEni},
    config::{AllocationMode, PoolConfig, WarmTargets},
    id::{EniId, MacAddr, OpId, PodRef, SandboxKey},
    node::{Assign, Assignments, Node},
    pool::{Action, AssignError, Event, Release},
    store::StoreError,
    testkit::check,
    time::Time,
};

pub(super) const START: Time = Time::from_millis(1_000_000);

pub(super) fn key(n: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("sandbox-{n}"), "eth0").unwrap()
}

pub(super) fn pod(n: u32) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: format!("cart-{n}") }
}

/// Two addresses on one ENI of card 0, one ENI of `slots` addresses on each of the others.
pub(super) fn configs(cards: &[u32], slots: u32) -> Vec<PoolConfig> {
    let targets = WarmTargets { ips: 1, ..WarmTargets::default() };
    let mut first = PoolConfig::new(AllocationMode::Secondary, targets, 1, 2).unwrap();
    let others: Vec<PoolConfig> =
        cards[1..].iter().map(|card| PoolConfig { slots, ..first.on_card(*card, 1) }).collect();
    first.card = cards[0];
    std::iter::once(first).chain(others).collect()
}

pub(super) struct Bench {
    pub(super) node: Node,
    pub(super) now: Time,
    pub(super) enis: BTreeMap<EniId, CloudEni>,
    next_ip: u32,
    pub(super) held: Vec<Action>,
    /// Which actions are not answered at once.
    pub(super) hold: fn(&Action) -> bool,
    pub(super) log: Vec<Action>,
    pub(super) replies: BTreeMap<OpId, Result<Assignments, AssignError>>,
    /// Cards whose state file cannot be written, and how often that fails.
    pub(super) full_disks: BTreeMap<u32, u32>,
    /// Cards whose subnet has nothing to give.
    pub(super) dry: BTreeSet<u32>,
    pub(super) remembered: Vec<CloudEni>,
}

impl Bench {
    pub(super) fn new(cards: &[u32]) -> Self {
        Self::with(Node::new(configs(cards, 2), START).unwrap())
    }

    pub(super) fn with(node: Node) -> Self {
        let mut bench = Self {
            node,
            now: START,
            enis: BTreeMap::new(),
            next_ip: 0,
            held: Vec::new(),
            hold: |_| false,
            log: Vec::new(),
            replies: BTreeMap::new(),
            full_disks: BTreeMap::new(),
            dry: BTreeSet::new(),
            remembered: Vec::new(),
        };
        bench.attach(&CreateEni::new(0, AddressCount::Secondary(0)));
        bench
    }

    /// The bench after a restart of the daemon.
    pub(super) fn restarted(self, cards: &[u32]) -> Self {
        let files = configs(cards, 2).into_iter().map(|config| {
            let file = self.node.checkpoint(config.card);
            (config, file)
        });
        let node = Node::restore(files.collect(), self.now).unwrap();
        Self { node, held: Vec::new(), replies: BTreeMap::new(), ..self }
    }

    fn attach(&mut self, request: &CreateEni) -> CloudEni {
        let n = u8::try_from(self.enis.len()).unwrap();
        let card = request.card;
        let device = self.enis.values().filter(|eni| eni.card == card).count();
        let id = EniId::new(&format!("eni-{n}")).unwrap();
        let eni = CloudEni {
            id: id.clone(),
            mac: MacAddr([2, 0, 0, 0, 0, n]),
            device: u32::try_from(device).unwrap(),
            card,
            primary: n == 0,
            subnet_cidr: "10.0.0.0/16".parse().unwrap(),
            primary_ip: Ipv4Addr::new(10, 0, 255, n + 10).into(),
            ..CloudEni::example()
        };
        self.enis.insert(id.clone(), eni);
        self.give(&id, request.count);
        self.enis[&id].clone()
    }

    fn give(&mut self, id: &EniId, count: AddressCount) -> Vec<Prefix> {
        let first = self.next_ip;
        self.next_ip += count.slots();
        let host = |n| Prefix::host(Ipv4Addr::from_bits((10 << 24) + n).into());
        let new: Vec<Prefix> = (first..self.next_ip).map(host).collect();
        self.enis.get_mut(id).unwrap().cidrs.extend(&new);
        new
    }

    pub(super) fn run(&mut self) {
        loop {
            while let Some(reply) = self.node.poll_reply() {
                assert!(self.replies.insert(reply.op, reply.result).is_none(), "answered twice");
            }
            let Some(action) = self.node.poll_action(self.now) else { break };
            self.log.push(action.clone());
            if (self.hold)(&action) {
                self.held.push(action);
            } else {
                self.answer(action);
            }
        }
        for card in self.node.cards() {
            check::pool(self.node.pool(card).unwrap()).unwrap();
        }
    }

    pub(super) fn answer(&mut self, action: Action) {
        let event = self.execute(action);
        self.node.handle(event, self.now);
    }

    pub(super) fn answer_held(&mut self) {
        for action in std::mem::take(&mut self.held) {
            self.answer(action);
        }
        self.run();
    }

    pub(super) fn pass_s(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        self.run();
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now, "a timeout that is not in the future: {at} at {}", self.now);
            self.now = at;
            self.node.handle(Event::Timeout, self.now);
            self.run();
        }
        self.now = end;
    }

    fn execute(&mut self, action: Action) -> Event {
        match action {
            Action::AssignAddresses { op, eni, count } => {
                let dry = self.dry.contains(&self.enis[&eni].card);
                let result = exhausted(dry).map(|()| self.give(&eni, count));
                Event::AddressesAssigned { op, result }
            }
            Action::CreateEni { op, request } => {
                let result = exhausted(self.dry.contains(&request.card));
                Event::EniCreated { op, result: result.map(|()| self.attach(&request)) }
            }
            Action::DeleteEni { op, eni } => {
                self.enis.remove(&eni);
                Event::EniDeleted { op, result: Ok(()) }
            }
            Action::Describe { op } => {
                let enis = self.enis.values().cloned().collect();
                let view = CloudView { enis, authority: Authority::Ec2 };
                Event::Described { op, result: Ok(view) }
            }
            Action::Persist { op, card } => {
                let left = self.full_disks.entry(card).or_default();
                let full = *left > 0;
                *left = left.saturating_sub(1);
                let error = || StoreError::new("/var/run/ipam.json", "no space left on device");
                Event::Persisted { op, result: if full { Err(error()) } else { Ok(()) } }
            }
            Action::Remember { op } => {
                self.remembered = self.node.remembered();
                Event::Remembered { op, result: Ok(()) }
            }
            Action::SetUpEni { op, .. } => Event::EniSetUp { op, result: Ok(()) },
            Action::TearDownEni { op, .. } => Event::EniTornDown { op, result: Ok(()) },
            Action::UnassignAddresses { op, eni, cidrs } => {
                self.enis.get_mut(&eni).unwrap().cidrs.retain(|c| !cidrs.contains(c));
                Event::AddressesUnassigned { op, result: Ok(()) }
            }
        }
    }

    pub(super) fn ask(&mut self, n: u32) -> OpId {
        let answer = self.node.assign(key(n), pod(n), self.now).unwrap();
        self.run();
        pending(answer)
    }

    pub(super) fn ask_every(&mut self, n: u32) -> OpId {
        let answer = self.node.assign_on_every_card(key(n), pod(n), self.now).unwrap();
        self.run();
        pending(answer)
    }

    /// An ordinary pod; the card that it gets its address from, and that address.
    pub(super) fn add(&mut self, n: u32) -> (u32, IpAddr) {
        let op = self.ask(n);
        let all = self.reply(op).unwrap();
        assert_eq!(all.iter().count(), 1);
        (all.first().card, all.first().ip)
    }

    /// A pod with an address on every card; which cards those are.
    pub(super) fn add_every(&mut self, n: u32) -> Vec<u32> {
        let op = self.ask_every(n);
        self.reply(op).unwrap().iter().map(|a| a.card).collect()
    }

    /// A DEL; the cards on which something was found.
    pub(super) fn del(&mut self, n: u32) -> Result<Vec<u32>, AssignError> {
        let answer = self.node.release(&key(n), self.now).unwrap();
        self.run();
        let Release::Pending(op) = answer else { return Ok(Vec::new()) };
        Ok(self.reply(op)?.iter().map(|a| a.card).collect())
    }

    pub(super) fn reply(&mut self, op: OpId) -> Result<Assignments, AssignError> {
        self.replies.remove(&op).expect("answered")
    }

    /// Cards whose state file names the sandbox, with the number of interfaces that it says.
    pub(super) fn on_file(&self, n: u32) -> Vec<(u32, u32)> {
        let of = |card: u32| {
            let leases = self.node.checkpoint(card).leases;
            let lease = leases.into_iter().find(|lease| lease.key == key(n))?;
            Some((card, lease.interfaces))
        };
        self.node.cards().filter_map(of).collect()
    }

    pub(super) fn count(&self, what: fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|a| what(a)).count()
    }
}

fn exhausted(dry: bool) -> Result<(), CloudError> {
    let error = |kind| CloudError::new(kind, "AssignPrivateIpAddresses", "the subnet is dry");
    if dry { Err(error(CloudErrorKind::InsufficientAddresses)) } else { Ok(()) }
}

fn pending(answer: Assign) -> OpId {
    match answer {
        Assign::Pending(op) => op,
        Assign::Ready(all) => panic!("ready at once: {all:?}"),
    }
}
