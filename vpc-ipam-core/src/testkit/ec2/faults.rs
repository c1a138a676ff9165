//! Scripted failures of EC2 calls.

use std::collections::{BTreeMap, VecDeque};

use super::{action::Ec2Action, error::Ec2Error};

/// Scripted errors per action: each is answered so many times, then the next, then calls pass again.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    scripts: BTreeMap<Ec2Action, VecDeque<Script>>,
}

#[derive(Clone, Debug)]
struct Script {
    error: Ec2Error,
    times: u32,
}

impl Faults {
    /// Lets the next `times` calls of `action` fail with `error`, after the scripts already there.
    pub fn fail(&mut self, action: Ec2Action, error: Ec2Error, times: u32) {
        if times > 0 {
            self.scripts.entry(action).or_default().push_back(Script { error, times });
        }
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        self.scripts.clear();
    }

    /// Calls that will still fail.
    pub fn pending(&self) -> u64 {
        self.scripts.values().flatten().map(|s| u64::from(s.times)).sum()
    }

    /// The error that this call of `action` meets, if any. Asked once per call, before it takes
    /// effect.
    pub(super) fn before_call(&mut self, action: Ec2Action) -> Option<Ec2Error> {
        let scripts = self.scripts.get_mut(&action)?;
        let script = scripts.front_mut()?;
        script.times = script.times.saturating_sub(1);
        let error = script.error.clone();
        if script.times == 0 {
            scripts.pop_front();
        }
        Some(error)
    }
}
