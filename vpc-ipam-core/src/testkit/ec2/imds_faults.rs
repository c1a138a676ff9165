//! Instance metadata that is not merely late.

use std::{collections::BTreeSet, time::Duration};

use super::{imds::ImdsView, instance::Instance, world::World};
use crate::{
    id::{EniId, InstanceId},
    time::Time,
};

/// What is wrong with the metadata of one instance. Several may be at once.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ImdsFault {
    /// No ENI is listed.
    Empty,
    /// For so long, what was shown at this moment is shown.
    Frozen(Duration),
    /// That ENI is not listed.
    Omits(EniId),
    /// Every path is answered with this HTTP status, such as 401 or 404.
    Status(u16),
}

/// The faults of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct ImdsFaults {
    empty: bool,
    frozen: Option<(Time, Time)>,
    omitted: BTreeSet<EniId>,
    status: Option<u16>,
}

impl ImdsFaults {
    /// The moment whose state is shown at `now`.
    pub(super) fn shown_at(&self, now: Time) -> Time {
        match self.frozen {
            // One that lies ahead holds nothing back yet.
            Some((since, until)) if now < until => since.min(now),
            _ => now,
        }
    }

    fn apply(&self, view: &mut ImdsView) {
        if self.empty {
            view.enis.clear();
        }
        view.enis.retain(|eni| !self.omitted.contains(&eni.id));
    }
}

impl Instance {
    pub(super) fn distort(&self, mut view: ImdsView) -> ImdsView {
        self.imds.apply(&mut view);
        view
    }
}

impl World {
    /// Breaks the metadata of an instance, until [`heal_imds`](Self::heal_imds). An unknown instance
    /// is ignored.
    pub fn break_imds(&mut self, instance: &InstanceId, fault: ImdsFault, now: Time) {
        self.advance(now);
        let now = self.now();
        let Some(instance) = self.instance_mut(instance) else { return };
        match fault {
            ImdsFault::Empty => instance.imds.empty = true,
            ImdsFault::Frozen(time) => {
                let since = instance.imds.shown_at(now);
                instance.imds.frozen = Some((since, now + time));
            }
            ImdsFault::Omits(eni) => {
                instance.imds.omitted.insert(eni);
            }
            ImdsFault::Status(status) => instance.imds.status = Some(status),
        }
    }

    /// Lets the metadata of an instance show, for `time` from `from` on, what it shows at `from`, which
    /// may lie ahead. Replaces a freeze that was there. An unknown instance is ignored.
    pub fn freeze_imds(&mut self, instance: &InstanceId, from: Time, time: Duration) {
        let now = self.now();
        if let Some(instance) = self.instance_mut(instance) {
            let since = instance.imds.shown_at(now).max(from);
            instance.imds.frozen = Some((since, from + time));
        }
    }

    /// Ends all faults of the metadata of an instance. What is late stays late.
    pub fn heal_imds(&mut self, instance: &InstanceId) {
        if let Some(instance) = self.instance_mut(instance) {
            instance.imds = ImdsFaults::default();
        }
    }

    /// The HTTP status with which metadata refuses every path of `instance`, if it does.
    pub fn imds_status(&self, instance: &InstanceId) -> Option<u16> {
        self.instance(instance)?.imds.status
    }
}
