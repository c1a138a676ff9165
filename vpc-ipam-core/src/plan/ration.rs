//! Plans cut to what the budget of EC2 calls allows. What is cut is planned anew when there is a call
//! again, with all that has come up by then, so that one request takes the place of several.

use super::{Growth, Plan, Reason, Shrink, View, earlier};
use crate::{
    budget::{Allowance, CallKind, CallLevel},
    time::Time,
};

pub(super) fn ration(plan: &mut Plan, view: &View) {
    let (level, pods_wait) = (view.calls.level, view.waiting > 0);
    if level >= CallLevel::NoReleases && !pods_wait && !plan.shrink.is_empty() {
        plan.shrink.clear();
        throttled(plan, view);
    }
    if level == CallLevel::NoMutations && !pods_wait && !plan.grow.is_empty() {
        plan.grow.clear();
        throttled(plan, view);
    }
    let grew = !plan.grow.is_empty();
    let (mut assign, mut create) = (view.calls.assign, view.calls.create);
    if level == CallLevel::NoMutations {
        // One call of a kind tells whether EC2 takes any; it throttles each API by itself.
        assign.calls = assign.calls.min(1);
        create.calls = create.calls.min(1);
    }
    let mut cut = Cut::default();
    plan.grow.retain(|step| match step {
        Growth::Assign { .. } => cut.keep(CallKind::Assign, &mut assign),
        Growth::Create { .. } => cut.keep(CallKind::Create, &mut create),
    });
    if let Some((kind, until)) = cut.first.filter(|_| grew && plan.grow.is_empty()) {
        plan.reason = Reason::NoCalls { kind, until, level };
    }
    let (mut unassign, mut delete) = (view.calls.unassign, view.calls.delete);
    plan.shrink.retain(|step| match step {
        Shrink::Release { .. } => cut.keep(CallKind::Unassign, &mut unassign),
        Shrink::Free { .. } => cut.keep(CallKind::Delete, &mut delete),
    });
    plan.revisit = earlier(plan.revisit, cut.revisit);
}

fn throttled(plan: &mut Plan, view: &View) {
    plan.revisit = earlier(plan.revisit, view.calls.relief);
    if plan.grow.is_empty() {
        let calls = &view.calls;
        let (level, throttled, relief) = (calls.level, calls.throttled, calls.relief);
        plan.reason = Reason::Throttled { level, throttled, relief };
    }
}

/// Steps for which there is no call.
#[derive(Default)]
struct Cut {
    first: Option<(CallKind, Time)>,
    revisit: Option<Time>,
}

impl Cut {
    fn keep(&mut self, kind: CallKind, left: &mut Allowance) -> bool {
        if let Some(calls) = left.calls.checked_sub(1) {
            left.calls = calls;
            return true;
        }
        self.revisit = earlier(self.revisit, left.next);
        self.first = self.first.or(left.next.map(|until| (kind, until)));
        false
    }
}

#[cfg(test)]
mod tests;
