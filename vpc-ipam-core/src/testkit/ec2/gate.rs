//! What every call does first: the clock, the count, the request rate, the scripted fault.

use std::collections::BTreeMap;

use super::{
    action::Ec2Action,
    error::Ec2Error,
    faults::{Faults, Twist},
    throttle::RequestRates,
    world::World,
};
use crate::time::Time;

impl World {
    /// Calls per action, refused ones included.
    pub fn calls(&self) -> &BTreeMap<Ec2Action, u64> {
        &self.calls
    }

    /// Calls per action that were refused because the [request rate](RequestRates) was exceeded.
    pub fn throttled(&self) -> &BTreeMap<Ec2Action, u64> {
        &self.throttle.refused
    }

    /// How often EC2 may be called.
    pub fn request_rates(&self) -> &RequestRates {
        &self.throttle.rates
    }

    /// How often EC2 may be called from now on; the buckets are full.
    pub fn set_request_rates(&mut self, rates: &RequestRates) {
        let now = self.now();
        self.throttle.set(rates, now);
    }

    /// Scripted faults, as they stand.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Scripted faults.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Counts a call that never reaches its action, because its parameters are malformed.
    pub fn count_refused(&mut self, action: Ec2Action, now: Time) {
        self.advance(now);
        *self.calls.entry(action).or_default() += 1;
    }

    /// `names`: the ids that the call names.
    pub(super) fn before_call(
        &mut self,
        action: Ec2Action,
        names: &[&str],
        now: Time,
    ) -> Result<Twist, Ec2Error> {
        self.enter(action, false, names, now)
    }

    /// `everything`: neither ids nor filters nor a page size are given.
    pub(super) fn before_reading(
        &mut self,
        action: Ec2Action,
        everything: bool,
        names: &[&str],
        now: Time,
    ) -> Result<(), Ec2Error> {
        // A reading whose answer is lost is one that failed.
        self.enter(action, everything, names, now)?.answer(Ok(()))
    }

    fn enter(
        &mut self,
        action: Ec2Action,
        everything: bool,
        names: &[&str],
        now: Time,
    ) -> Result<Twist, Ec2Error> {
        self.advance(now);
        let now = self.now();
        let passes = self.throttle.passes(action, everything, now);
        let met = match passes {
            true => self.faults.before_call(action, names, &self.calls, now),
            false => Err(Ec2Error::throttled()),
        };
        self.count_refused(action, now);
        met
    }
}
