//! The pool in numbers and words.

use super::{Lease, Phase, Pool};
use crate::{
    eni::{Cidr, Eni},
    id::SandboxKey,
    plan::Reason,
    slots::Use,
    stats::{AddressStats, CidrStats, EniStats, Stats},
    time::Time,
};

/// Addresses that a sentence lists before it says "and more".
const LISTED_MAX: usize = 3;

impl Pool {
    /// Answers the ADDs for which no address can come in time.
    pub(super) fn refuse_hopeless(&mut self, reason: &Reason, now: Time) {
        let mut relief = match reason {
            Reason::Draining
            | Reason::Full { .. }
            | Reason::MaxPods { .. }
            | Reason::NoEniConfig { .. }
            | Reason::Unschedulable => None,
            Reason::Ipv6Exhausted { until } | Reason::SubnetExhausted { until, .. } => Some(*until),
            _ => return,
        };
        let coming = |eni: &Eni| {
            !eni.missing && (eni.tally().unready > 0 || eni.op.is_some() || !eni.leaving.is_empty())
        };
        let releasing = |lease: &Lease| matches!(lease.phase, Phase::Releasing { .. });
        if self.in_flight() > 0
            || self.enis.values().any(coming)
            || self.departing.values().any(|d| d.delete)
            || self.has_foreign_idle()
            || self.leases.iter().any(|(_, lease)| releasing(lease))
        {
            return;
        }
        if self.enis.values().any(|eni| eni.tally().cooling + eni.tally().singles_cooling > 0) {
            relief = crate::plan::earlier(relief, self.cooling_timeout());
        }
        let text = self.shortage_text(now);
        for (op, deadline) in self.waiting.all() {
            if relief.is_none_or(|at| at > deadline) {
                self.waiting.remove(op);
                self.refuse(op, text.clone());
            }
        }
    }

    /// Why there is no address, and what is being done about it.
    pub(super) fn shortage_text(&self, now: Time) -> String {
        if !self.describing.described {
            let why = self.describing.error.as_deref().unwrap_or("no answer yet");
            if self.memory.vouching {
                return format!(
                    "no remembered address is free, and the cloud does not answer: {why}"
                );
            }
            return format!("the ENIs of this node are not known yet: {why}");
        }
        let mut parts = Vec::new();
        let reason = self.plan(now).reason;
        if !matches!(reason, Reason::Full { .. }) {
            let enis = self.enis.values().filter(|eni| !eni.missing);
            let (total, assigned, count) = enis.fold((0u64, 0u64, 0u64), |(t, a, n), eni| {
                let tally = eni.tally();
                let total = tally.total.saturating_add(tally.singles);
                (t.saturating_add(total), a + tally.assigned + tally.singles_assigned, n + 1)
            });
            parts.push(format!("{assigned} of {total} addresses in use on {count} ENI(s)"));
        }
        parts.push(reason.to_string());
        parts.extend(self.calls_text());
        let cooling: u64 =
            self.enis.values().map(|eni| eni.tally().cooling + eni.tally().singles_cooling).sum();
        if cooling > 0 {
            let next = self.cooling_timeout();
            let wait_s = next.map_or(0, |at| at.since(now).as_secs());
            parts.push(format!("{cooling} released address(es) rest, the next for {wait_s} s"));
        }
        if let Some(error) = &self.growth.error {
            parts.push(format!("the last attempt to grow failed: {error}"));
        }
        parts.extend(self.eni_troubles());
        parts.join("; ")
    }

    pub(super) fn absent_owner_text(&self, key: &SandboxKey) -> String {
        let ip = self.leases.get(key).map_or_else(String::new, |lease| lease.ip.to_string());
        let placed = self.leases.get(key).and_then(|lease| lease.place.as_ref());
        if let Some(place) = placed {
            return format!("this sandbox owns {ip}, but {} is not set up on the host", place.eni);
        }
        let why = if self.describing.confirmed {
            "EC2 does not show it on any ENI of this node; delete the pod to get another one"
        } else {
            self.describing.error.as_deref().unwrap_or("the ENIs of this node are not known yet")
        };
        format!("this sandbox owns {ip}, but {why}")
    }

    /// Counts, per pool, ENI and prefix.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            waiting: self.waiting.len() as u64,
            in_flight: self.in_flight(),
            call_level: self.purse.level(),
            throttled_calls: self.purse.calls().throttled,
            growth_paused_until: self.growth.supply.paused_until(),
            unexpected_events: self.unexpected_events,
            no_address: self.no_address,
            ready: self.ready,
            degraded: self.degraded(),
            orphaned: self.leases.unplaced().count() as u64,
            unmanaged_enis: self.foreign.len() as u64,
            quarantined: self.quarantine.addresses().len() as u64,
            ..Stats::default()
        };
        for eni in self.enis.values() {
            let tally = eni.tally();
            stats.orphaned += tally.orphaned;
            stats.cooling += tally.resting;
            stats.singles += tally.singles;
            stats.singles_assigned += tally.singles_assigned;
            stats.enis.push(self.eni_stats(eni));
        }
        stats.enis.sort_by_key(|eni| (eni.card, eni.device));
        stats.total = stats.enis.iter().map(EniStats::total).sum();
        stats.assigned = stats.enis.iter().map(EniStats::assigned).sum();
        let cidrs = stats.enis.iter().flat_map(|eni| &eni.cidrs);
        stats.prefixes = cidrs.filter(|cidr| cidr.is_prefix).count() as u64;
        stats
    }

    fn in_flight(&self) -> u64 {
        let mutates = |op: &&super::Op| {
            matches!(
                op,
                super::Op::Assign { .. }
                    | super::Op::Create { .. }
                    | super::Op::Delete { .. }
                    | super::Op::Unassign { .. }
            )
        };
        self.ops.values().filter(mutates).count() as u64
    }

    fn eni_stats(&self, eni: &Eni) -> EniStats {
        EniStats {
            id: eni.id.clone(),
            device: eni.device,
            card: eni.card,
            kind: eni.traits.kind,
            primary: eni.traits.primary,
            standing: eni.duty().standing,
            subnet: eni.subnet.clone(),
            table: eni.table(),
            cidrs: eni
                .cidrs()
                .iter()
                .map(|(prefix, cidr)| CidrStats {
                    cidr: *prefix,
                    is_prefix: !prefix.is_host(),
                    addresses: self.address_stats(cidr),
                })
                .collect(),
        }
    }

    fn address_stats(&self, cidr: &Cidr) -> Vec<AddressStats> {
        let stats = |(ip, record): (std::net::IpAddr, &Use)| match record {
            Use::Leased(key) => {
                let lease = self.leases.get(key)?;
                Some(AddressStats {
                    ip,
                    key: Some(key.clone()),
                    pod: lease.pod.clone(),
                    assigned: lease.assigned_at(),
                    released: None,
                })
            }
            Use::Resting(past) => Some(AddressStats {
                ip,
                key: None,
                pod: past.pod.clone(),
                assigned: past.assigned,
                released: Some(past.released),
            }),
            Use::Rested(_) => None,
        };
        cidr.slots.used().filter_map(stats).collect()
    }

    fn degraded(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let describing = &self.describing;
        if !describing.described {
            let why = describing.error.as_deref().unwrap_or("no answer yet");
            reasons.push(format!("the ENIs of this node are not known yet: {why}"));
            if self.memory.vouching {
                reasons.push(
                    "until the cloud answers, the pool serves the addresses that it remembers, asks for \
                     no others and gives nothing up"
                        .to_owned(),
                );
            }
        } else if let Some(error) = &describing.error {
            reasons.push(format!("the ENIs of this node could not be read again: {error}"));
        } else if describing.hint_only {
            reasons.push(
                "EC2 does not answer, so the pool follows instance metadata and gives nothing up"
                    .to_owned(),
            );
        }
        reasons.extend(self.orphan_text());
        reasons.extend(self.enis.values().filter_map(disowned_text));
        reasons.extend(self.quarantine.text());
        reasons.extend(self.eni_troubles());
        if let Some(error) = &self.growth.error {
            reasons.push(format!("the last attempt to grow failed: {error}"));
        }
        if let Some(error) = &self.growth.release_error {
            reasons.push(format!("the last attempt to give something back failed: {error}"));
        }
        reasons.extend(self.calls_text());
        reasons.extend(self.growth.supply.text(self.config.family));
        if let Some(error) = self.journal.error() {
            reasons.push(format!(
                "the state file cannot be written, so nothing is given back to EC2: {error}"
            ));
        }
        if let Some(error) = self.memory.error() {
            reasons.push(format!(
                "the view of the ENIs cannot be stored, so nothing is given back to EC2: {error}"
            ));
        }
        reasons
    }

    fn orphan_text(&self) -> Option<String> {
        if !self.describing.described {
            return None;
        }
        let orphaned = |lease: &Lease| match &lease.place {
            None => true,
            Some(place) => self
                .enis
                .get(&place.eni)
                .and_then(|eni| eni.cidrs().get(&place.cidr))
                .is_none_or(|cidr| !cidr.confirmed),
        };
        let unplaced = self.leases.unplaced().count() as u64;
        if unplaced + self.enis.values().map(|eni| eni.tally().orphaned).sum::<u64>() == 0 {
            return None;
        }
        let ips: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, lease)| orphaned(lease))
            .map(|(_, lease)| lease.ip.to_string())
            .collect();
        let more = if ips.len() > LISTED_MAX { ", …" } else { "" };
        let listed: Vec<&str> = ips.iter().take(LISTED_MAX).map(String::as_str).collect();
        Some(format!(
            "{} lease(s) lie outside what the cloud shows and are kept: {}{more}",
            ips.len(),
            listed.join(", ")
        ))
    }
}

fn disowned_text(eni: &Eni) -> Option<String> {
    let pods = eni.tally().leased;
    (eni.traits.disowned && !eni.missing && pods > 0).then(|| {
        format!(
            "{pods} pod(s) keep their addresses on {}, which is somebody else's by its tags now; \
             nobody else gets any of it",
            eni.id
        )
    })
}

#[cfg(any(test, feature = "testkit"))]
impl Pool {
    /// Compares everything that is kept for speed with what it is made from.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.enis.audit(self.config.slots)?;
        let mut cooling = 0;
        let mut leased = 0;
        for eni in self.enis.values() {
            let (kept, counted) = (eni.tally(), eni.recount());
            if !eni.duty().standing.serves() && eni.next().is_some() {
                return Err(format!("{} is to serve nobody, but offers {:?}", eni.id, eni.next()));
            }
            if *kept != counted {
                return Err(format!("{}: sums are {kept:?}, not {counted:?}", eni.id));
            }
            for (prefix, cidr) in eni.cidrs() {
                if self.owners.get(prefix) != Some(&eni.id) {
                    return Err(format!("{prefix} of {} is not indexed", eni.id));
                }
                if cidr.ready && eni.host.applied.as_ref().is_none_or(|a| !a.contains(prefix)) {
                    return Err(format!("{prefix} is ready, but the host does not know it"));
                }
            }
            cooling += eni.tally().resting;
            leased += eni.tally().leased;
        }
        let owned: usize = self.enis.values().map(|eni| eni.cidrs().len()).sum();
        if owned != self.owners.len() {
            return Err(format!("{owned} blocks, but {} in the index", self.owners.len()));
        }
        let queued = self.cooling.ips().filter(|ip| self.place_of(*ip).is_some()).count() as u64;
        if cooling != queued {
            return Err(format!("{cooling} resting, but {queued} queued"));
        }
        let placed = self.leases.iter().filter(|(_, lease)| lease.place.is_some()).count() as u64;
        if leased != placed {
            return Err(format!("{leased} addresses leased, but {placed} leases placed"));
        }
        Ok(())
    }
}
