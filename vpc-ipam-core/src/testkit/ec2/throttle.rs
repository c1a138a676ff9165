//! Request rates: token buckets as EC2 has them, one per action, for the whole account in a region.

use std::collections::BTreeMap;

use super::action::Ec2Action;
use crate::time::Time;

/// Tokens are counted in thousandths: a refill of n per second is n of them per millisecond.
const PARTS: u64 = 1000;

/// One token bucket: every call takes a token, and a call that finds none is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Tokens of a full bucket: calls that may come at once.
    pub size: u32,
    /// Tokens added per second.
    pub refill: u32,
}

/// How often EC2 may be called. None of it is limited by default.
///
/// The account's calls share the buckets, so the instances of one [`World`](super::World) throttle each
/// other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestRates {
    rates: BTreeMap<Ec2Action, Rate>,
    everything: Option<Rate>,
}

impl RequestRates {
    /// Calls that change nothing.
    pub const READING: Rate = Rate { size: 100, refill: 20 };
    /// Describe calls without ids, filters and page size, together.
    pub const READING_EVERYTHING: Rate = Rate { size: 50, refill: 10 };
    /// Calls that change something.
    pub const CHANGING: Rate = Rate { size: 50, refill: 5 };

    /// No limits.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// The defaults of EC2's categories, a bucket for each action. AWS grants some actions larger
    /// buckets of their own, and more on request: [`with`](Self::with) changes single ones. None of
    /// the actions here has one of EC2's additional buckets for resources, which limit starts and
    /// stops of instances.
    pub fn documented() -> Self {
        let rate =
            |action: Ec2Action| if action.is_reading() { Self::READING } else { Self::CHANGING };
        Self {
            rates: Ec2Action::ALL.iter().map(|action| (*action, rate(*action))).collect(),
            everything: Some(Self::READING_EVERYTHING),
        }
    }

    /// With another bucket for `action`.
    #[must_use]
    pub fn with(mut self, action: Ec2Action, rate: Rate) -> Self {
        self.rates.insert(action, rate);
        self
    }

    /// With another bucket for describe calls without ids, filters and page size, which they share.
    #[must_use]
    pub fn with_everything(mut self, rate: Rate) -> Self {
        self.everything = Some(rate);
        self
    }
}

impl Ec2Action {
    /// True for calls that change nothing.
    pub fn is_reading(self) -> bool {
        self.as_str().starts_with("Describe")
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    parts: u64,
    at: Time,
}

impl Bucket {
    fn new(rate: Rate, now: Time) -> Self {
        Self { rate, parts: u64::from(rate.size) * PARTS, at: now }
    }

    fn take(&mut self, now: Time) -> bool {
        let passed = now.as_millis().saturating_sub(self.at.as_millis());
        let refilled = passed.saturating_mul(u64::from(self.rate.refill));
        self.parts = self.parts.saturating_add(refilled).min(u64::from(self.rate.size) * PARTS);
        self.at = self.at.max(now);
        match self.parts.checked_sub(PARTS) {
            Some(left) => {
                self.parts = left;
                true
            }
            None => false,
        }
    }
}

/// The buckets and what they refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle {
    pub(super) rates: RequestRates,
    buckets: BTreeMap<Ec2Action, Bucket>,
    everything: Option<Bucket>,
    pub(super) refused: BTreeMap<Ec2Action, u64>,
}

impl Throttle {
    /// Full buckets; what was refused before is not forgotten.
    pub(super) fn set(&mut self, rates: &RequestRates, now: Time) {
        self.rates = rates.clone();
        let full = |rate: &Rate| Bucket::new(*rate, now);
        self.buckets = rates.rates.iter().map(|(action, rate)| (*action, full(rate))).collect();
        self.everything = rates.everything.as_ref().map(full);
    }

    /// True if the call passes.
    pub(super) fn passes(&mut self, action: Ec2Action, everything: bool, now: Time) -> bool {
        let bucket = match &mut self.everything {
            Some(bucket) if everything => Some(bucket),
            _ => self.buckets.get_mut(&action),
        };
        let passes = bucket.is_none_or(|bucket| bucket.take(now));
        if !passes {
            *self.refused.entry(action).or_default() += 1;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_bucket_empties_and_refills_up_to_its_size() {
        let mut throttle = Throttle::default();
        let rates =
            RequestRates::default().with(Ec2Action::CreateTags, Rate { size: 3, refill: 2 });
        throttle.set(&rates, at(0));
        let passed = |throttle: &mut Throttle, ms| {
            (0..10).filter(|_| throttle.passes(Ec2Action::CreateTags, false, at(ms))).count()
        };
        assert_eq!(passed(&mut throttle, 0), 3);
        assert_eq!(passed(&mut throttle, 499), 0);
        assert_eq!(passed(&mut throttle, 500), 1);
        assert_eq!(passed(&mut throttle, 100_000), 3);
        assert_eq!(throttle.refused.get(&Ec2Action::CreateTags), Some(&33));
        assert!((0..1000).all(|_| throttle.passes(Ec2Action::DescribeTags, false, at(0))));
    }

    #[test]
    fn actions_have_buckets_of_their_own_and_lists_of_everything_share_one() {
        let mut throttle = Throttle::default();
        throttle.set(&RequestRates::documented(), at(0));
        let mut passed = |action, everything| {
            (0..500).filter(|_| throttle.passes(action, everything, at(0))).count()
        };
        assert_eq!(passed(Ec2Action::AssignPrivateIpAddresses, false), 50);
        assert_eq!(passed(Ec2Action::CreateNetworkInterface, false), 50);
        assert_eq!(passed(Ec2Action::DescribeNetworkInterfaces, false), 100);
        assert_eq!(passed(Ec2Action::DescribeNetworkInterfaces, true), 50);
        assert_eq!(passed(Ec2Action::DescribeSubnets, true), 0);
    }
}
