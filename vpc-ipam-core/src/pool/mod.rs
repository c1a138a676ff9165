//! The pool: which addresses the node holds, who has them, and what to do next.

mod action;
mod assign;
mod calls;
mod commit;
mod cooling;
mod doubt;
mod enis;
mod growth;
mod host;
mod inventory;
mod journal;
mod lead;
mod learn;
mod lease;
mod memory;
mod metadata;
mod op;
mod period;
mod quarantine;
mod reconcile;
mod reconfigure;
mod report;
mod share;
mod supply;
mod view;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;

pub(crate) use self::share::Terms;
pub use self::{
    action::{Action, Assign, Assignment, Event, Release, Reply},
    quarantine::QUARANTINE_NETWORK,
};
use self::{
    cooling::Cooling,
    enis::Enis,
    growth::GrowthState,
    host::Departing,
    inventory::Gone,
    journal::Journal,
    lease::{Lease, Leases, Phase, Place},
    memory::Memory,
    metadata::Absent,
    op::Op,
    quarantine::Quarantine,
    reconcile::{Describing, Foreign},
    waiting::Waiting,
};
use crate::{
    addr::Prefix,
    backoff::Jitter,
    budget::Purse,
    checkpoint::{Changes, Checkpoint},
    config::PoolConfig,
    id::{EniId, OpId, PodRef, SandboxKey},
    plan::earlier,
    policy::WarmPolicy,
    time::Time,
};

/// Why an ADD or DEL could not be served.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AssignError {
    /// No address, and none came in time. The text says why in numbers and what is under way.
    #[error("no free address: {0}")]
    NoAddress(String),
    /// The record could not be made durable, so it is as if the request had not been made.
    #[error("the state file could not be written, so the request was undone: {0}")]
    NotDurable(String),
    /// Too many ADDs are waiting already.
    #[error("{0} pods are waiting for an address already; try again later")]
    QueueFull(usize),
    /// A DEL for the same sandbox came while its ADD was waiting.
    #[error("the sandbox was deleted before it had an address")]
    Released,
}

/// See the crate documentation for the contract.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    jitter: Jitter,
    next_op: u64,
    /// Counts the ends of mutations, so that a cloud view can be told older or newer than one.
    sequence: u64,
    ops: BTreeMap<OpId, Op>,
    actions: VecDeque<Action>,
    replies: VecDeque<Reply>,
    enis: Enis,
    /// Which ENI holds a CIDR; no two CIDRs in it overlap.
    owners: BTreeMap<Prefix, EniId>,
    /// ENIs that take a place but are not ours to use. Some may be in the pool for the sake of their pods.
    foreign: BTreeMap<EniId, Foreign>,
    /// One of them is the trunk.
    foreign_trunk: bool,
    /// ENIs that have left the pool and are being taken down.
    departing: BTreeMap<EniId, Departing>,
    /// ENIs and CIDRs given up lately: a view may still show them.
    gone_enis: BTreeMap<EniId, Gone>,
    gone_cidrs: BTreeMap<Prefix, Gone>,
    leases: Leases,
    quarantine: Quarantine,
    memory: Memory,
    waiting: Waiting,
    journal: Journal,
    /// Resting addresses, whether or not an ENI of the pool holds them now.
    cooling: Cooling,
    describing: Describing,
    /// Until then, what is new in a view of EC2 may be gone.
    doubtful_until: Option<Time>,
    absent: Absent,
    growth: GrowthState,
    purse: Purse,
    policy: Box<dyn WarmPolicy>,
    draining: bool,
    unschedulable: bool,
    ready: bool,
    unexpected_events: u64,
    no_address: u64,
}

impl Pool {
    /// An empty pool; its first action lists the attached ENIs.
    pub fn new(config: PoolConfig, now: Time) -> Self {
        Self::restore(config, &Checkpoint::default(), now)
    }

    /// A pool with the leases of `checkpoint`. They are kept, and never given to anyone else,
    /// whether or not the cloud shows their ENI. The same is true of the addresses that entries
    /// without a lease name: see [`QUARANTINE_NETWORK`].
    pub fn restore(config: PoolConfig, checkpoint: &Checkpoint, now: Time) -> Self {
        let mut leases = Leases::default();
        for lease in &checkpoint.leases {
            let entry = Lease {
                pod: lease.pod.clone(),
                ip: lease.ip,
                allocated_ns: lease.allocated_ns,
                interfaces: lease.interfaces,
                place: None,
                phase: Phase::Held,
                told: true,
                first_generation: 0,
                made_by: None,
                unknown: lease.unknown.clone(),
                quarantined: false,
            };
            leases.insert(lease.key.clone(), entry);
        }
        let purse = Purse::new(&config.budget, now);
        let quarantine = Quarantine::new(checkpoint);
        for (key, lease) in quarantine.leases() {
            leases.insert(key, lease);
        }
        let mut pool = Self {
            jitter: Jitter::new(config.seed),
            policy: config.policy.build(),
            config,
            next_op: 1,
            sequence: 0,
            ops: BTreeMap::new(),
            actions: VecDeque::new(),
            replies: VecDeque::new(),
            enis: Enis::default(),
            owners: BTreeMap::new(),
            foreign: BTreeMap::new(),
            foreign_trunk: false,
            departing: BTreeMap::new(),
            gone_enis: BTreeMap::new(),
            gone_cidrs: BTreeMap::new(),
            leases,
            quarantine,
            memory: Memory::new(),
            waiting: Waiting::default(),
            journal: Journal::new(),
            cooling: Cooling::default(),
            describing: Describing::new(now),
            doubtful_until: None,
            absent: Absent::new(),
            growth: GrowthState::new(),
            purse,
            draining: false,
            unschedulable: false,
            ready: false,
            unexpected_events: 0,
            no_address: 0,
        };
        pool.settle(now);
        pool
    }

    /// Gives the sandbox an address, the same one however often it asks.
    ///
    /// While the answer is pending, a repeated request gets the number of the first one, and one
    /// [`Reply`] answers both.
    ///
    /// # Errors
    ///
    /// If the queue of waiting pods is full.
    pub fn assign(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        now: Time,
    ) -> Result<Assign, AssignError> {
        self.assign_as(key, pod, Terms::default(), now)
    }

    /// Takes the sandbox's address back.
    ///
    /// An ADD of the same sandbox that has not been answered is answered with
    /// [`AssignError::Released`].
    ///
    /// # Errors
    ///
    /// None at present; releases are never refused.
    pub fn release(&mut self, key: &SandboxKey, now: Time) -> Result<Release, AssignError> {
        self.expire(now);
        let answer = self.begin_release(key);
        self.settle(now);
        Ok(answer)
    }

    /// Takes back what the ADD `op` has made or waits for, since nobody wants its answer any more: its
    /// caller has gone, or could not be told. A lease that was there before that ADD stays.
    pub fn abandon(&mut self, key: &SandboxKey, op: OpId, now: Time) -> Release {
        self.expire(now);
        let answer = self.begin_abandon(key, op);
        self.settle(now);
        answer
    }

    /// Learns of something that happened.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.expire(now);
        match event {
            Event::AddressesAssigned { op, result } => self.on_assigned(op, result, now),
            Event::AddressesUnassigned { op, result } => self.on_unassigned(op, &result, now),
            Event::Described { op, result } => self.on_described(op, result, now),
            Event::Draining => self.draining = true,
            Event::EniCreated { op, result } => self.on_created(op, result, now),
            Event::EniDeleted { op, result } => self.on_deleted(op, &result, now),
            Event::EniSetUp { op, result } => self.on_set_up(op, result, now),
            Event::EniTornDown { op, result } => self.on_torn_down(op, &result, now),
            Event::Persisted { op, result } => self.on_persisted(op, result, now),
            Event::Remembered { op, result } => self.on_remembered(op, result, now),
            Event::Reconfigured(config) => self.reconfigure(*config, now),
            Event::Schedulable(schedulable) => self.unschedulable = !schedulable,
            Event::Timeout => {}
        }
        self.settle(now);
    }

    /// What to do next; drain after every call that takes `&mut self`.
    ///
    /// For [`Action::Persist`], encode [`checkpoint`](Self::checkpoint) before any other call; for
    /// [`Action::Remember`], [`remembered`](Self::remembered).
    pub fn poll_action(&mut self, now: Time) -> Option<Action> {
        let persist = self.poll_persist(now).or_else(|| self.poll_remember(now));
        persist.or_else(|| self.actions.pop_front())
    }

    /// Answers that have become ready; drain after every call that takes `&mut self`.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// When to feed [`Event::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        let mut at = earlier(self.waiting.timeout(), self.journal.timeout());
        at = earlier(at, self.cooling_timeout());
        at = earlier(at, self.describing.timeout());
        at = earlier(at, self.host_timeout());
        at = earlier(at, self.memory_timeout());
        at = earlier(at, self.calls_timeout());
        at = earlier(at, self.policy.revisit());
        earlier(at, self.growth.revisit)
    }

    /// What the state file should say now.
    pub fn checkpoint(&self) -> Checkpoint {
        self.quarantine.checkpoint(self.leases.in_file())
    }

    /// What the write under way changes, if that can be said in few words: right after
    /// [`Action::Persist`], the difference to the checkpoint of the one before. `None` after a write
    /// that failed.
    pub fn changes(&self) -> Option<Changes> {
        let mut changes = Changes::default();
        let keys: BTreeSet<&SandboxKey> = self.journal.writing()?.iter().collect();
        for key in keys {
            match self.leases.get(key).and_then(|lease| lease.in_file(key)) {
                Some(lease) => changes.put.push(lease),
                None => changes.removed.push(key.clone()),
            }
        }
        Some(changes)
    }

    /// Current settings.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Ends what has had its time: rests of addresses, and the wait for calls.
    fn expire(&mut self, now: Time) {
        self.purse.pass(now, &mut self.jitter);
        let over = |released| rested_at(released, &self.config) <= now;
        let rest_over = |enis: &mut Enis, place: &Place, ip| {
            enis.get_mut(&place.eni)?.edit(&place.cidr, |cidr| cidr.slots.rest_over(ip))
        };
        while let Some((ip, place)) = self.cooling.pop(over) {
            let ended = place.and_then(|place| rest_over(&mut self.enis, &place, ip));
            if ended.is_none()
                && let Some(place) = self.place_of(ip)
            {
                rest_over(&mut self.enis, &place, ip);
            }
        }
    }

    /// Draws all conclusions from what has just changed.
    fn settle(&mut self, now: Time) {
        // Without a cooldown, or with a shorter one than before, a rest is over as it begins.
        self.expire(now);
        self.refresh_sums();
        self.forget_lost(now);
        self.serve(now);
        self.expire_waiting(now);
        self.schedule_describe(now);
        self.refresh_sums();
        self.evaluate(now);
        self.refresh_sums();
        self.note_view();
        self.refresh_sums();
        self.schedule_host(now);
        self.ready = self.ready || self.is_set_up();
        self.refresh_sums();
    }

    /// Must come between a change of ENIs and a look at the sums over them.
    fn refresh_sums(&mut self) {
        self.enis.refresh(self.config.slots);
    }

    fn next_op(&mut self) -> OpId {
        let op = OpId(self.next_op);
        self.next_op = self.next_op.saturating_add(1);
        op
    }

    /// Issues an action whose answer will be met by `op`.
    fn issue(&mut self, op: Op, action: impl FnOnce(OpId) -> Action) -> OpId {
        let id = self.next_op();
        self.ops.insert(id, op);
        self.actions.push_back(action(id));
        id
    }

    fn cooling_timeout(&self) -> Option<Time> {
        self.cooling.first().map(|released| rested_at(released, &self.config))
    }
}

/// The first moment at which an address may be given again: its rest must be exceeded, but for no
/// rest at all.
fn rested_at(released: Time, config: &PoolConfig) -> Time {
    let moment = if config.cooldown.is_zero() { 0 } else { 1 };
    released + config.cooldown + std::time::Duration::from_millis(moment)
}

#[cfg(test)]
mod tests;
