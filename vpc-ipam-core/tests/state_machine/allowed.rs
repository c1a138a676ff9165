//! What the pool may ask for and give up, whatever its reasons.

use vpc_ipam_core::{
    addr::Prefix,
    id::EniId,
    plan::{ENI_AGE_MIN, SHRINK_GAP},
    pool::Action,
    time::Time,
};

use crate::{
    cloud_side::{Departing, Eni, GONE_FOR, What},
    model::{Cidr, Model, Use, pods},
};

macro_rules! must {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

impl Model {
    /// What the pool asks for. Says why it must not.
    pub(crate) fn asked(&mut self, action: &Action, now: Time) -> Result<(), String> {
        let grows = matches!(action, Action::AssignAddresses { .. } | Action::CreateEni { .. });
        let gives = matches!(action, Action::UnassignAddresses { .. } | Action::DeleteEni { .. });
        must!(!self.draining || !grows && !gives, "a draining node changes the cloud: {action:?}");
        if grows {
            let of_mode = self.usable_cidrs().filter(|cidr| self.is_of_mode(&cidr.cidr));
            let single = self.usable_cidrs().filter(|cidr| self.stands_in(&cidr.cidr));
            let total = of_mode.map(|cidr| cidr.addresses.len()).sum::<usize>()
                + single.map(pods).sum::<usize>();
            let max = self.config.max_pods;
            must!(total < max as usize, "{total} addresses are enough for {max} pods: {action:?}");
        }
        match action {
            Action::Persist { .. } => {
                must!(self.write.is_none(), "two writes at once");
                self.write_begins();
            }
            Action::Describe { op } => {
                must!(self.reads.is_empty(), "two reads at once");
                self.reads.push((*op, self.changes));
                self.read_at = now;
            }
            Action::AssignAddresses { op, eni, count } => {
                let held = self.cidrs.iter().filter(|c| c.eni == *eni && c.confirmed).count();
                let slots = self.config.slots as usize;
                let id = eni.clone();
                let Some(eni) = self.eni_mut(eni) else { return Err(format!("unknown {eni}")) };
                let taken = held + eni.leaving.len() + count.slots() as usize;
                must!(taken <= slots, "{taken} of {slots} slots: {action:?}");
                must!(eni.busy.is_none(), "two changes at once: {action:?}");
                eni.busy = Some(*op);
                self.ops.push((*op, id, Vec::new()));
            }
            Action::CreateEni { op, request } => {
                let attached = self.enis.iter().filter(|eni| !eni.missing).count()
                    + self.departing.iter().filter(|d| d.delete).count()
                    + self.creating.len();
                must!(attached < self.config.max_enis as usize, "one more than {attached} ENIs");
                must!(request.count.slots() <= self.config.slots, "too many: {action:?}");
                self.creating.push(*op);
            }
            Action::SetUpEni { op, eni: spec } => {
                let mut held: Vec<Prefix> =
                    self.cidrs.iter().filter(|c| c.eni == spec.id).map(|c| c.cidr).collect();
                held.sort();
                must!(held == spec.sources, "the pool holds {held:?}: {action:?}");
                let Some(eni) = self.eni_mut(&spec.id) else { return Err(format!("{action:?}")) };
                must!(eni.setting_up.is_none(), "two set-ups at once: {action:?}");
                eni.setting_up = Some((*op, held));
            }
            Action::UnassignAddresses { op, eni, cidrs } => {
                let id = eni.clone();
                let Some(eni) = self.eni_mut(eni) else { return Err(format!("unknown {eni}")) };
                must!(eni.busy.is_none(), "two changes at once: {action:?}");
                let left = cidrs
                    .iter()
                    .all(|cidr| eni.leaving.contains(cidr) && !eni.on_host.contains(cidr));
                must!(left, "the pool or the host has not let go: {action:?}");
                eni.busy = Some(*op);
                self.ops.push((*op, id, cidrs.clone()));
            }
            Action::DeleteEni { op, eni } => {
                self.ops.push((*op, eni.clone(), Vec::new()));
                let leaving = self.departing.iter().any(|d| d.id == *eni && d.delete);
                must!(leaving, "it has not left the pool: {action:?}");
            }
            Action::TearDownEni { op, eni: spec } => {
                self.ops.push((*op, spec.id.clone(), Vec::new()));
                let leaving = self.departing.iter().any(|d| d.id == spec.id);
                must!(leaving, "it has not left the pool: {action:?}");
            }
            other => return Err(format!("not asked for: {other:?}")),
        }
        Ok(())
    }

    /// What EC2 shows, on ENIs that the host can be set up for.
    fn usable_cidrs(&self) -> impl Iterator<Item = &Cidr> {
        let usable =
            |cidr: &&Cidr| self.eni(&cidr.eni).is_some_and(|eni| !eni.missing && !eni.is_broken());
        self.cidrs.iter().filter(usable).filter(|cidr| cidr.confirmed)
    }

    /// The pool no longer holds this block.
    pub(crate) fn released(&mut self, cidr: &Prefix, now: Time) -> Result<(), String> {
        let Some(n) = self.cidrs.iter().position(|c| c.cidr == *cidr) else { return Ok(()) };
        self.may_leave(&self.cidrs[n])?;
        let left = self.cidrs.remove(n);
        if self.is_of_mode(cidr) {
            let last = self.last_release;
            let early = last.is_some_and(|at| at != now && now.since(at) <= SHRINK_GAP);
            must!(!early, "{cidr} is given up at {now}, after a release at {last:?}");
        }
        self.last_release = Some(now);
        let Some(eni) = self.eni_mut(&left.eni) else { return Err(format!("{left:?}")) };
        must!(eni.busy.is_none(), "{cidr} is given up while its ENI changes");
        eni.leaving.push(*cidr);
        self.give_up(What::Cidr(*cidr), now + GONE_FOR);
        Ok(())
    }

    fn may_leave(&self, cidr: &Cidr) -> Result<(), String> {
        must!(!self.draining, "{} is given up by a draining node", cidr.cidr);
        let idle = |(_, state): &(_, Use)| matches!(state, Use::Fresh | Use::Rested(_));
        must!(cidr.addresses.iter().all(idle), "given up while in use: {cidr:?}");
        must!(cidr.confirmed, "given up unseen: {cidr:?}");
        Ok(())
    }

    /// The pool no longer holds this ENI.
    pub(crate) fn freed(&mut self, id: &EniId, now: Time) -> Result<(), String> {
        let Some(n) = self.enis.iter().position(|eni| eni.id == *id) else { return Ok(()) };
        let eni = self.enis.remove(n);
        let held: Vec<&Cidr> = self.cidrs.iter().filter(|cidr| cidr.eni == *id).collect();
        if eni.missing {
            must!(held.is_empty() && eni.setting_up.is_none(), "forgotten in use: {eni:?}");
        } else {
            held.into_iter().try_for_each(|cidr| self.may_leave(cidr))?;
            let quiet = eni.busy.is_none() && eni.setting_up.is_none() && eni.leaving.is_empty();
            must!(!eni.primary && quiet, "freed while it is needed: {eni:?}");
            must!(now.since(eni.since) >= ENI_AGE_MIN, "freed at {now}, too young: {eni:?}");
        }
        self.cidrs.retain(|cidr| cidr.eni != *id);
        self.departing.push(Departing { id: id.clone(), delete: !eni.missing, failures: 0 });
        Ok(())
    }

    /// ENIs that the pool must have let go of.
    pub(crate) fn forgotten(&self) -> impl Iterator<Item = &Eni> {
        self.enis.iter().filter(|eni| {
            let empty = !self.cidrs.iter().any(|cidr| cidr.eni == eni.id);
            eni.missing && empty && eni.setting_up.is_none()
        })
    }
}
