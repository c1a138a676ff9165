//! When a scripted fault is met.

use std::collections::BTreeMap;

use super::action::Ec2Action;
use crate::time::Time;

/// When a fault is met: by default once, at once, whatever the call names.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct When {
    /// How often; `None` for as long as it is there.
    pub times: Option<u32>,
    /// So many calls that it would meet pass first.
    pub skip: u32,
    /// Not before that moment.
    pub from: Option<Time>,
    /// Not at that moment or later.
    pub until: Option<Time>,
    /// Only once that many calls of that action have come, as [`World::calls`](super::World::calls)
    /// counts them.
    pub after_calls: Option<(Ec2Action, u64)>,
    /// Only calls that name this id: of an ENI, a subnet, an instance, an attachment or another
    /// resource.
    pub resource: Option<String>,
}

impl Default for When {
    fn default() -> Self {
        Self::times(1)
    }
}

impl When {
    /// At once and so often.
    pub fn times(times: u32) -> Self {
        Self {
            times: Some(times),
            skip: 0,
            from: None,
            until: None,
            after_calls: None,
            resource: None,
        }
    }

    /// At once and for as long as it is there.
    pub fn always() -> Self {
        Self { times: None, ..Self::default() }
    }

    /// True if it can never be met again, whatever comes.
    pub fn is_over(&self, now: Time) -> bool {
        self.times == Some(0) || self.until.is_some_and(|until| now >= until)
    }

    /// Counts a call that it may meet, and says whether it does. `calls` are those before this one;
    /// `names` are the ids that it names.
    pub fn meets(
        &mut self,
        now: Time,
        calls: &BTreeMap<Ec2Action, u64>,
        names: &[impl AsRef<str>],
    ) -> bool {
        let named = |id: &String| names.iter().any(|name| name.as_ref() == id);
        let came =
            |(action, n): &(Ec2Action, u64)| calls.get(action).is_some_and(|c| c >= n) || *n == 0;
        if self.is_over(now)
            || self.from.is_some_and(|from| now < from)
            || !self.after_calls.as_ref().is_none_or(came)
            || !self.resource.as_ref().is_none_or(named)
        {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(times) = &mut self.times {
            *times = times.saturating_sub(1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [&str; 0] = [];

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn met(when: &mut When, ms: u64) -> bool {
        when.meets(at(ms), &BTreeMap::new(), &NOBODY)
    }

    #[test]
    fn so_many_pass_and_so_many_are_met() {
        let mut when = When { skip: 2, ..When::times(2) };
        let got: Vec<bool> = (0..6).map(|ms| met(&mut when, ms)).collect();
        assert_eq!(got, [false, false, true, true, false, false]);
        assert!(when.is_over(at(0)));
        let mut always = When::always();
        assert!((0..100).all(|ms| met(&mut always, ms)));
    }

    #[test]
    fn a_window_of_time_opens_and_closes() {
        let mut when = When { from: Some(at(10)), until: Some(at(20)), ..When::always() };
        assert!(!met(&mut when, 9) && met(&mut when, 10) && met(&mut when, 19));
        assert!(!met(&mut when, 20) && when.is_over(at(20)) && !when.is_over(at(19)));
    }

    #[test]
    fn other_calls_and_other_names_pass_and_are_not_counted() {
        let mut when = When {
            skip: 1,
            after_calls: Some((Ec2Action::CreateTags, 2)),
            resource: Some("eni-1".to_owned()),
            ..When::times(1)
        };
        let calls = |n| BTreeMap::from([(Ec2Action::CreateTags, n)]);
        assert!(!when.meets(at(0), &calls(1), &["eni-1"]));
        assert!(!when.meets(at(0), &calls(2), &["eni-2"]));
        assert!(!when.meets(at(0), &calls(2), &NOBODY));
        assert!(!when.meets(at(0), &calls(2), &["eni-1"]), "the first one passes");
        assert!(when.meets(at(0), &calls(2), &["eni-2", "eni-1"]));
    }
}
