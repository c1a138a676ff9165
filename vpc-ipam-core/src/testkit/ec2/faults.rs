//! Scripted failures of EC2 calls.

use std::collections::BTreeMap;

use super::{action::Ec2Action, error::Ec2Error, when::When};
use crate::time::Time;

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

/// A fault, the calls that it meets, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script {
    /// The actions; empty for all.
    pub actions: Vec<Ec2Action>,
    /// What goes wrong. `{id}` in the message of an error stands for the id that the call names: that
    /// of [`When::resource`], or else the first.
    pub fault: Fault,
    /// When.
    pub when: When,
}

/// Scripted faults. A call meets the first in the order of scripting that is due; one that is done, or
/// not yet due, lets the next ones have the call.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    scripts: Vec<Script>,
}

impl Faults {
    /// Lets the next `times` calls of `action` fail with `error`, after the scripts already there.
    pub fn fail(&mut self, action: Ec2Action, error: Ec2Error, times: u32) {
        self.meet(action, Fault::Refused(error), times);
    }

    /// Lets the next `times` calls of `action` meet `fault`, after the scripts already there.
    pub fn meet(&mut self, action: Ec2Action, fault: Fault, times: u32) {
        self.add(Script { actions: vec![action], fault, when: When::times(times) });
    }

    /// Adds a script after those already there.
    pub fn add(&mut self, script: Script) {
        if script.when.times != Some(0) {
            self.scripts.push(script);
        }
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        self.scripts.clear();
    }

    /// Calls that will still meet a fault; faults without a number of times count as one.
    pub fn pending(&self) -> u64 {
        self.scripts.iter().map(|s| s.when.times.map_or(1, u64::from)).sum()
    }

    /// What is left of the scripts, in the order of scripting.
    pub fn scripts(&self) -> &[Script] {
        &self.scripts
    }

    /// The error that this call of `action` meets before it takes effect, or what else becomes of it.
    /// Asked once per call. `calls` are those before this one; `names` are the ids that it names.
    pub(super) fn before_call(
        &mut self,
        action: Ec2Action,
        names: &[&str],
        calls: &BTreeMap<Ec2Action, u64>,
        now: Time,
    ) -> Result<Twist, Ec2Error> {
        if self.scripts.is_empty() {
            return Ok(Twist(None));
        }
        let concerned = |s: &&mut Script| s.actions.is_empty() || s.actions.contains(&action);
        let mut due = self.scripts.iter_mut().filter(concerned);
        let met = due.find_map(|s| s.when.meets(now, calls, names).then(|| s.fault_for(names)));
        // Scripts that wait behind the one that was met have not seen the call.
        self.scripts.retain(|s| !s.when.is_over(now));
        match met {
            None => Ok(Twist(None)),
            Some(Fault::Refused(error)) => Err(error),
            Some(fault) => Ok(Twist(Some(fault))),
        }
    }
}

impl Script {
    fn fault_for(&self, names: &[&str]) -> Fault {
        let named = self.when.resource.as_deref().or(names.first().copied()).unwrap_or_default();
        let tell = |error: &Ec2Error| {
            Ec2Error::new(error.code.clone(), error.message.replace("{id}", named))
        };
        match &self.fault {
            Fault::AnswerLost(error) => Fault::AnswerLost(tell(error)),
            Fault::Fewer(n) => Fault::Fewer(*n),
            Fault::Partly(n, error) => Fault::Partly(*n, tell(error)),
            Fault::Refused(error) => Fault::Refused(tell(error)),
        }
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
