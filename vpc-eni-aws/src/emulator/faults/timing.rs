//! When a fault is met, counted from its injection.

use std::{collections::BTreeMap, time::Duration};

use vpc_ipam_core::{
    testkit::ec2::{Ec2Action, When},
    time::Time,
};

/// When a fault is met, counted from its injection: by default at once and once.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timing {
    /// How often; `None` for as long as it is there.
    pub times: Option<u32>,
    /// The first call that meets it, of those that it concerns, counted from 1.
    pub from_call: u32,
    /// How long to wait first.
    pub after: Duration,
    /// How long it is there, once it is.
    pub lasting: Option<Duration>,
    /// Waits for so many calls of that action.
    pub after_calls: Option<(Ec2Action, u32)>,
}

impl Timing {
    pub(super) const ONCE: Self = Self {
        times: Some(1),
        from_call: 1,
        after: Duration::ZERO,
        lasting: None,
        after_calls: None,
    };
    pub(super) const ALWAYS: Self = Self { times: None, ..Self::ONCE };

    /// In the time and the calls of a world.
    pub(super) fn when(&self, now: Time, calls: &BTreeMap<Ec2Action, u64>) -> When {
        let mut when = When::always();
        when.times = self.times;
        when.skip = self.from_call.saturating_sub(1);
        when.from = (!self.after.is_zero()).then(|| now + self.after);
        when.until = self.lasting.map(|lasting| now + self.after + lasting);
        when.after_calls = self.after_calls.map(|(action, n)| {
            (action, calls.get(&action).copied().unwrap_or(0).saturating_add(u64::from(n)))
        });
        when
    }
}

macro_rules! timing_methods {
    () => {
        /// So often.
        #[must_use]
        pub fn times(mut self, times: u32) -> Self {
            self.timing.times = Some(times);
            self
        }

        /// As long as it is there.
        #[must_use]
        pub fn always(mut self) -> Self {
            self.timing.times = None;
            self
        }

        /// From the `nth` call on, of those that it concerns; the first is 1.
        #[must_use]
        pub fn from_call(mut self, nth: u32) -> Self {
            self.timing.from_call = nth;
            self
        }

        /// Only after that time.
        #[must_use]
        pub fn after(mut self, time: Duration) -> Self {
            self.timing.after = time;
            self
        }

        /// Only for that time.
        #[must_use]
        pub fn lasting(mut self, time: Duration) -> Self {
            self.timing.lasting = Some(time);
            self
        }

        /// Only once `n` more calls of `action` have come.
        #[must_use]
        pub fn after_calls(mut self, action: Ec2Action, n: u32) -> Self {
            self.timing.after_calls = Some((action, n));
            self
        }

        /// When it is met.
        pub fn timing(&self) -> &Timing {
            &self.timing
        }
    };
}

pub(super) use timing_methods;
