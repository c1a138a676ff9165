//! Carrying out the plan, and learning from how it went.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Action, Op, Pool,
    inventory::{GONE_FOR, Gone},
    lead::Lead,
    supply::{Source, Supply},
};
use crate::{
    addr::Prefix,
    backoff::Backoff,
    budget::CallKind,
    cloud::{AddressCount, Authority, CloudEni, CloudError, CloudErrorKind, CreateEni},
    config::CustomNetwork,
    eni::RETRY_CAP,
    id::{EniId, OpId},
    plan::{self, Calm, Growth, Holds, Plan, Reason, Shrink},
    subnet::ROLE_TAG,
    time::Time,
};

/// First delay after a failure that would meet any request, such as throttling.
const RETRY: Duration = Duration::from_secs(1);
/// How long no ENI is made after one was born in a subnet that is excluded for pods: it is people who
/// change the tags of subnets, and each try costs an ENI that goes a minute later.
const EXCLUDED_PAUSE: Duration = Duration::from_secs(600);
/// Age up to which an ENI counts as just made when EC2 first shows that it is excluded: the time
/// between two reads, and some for the answer.
const NEW_ENI_AGE_MAX: Duration = Duration::from_secs(120);

/// What earlier attempts have taught.
#[derive(Clone, Debug)]
pub(super) struct GrowthState {
    hold_all: Option<Time>,
    hold_create: Option<Time>,
    pub(super) supply: Supply,
    backoff: Backoff,
    create_backoff: Backoff,
    pub(super) creating: BTreeMap<OpId, AddressCount>,
    pub(super) lead: Lead,
    /// End of the last creation: views older than that may show its half-made ENI.
    pub(super) created: u64,
    pub(super) last_shrink: Option<Time>,
    /// When the plan may change with nothing but time.
    pub(super) revisit: Option<Time>,
    /// Why the last growth failed, while more is needed.
    pub(super) error: Option<String>,
    /// Why something could not be given back, until the cloud's view has settled it.
    pub(super) release_error: Option<String>,
}

impl GrowthState {
    pub(super) fn new() -> Self {
        Self {
            hold_all: None,
            hold_create: None,
            supply: Supply::default(),
            backoff: Backoff::new(RETRY, RETRY_CAP),
            create_backoff: Backoff::new(RETRY, RETRY_CAP),
            creating: BTreeMap::new(),
            lead: Lead::default(),
            created: 0,
            last_shrink: None,
            revisit: None,
            error: None,
            release_error: None,
        }
    }

    /// What holds growth back, wherever the addresses would come from.
    pub(super) fn holds(&self) -> Holds {
        Holds {
            all: self.hold_all,
            create: self.hold_create,
            new_eni: self.supply.holds_of_new_enis(),
        }
    }

    fn succeeded(&mut self, source: &Source, count: AddressCount) {
        self.backoff.reset();
        self.hold_all = None;
        // What an ENI that is there gives does not explain why there is no other one.
        if matches!(source, Source::NewEni) || self.hold_create.is_none() {
            self.error = None;
        }
        self.supply.gave(source, count);
    }
}

impl Pool {
    /// Plans, carries out the plan, and tells those who wait in vain.
    pub(super) fn evaluate(&mut self, now: Time) {
        if !self.describing.described {
            return;
        }
        self.forget_old_holds(now);
        self.learn(now);
        let sums = self.enis.sums();
        let frame = self.frame(self.foreign_trunk || sums.trunks > 0);
        if let Some(calm) = plan::calm(&frame, &sums.outline, &self.config) {
            self.growth.revisit = None;
            self.growth.error.take_if(|_| calm == Calm::Enough);
            return;
        }
        let plan = self.plan(now);
        self.growth.revisit = plan.revisit;
        if self.waiting.anyone() > 0 && plan.grow.is_empty() {
            self.refuse_hopeless(&plan.reason, now);
        }
        for step in plan.grow {
            self.grow(step, now);
        }
        for step in plan.shrink {
            self.shrink(step, now);
        }
        let short = matches!(
            plan.reason,
            Reason::Full { .. }
                | Reason::Growing(_)
                | Reason::Held { .. }
                | Reason::InFlight { .. }
                | Reason::Ipv6Exhausted { .. }
                | Reason::NoEniConfig { .. }
                | Reason::SubnetExhausted { .. }
                | Reason::Fallback { shortage: Some(_), .. }
                | Reason::NoCalls { .. }
                | Reason::Throttled { .. }
        );
        if !short {
            self.growth.error = None;
        }
    }

    fn forget_old_holds(&mut self, now: Time) {
        let growth = &mut self.growth;
        growth.hold_all.take_if(|until| *until <= now);
        growth.hold_create.take_if(|until| *until <= now);
        let enis = &self.enis;
        growth.supply.forget_old(now, |subnet| enis.values().any(|eni| eni.subnet == *subnet));
    }

    /// What the pool would do now, and why.
    pub fn plan(&self, now: Time) -> Plan {
        let mut view = self.summary();
        if plan::wants_idle_lists(&view, &self.config) || self.has_foreign_idle() {
            self.fill_idle_lists(&mut view);
        }
        plan::plan(&view, &self.config, now)
    }

    fn grow(&mut self, step: Growth, now: Time) {
        let kind = match &step {
            Growth::Assign { .. } => CallKind::Assign,
            Growth::Create { .. } => CallKind::Create,
        };
        // Plans keep within what there is.
        if !self.purse.take(kind, now) {
            return;
        }
        match step {
            Growth::Assign { eni: id, count } => {
                let op = Op::Assign { eni: id.clone(), count };
                let op =
                    self.issue(op, |op| Action::AssignAddresses { op, eni: id.clone(), count });
                self.growth.lead.begin(op, now);
                if let Some(eni) = self.enis.get_mut(&id) {
                    eni.op = Some((op, Some(count)));
                }
            }
            Growth::Create { count } => {
                let mut request = CreateEni::new(self.config.card, count);
                if let CustomNetwork::Subnet { subnet, groups } = &self.config.custom_network {
                    request.subnet = Some(subnet.clone());
                    request.groups.clone_from(groups);
                }
                let op = self.issue(Op::Create { count }, |op| Action::CreateEni { op, request });
                self.growth.lead.begin(op, now);
                self.growth.creating.insert(op, count);
            }
        }
    }

    /// Leave the pool first, the host second, the cloud last.
    fn shrink(&mut self, step: Shrink, now: Time) {
        match step {
            Shrink::Free { eni: id } => {
                let Some(eni) = self.enis.get(&id) else { return };
                let (spec, cidrs) = (eni.spec(), eni.spec().sources);
                for cidr in cidrs {
                    self.drop_cidr(&id, &cidr);
                }
                self.enis.remove(&id);
                self.memory.changed();
                self.take_down(spec, true, now);
            }
            Shrink::Release { eni: id, cidrs } => {
                for cidr in cidrs {
                    self.drop_cidr(&id, &cidr);
                    self.gone_cidrs
                        .insert(cidr, Gone { until: now + GONE_FOR, sequence: self.sequence });
                    if let Some(eni) = self.enis.get_mut(&id) {
                        eni.leaving.insert(cidr);
                    }
                }
                self.growth.last_shrink = Some(now);
            }
        }
    }

    pub(super) fn on_assigned(
        &mut self,
        op: OpId,
        result: Result<Vec<Prefix>, CloudError>,
        now: Time,
    ) {
        let Some(Op::Assign { eni: id, count }) =
            self.take_op(op, |op| matches!(op, Op::Assign { .. }))
        else {
            return;
        };
        self.end_mutation(&id, op, now);
        self.note_answer(CallKind::Assign, result.as_ref().err(), now);
        let came = result.as_ref().is_ok_and(|cidrs| !cidrs.is_empty());
        self.growth.lead.end_addresses(op, came, now);
        let subnet = self.enis.get(&id).map(|eni| eni.subnet.clone());
        let source = subnet.map_or(Source::NewEni, Source::Subnet);
        match result {
            Ok(cidrs) if !cidrs.is_empty() => {
                self.growth.succeeded(&source, count);
                if let Some(eni) = self.enis.get_mut(&id) {
                    eni.grow_backoff.reset();
                    eni.hold_until = None;
                }
                self.take_given(&cidrs, now);
                for cidr in cidrs {
                    self.add_cidr(&id, cidr, Authority::Ec2, now);
                }
            }
            // Asking again at once would get the same answer.
            Ok(_) => self.hold_eni(&id, now),
            Err(error) => {
                if !self.learn_from(&error, source, count, now) {
                    self.hold_eni(&id, now);
                }
            }
        }
    }

    pub(super) fn on_created(&mut self, op: OpId, result: Result<CloudEni, CloudError>, now: Time) {
        let Some(Op::Create { count }) = self.take_op(op, |op| matches!(op, Op::Create { .. }))
        else {
            return;
        };
        self.growth.creating.remove(&op);
        self.growth.lead.end_eni(op, result.is_ok(), now);
        self.note_mutation(now);
        self.note_answer(CallKind::Create, result.as_ref().err(), now);
        self.growth.created = self.sequence;
        match result {
            Ok(cloud) => {
                self.growth.succeeded(&Source::NewEni, count);
                self.growth.supply.gave(&Source::Subnet(cloud.subnet.clone()), count);
                self.growth.create_backoff.reset();
                self.growth.hold_create = None;
                self.gone_enis.remove(&cloud.id);
                self.take_given(&cloud.cidrs, now);
                self.adopt(&cloud, Authority::Ec2, now);
                self.note_exclusion(&cloud, now);
            }
            Err(error) => {
                // It may have been attached for a moment.
                self.doubt_what_comes(now);
                if !self.learn_from(&error, Source::NewEni, count, now) {
                    let delay = self.growth.create_backoff.fail(&mut self.jitter);
                    self.growth.hold_create = Some(now + delay);
                }
            }
        }
    }

    /// The next ENI would lie where this one does, which the pool has just made: in a subnet that is
    /// excluded for pods.
    pub(super) fn note_exclusion(&mut self, eni: &CloudEni, now: Time) {
        if !eni.excluded {
            return;
        }
        self.growth.hold_create = Some(now + EXCLUDED_PAUSE);
        self.growth.error = Some(format!(
            "the new ENI {} serves no pods, because its subnet {} is excluded for them by its tags; \
             correct {ROLE_TAG} or the ENIConfig",
            eni.id, eni.subnet
        ));
    }

    /// True if the pool made the ENI so lately that it may not have known that it is excluded.
    pub(super) fn is_newly_excluded(&self, shown: &CloudEni, now: Time) -> bool {
        let new = |eni: &crate::eni::Eni| {
            !eni.traits.excluded && !eni.traits.primary && now.since(eni.since) <= NEW_ENI_AGE_MAX
        };
        shown.excluded && self.enis.get(&shown.id).is_some_and(new)
    }

    /// The next ENI may lie elsewhere.
    pub(super) fn try_creation_again(&mut self) {
        self.growth.hold_create = None;
        self.growth.error = None;
    }

    /// Learns from a failed growth; false if nothing but the one object is to be left alone.
    fn learn_from(
        &mut self,
        error: &CloudError,
        source: Source,
        count: AddressCount,
        now: Time,
    ) -> bool {
        self.growth.error = Some(error.to_string());
        match error.kind {
            kind if error.is_subnet_exhausted() => {
                self.growth.supply.refused(source, kind, count, now);
                true
            }
            CloudErrorKind::Throttled
            | CloudErrorKind::Unreachable
            | CloudErrorKind::PermissionDenied => {
                let delay = self.growth.backoff.fail(&mut self.jitter);
                self.growth.hold_all = Some(now + delay);
                true
            }
            CloudErrorKind::AddressLimit
            | CloudErrorKind::AttachmentLimit
            | CloudErrorKind::Gone => {
                // The cloud knows more than the pool does.
                self.describe_soon(now);
                false
            }
            _ => false,
        }
    }

    fn hold_eni(&mut self, id: &EniId, now: Time) {
        if let Some(eni) = self.enis.get_mut(id) {
            eni.hold_until = Some(now + eni.grow_backoff.fail(&mut self.jitter));
        }
    }

    pub(super) fn on_unassigned(&mut self, op: OpId, result: &Result<(), CloudError>, now: Time) {
        let Some(Op::Unassign { eni: id, cidrs }) =
            self.take_op(op, |op| matches!(op, Op::Unassign { .. }))
        else {
            return;
        };
        self.end_mutation(&id, op, now);
        self.note_answer(CallKind::Unassign, result.as_ref().err(), now);
        for cidr in cidrs {
            if let Some(eni) = self.enis.get_mut(&id) {
                eni.leaving.remove(&cidr);
            }
            // Also after a failure: if the cloud still has it, a later view brings it back.
            self.gone_cidrs.insert(cidr, Gone { until: now + GONE_FOR, sequence: self.sequence });
        }
        if let Err(error) = result {
            self.growth.release_error = Some(error.to_string());
            self.describe_soon(now);
        }
    }

    pub(super) fn on_deleted(&mut self, op: OpId, result: &Result<(), CloudError>, now: Time) {
        let Some(Op::Delete { eni: id }) = self.take_op(op, |op| matches!(op, Op::Delete { .. }))
        else {
            return;
        };
        self.note_mutation(now);
        self.note_answer(CallKind::Delete, result.as_ref().err(), now);
        self.departing.remove(&id);
        let until = match result {
            Ok(()) => now + GONE_FOR,
            Err(error) => {
                self.growth.release_error = Some(error.to_string());
                // It may be detached all the same.
                self.doubt_what_comes(now);
                self.describe_soon(now);
                now
            }
        };
        self.gone_enis.insert(id, Gone { until, sequence: self.sequence });
    }

    fn end_mutation(&mut self, id: &EniId, op: OpId, now: Time) {
        self.note_mutation(now);
        if let Some(eni) = self.enis.get_mut(id) {
            eni.op.take_if(|(running, _)| *running == op);
            eni.mutated = self.sequence;
        }
    }
}
