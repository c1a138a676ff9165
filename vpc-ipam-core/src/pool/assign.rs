//! ADD and DEL: finding an address, waiting for one, taking it back.

use super::{
    Assign, AssignError, Assignment, Lease, Phase, Place, Pool, Release, Reply,
    lease::nanoseconds,
    share::Terms,
    waiting::{WAITING_MAX, Waiter},
};
use crate::{
    checkpoint::Unknown,
    datapath::MAIN_TABLE,
    id::{OpId, PodRef, SandboxKey},
    slots::Past,
    time::Time,
};

/// Network and interface of leases that very old versions of the reference took over from the
/// container runtime.
const MIGRATED_NETWORK: &str = "_migrated-from-cri";
const MIGRATED_IF_NAME: &str = "unknown";

impl Pool {
    pub(super) fn begin_assign(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        terms: Terms,
        now: Time,
    ) -> Result<Assign, AssignError> {
        if let Some(lease) = self.leases.get(&key) {
            match lease.phase {
                Phase::Adding { op, .. } => return Ok(Assign::Pending(op)),
                Phase::Releasing { op, .. } => return Ok(self.take_up_again(&key, op, terms, now)),
                Phase::Held | Phase::Unsure { .. } => {}
            }
            if self.can_be_told(lease) {
                return Ok(Assign::Ready(self.assignment(&key, lease)));
            }
            if let Phase::Unsure { .. } = lease.phase {
                // Somebody waits for the write now.
                let generation = self.journal.note(&key);
                if let Some(lease) = self.leases.get_mut(&key) {
                    lease.phase = Phase::Unsure { generation };
                }
            }
            return self.wait(key, pod, true, terms, now);
        }
        if let Some(op) = self.waiting.op_of(&key) {
            return Ok(Assign::Pending(op));
        }
        if self.waiting.anyone() == 0
            && let Some((place, ip)) = self.pick()
        {
            let op = self.next_op();
            self.lease(op, (key, pod), terms, (place, ip), now);
            return Ok(Assign::Pending(op));
        }
        self.wait(key, pod, false, terms, now)
    }

    fn wait(
        &mut self,
        key: SandboxKey,
        pod: PodRef,
        owner: bool,
        terms: Terms,
        now: Time,
    ) -> Result<Assign, AssignError> {
        if let Some(op) = self.waiting.op_of(&key) {
            return Ok(Assign::Pending(op));
        }
        if self.waiting.len() >= WAITING_MAX {
            self.no_address = self.no_address.saturating_add(1);
            return Err(AssignError::QueueFull(self.waiting.len()));
        }
        let op = self.next_op();
        let deadline = terms.deadline.unwrap_or(now + self.config.add_wait);
        self.waiting.push(op, Waiter { key, pod, terms, deadline, since: now, owner });
        Ok(Assign::Pending(op))
    }

    /// An ADD came before the release of the same sandbox was durable: the release is answered, and
    /// the address is given to its owner again.
    fn take_up_again(
        &mut self,
        key: &SandboxKey,
        released: OpId,
        terms: Terms,
        now: Time,
    ) -> Assign {
        let generation = self.journal.note(key);
        let op = self.next_op();
        let Some(lease) = self.leases.get_mut(key) else { return Assign::Pending(op) };
        lease.phase = Phase::Adding { op, generation };
        lease.made_by = terms.made_by.or(Some(op));
        lease.interfaces = terms.interfaces;
        lease.allocated_ns = nanoseconds(now);
        self.reply_with_assignment(released, key);
        Assign::Pending(op)
    }

    /// The best free address of the pool: in a prefix rather than one that stands in for prefixes,
    /// and on the ENI with most pods, so that others become free.
    pub(super) fn pick(&self) -> Option<(Place, std::net::IpAddr)> {
        let eni = self.enis.first()?;
        let (cidr, ip) = eni.next()?;
        Some((Place { eni: eni.id.clone(), cidr }, ip))
    }

    /// Addresses that the next pods get, as far as it can be said now.
    pub fn next_addresses(&self, count: usize) -> Vec<std::net::IpAddr> {
        let mut enis: Vec<_> = self.enis.values().filter(|eni| eni.usable()).collect();
        enis.sort_by_key(|eni| (std::cmp::Reverse(eni.tally().leased), eni.device, &eni.id));
        enis.into_iter().flat_map(crate::eni::Eni::next_addresses).take(count).collect()
    }

    fn lease(
        &mut self,
        op: OpId,
        (key, pod): (SandboxKey, PodRef),
        terms: Terms,
        (place, ip): (Place, std::net::IpAddr),
        now: Time,
    ) {
        if let Some(eni) = self.enis.get_mut(&place.eni) {
            eni.edit(&place.cidr, |cidr| cidr.slots.lease(ip, key.clone()));
        }
        let generation = self.journal.note(&key);
        let lease = Lease {
            pod,
            ip,
            allocated_ns: nanoseconds(now),
            interfaces: terms.interfaces,
            place: Some(place),
            phase: Phase::Adding { op, generation },
            told: false,
            first_generation: generation,
            made_by: terms.made_by.or(Some(op)),
            unknown: Unknown::default(),
            quarantined: false,
        };
        self.leases.insert(key, lease);
    }

    /// True if a pod may hear of its address: it works, and a restart would find it.
    fn can_be_told(&self, lease: &Lease) -> bool {
        lease.phase == Phase::Held && self.is_wired(lease)
    }

    /// True if the host knows by which ENI the address leaves.
    pub(super) fn is_wired(&self, lease: &Lease) -> bool {
        let cidr = lease.place.as_ref().and_then(|place| self.cidr_at(place));
        cidr.is_some_and(|cidr| cidr.ready)
    }

    /// Gives free addresses to those who wait, first come, first served, and tells those who wait
    /// for their own address that it works.
    pub(super) fn serve(&mut self, now: Time) {
        for (op, key) in self.waiting.owners() {
            if self.leases.get(&key).is_some_and(|lease| self.can_be_told(lease)) {
                self.waiting.remove(op);
                self.tell(op, &key);
            }
        }
        while let Some(op) = self.waiting.first() {
            let Some((place, ip)) = self.pick() else { return };
            if let Some(waiter) = self.waiting.remove(op) {
                self.lease(op, (waiter.key, waiter.pod), waiter.terms, (place, ip), now);
            }
        }
    }

    /// Answers those who have waited long enough.
    pub(super) fn expire_waiting(&mut self, now: Time) {
        while let Some(op) = self.waiting.expired(now) {
            // Said while it still counts as waiting.
            let why = self.shortage_text(now);
            let text = match self.waiting.remove(op) {
                Some(waiter) if waiter.owner => self.absent_owner_text(&waiter.key),
                Some(waiter) => {
                    format!("none within {} s; {why}", now.since(waiter.since).as_secs())
                }
                None => return,
            };
            self.refuse(op, text);
        }
    }

    /// Ends an ADD without an address.
    pub(super) fn refuse(&mut self, op: OpId, text: String) {
        self.no_address = self.no_address.saturating_add(1);
        self.replies.push_back(Reply { op, result: Err(AssignError::NoAddress(text)) });
    }

    pub(super) fn begin_release(&mut self, key: &SandboxKey) -> Release {
        if let Some(op) = self.waiting.op_of(key) {
            self.waiting.remove(op);
            self.replies.push_back(Reply { op, result: Err(AssignError::Released) });
        }
        let migrated;
        let key = if self.leases.get(key).is_some() {
            key
        } else {
            match SandboxKey::new(MIGRATED_NETWORK, key.container_id(), MIGRATED_IF_NAME) {
                Ok(old) if self.leases.get(&old).is_some() => migrated = old,
                _ => return self.release_claims(key),
            }
            &migrated
        };
        let Some(lease) = self.leases.get(key).filter(|lease| !lease.quarantined) else {
            return Release::Absent;
        };
        match lease.phase {
            Phase::Releasing { op, .. } => return Release::Pending(op),
            Phase::Adding { op, .. } => {
                self.replies.push_back(Reply { op, result: Err(AssignError::Released) });
                if !lease.told && self.journal.is_unwritten(lease.first_generation) {
                    // Nobody has heard of it, not even the state file.
                    self.end_lease(key, None);
                    return self.release_claims(key);
                }
            }
            Phase::Held | Phase::Unsure { .. } => {}
        }
        let op = self.next_op();
        let generation = self.journal.note(key);
        self.quarantine.release(key, generation);
        if let Some(lease) = self.leases.get_mut(key) {
            lease.phase = Phase::Releasing { op, generation };
        }
        Release::Pending(op)
    }

    /// See [`Pool::abandon`].
    pub(super) fn begin_abandon(&mut self, key: &SandboxKey, op: OpId) -> Release {
        if self.waiting.op_of(key) == Some(op) {
            self.waiting.remove(op);
        }
        match self.leases.get(key) {
            Some(lease) if lease.made_by == Some(op) => self.begin_release(key),
            _ => Release::Absent,
        }
    }

    /// Forgets a lease. The address rests from `released` on; without it, it is free at once.
    pub(super) fn end_lease(&mut self, key: &SandboxKey, released: Option<Time>) {
        let Some(lease) = self.leases.remove(key) else { return };
        let assigned = lease.assigned_at();
        let past = released.map(|released| Past { pod: lease.pod, assigned, released });
        self.free_address(lease.place.as_ref(), lease.ip, past);
    }

    /// Answers an ADD: from now on a pod may use the address.
    pub(super) fn tell(&mut self, op: OpId, key: &SandboxKey) {
        if let Some(lease) = self.leases.get_mut(key) {
            lease.told = true;
        }
        self.reply_with_assignment(op, key);
    }

    pub(super) fn reply_with_assignment(&mut self, op: OpId, key: &SandboxKey) {
        if let Some(lease) = self.leases.get(key) {
            let assignment = self.assignment(key, lease);
            self.replies.push_back(Reply { op, result: Ok(assignment) });
        }
    }

    pub(super) fn assignment(&self, key: &SandboxKey, lease: &Lease) -> Assignment {
        let eni = lease.place.as_ref().and_then(|place| self.enis.get(&place.eni));
        Assignment {
            key: key.clone(),
            ip: lease.ip,
            eni: eni.map(|eni| eni.id.clone()),
            device: eni.map_or(0, |eni| eni.device),
            card: eni.map_or(self.config.card, |eni| eni.card),
            table: eni.map_or(MAIN_TABLE, |eni| eni.table()),
        }
    }
}
