//! Scripted failures of EC2 calls.

use std::collections::{BTreeMap, VecDeque};

use super::{action::Ec2Action, error::Ec2Error};

/// What goes wrong with one call.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The call takes full effect, and this is what the caller hears: [`Ec2Error::no_answer`] for a
    /// timeout. A call that would have been refused is refused.
    AnswerLost(Ec2Error),
    /// At most so many of the addresses or prefixes that were asked for are assigned, and the answer
    /// says which. Calls that assign nothing are not affected.
    Fewer(u32),
    /// The first so many of the addresses and prefixes named are taken, and the answer is this error.
    /// Calls that take nothing are refused with it.
    Partly(u32, Ec2Error),
    /// The call has no effect, and this is the answer.
    Refused(Ec2Error),
}

/// Scripted faults per action: each is met so many times, then the next, then calls pass again.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    scripts: BTreeMap<Ec2Action, VecDeque<Script>>,
}

#[derive(Clone, Debug)]
struct Script {
    fault: Fault,
    times: u32,
}

impl Faults {
    /// Lets the next `times` calls of `action` fail with `error`, after the scripts already there.
    pub fn fail(&mut self, action: Ec2Action, error: Ec2Error, times: u32) {
        self.meet(action, Fault::Refused(error), times);
    }

    /// Lets the next `times` calls of `action` meet `fault`, after the scripts already there.
    pub fn meet(&mut self, action: Ec2Action, fault: Fault, times: u32) {
        if times > 0 {
            self.scripts.entry(action).or_default().push_back(Script { fault, times });
        }
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        self.scripts.clear();
    }

    /// Calls that will still meet a fault.
    pub fn pending(&self) -> u64 {
        self.scripts.values().flatten().map(|s| u64::from(s.times)).sum()
    }

    /// The error that this call of `action` meets before it takes effect, or what else becomes of it.
    /// Asked once per call.
    pub(super) fn before_call(&mut self, action: Ec2Action) -> Result<Twist, Ec2Error> {
        match self.next(action) {
            None => Ok(Twist(None)),
            Some(Fault::Refused(error)) => Err(error),
            Some(fault) => Ok(Twist(Some(fault))),
        }
    }

    fn next(&mut self, action: Ec2Action) -> Option<Fault> {
        let scripts = self.scripts.get_mut(&action)?;
        let script = scripts.front_mut()?;
        script.times = script.times.saturating_sub(1);
        let fault = script.fault.clone();
        if script.times == 0 {
            scripts.pop_front();
        }
        Some(fault)
    }
}

/// What becomes of a call that is not refused at once.
#[derive(Debug)]
#[must_use]
pub(super) struct Twist(Option<Fault>);

impl Twist {
    /// How many may be assigned of those asked for.
    pub(super) fn fewer(&self, asked: u32) -> u32 {
        match self.0 {
            Some(Fault::Fewer(n)) => asked.min(n.max(1)),
            _ => asked,
        }
    }

    /// How many are taken before the error.
    pub(super) fn partly(&self) -> Option<usize> {
        match self.0 {
            Some(Fault::Partly(n, _)) => Some(n as usize),
            _ => None,
        }
    }

    /// True if nobody hears that the call took effect.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.0, Some(Fault::AnswerLost(_)))
    }

    /// For calls that cannot take effect in part.
    pub(super) fn whole(self) -> Result<Self, Ec2Error> {
        match self.0 {
            Some(Fault::Partly(_, error)) => Err(error),
            _ => Ok(self),
        }
    }

    /// What the caller hears.
    pub(super) fn answer<T>(self, result: Result<T, Ec2Error>) -> Result<T, Ec2Error> {
        match (result, self.0) {
            (Ok(_), Some(Fault::AnswerLost(error) | Fault::Partly(_, error))) => Err(error),
            (result, _) => result,
        }
    }
}
