//! Faults of EC2 calls.

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action, Ec2Error, Fault};

use super::timing::{Timing, timing_methods};

/// Something that goes wrong with EC2 calls: by default with the next call of any action, once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ec2Fault {
    pub(super) actions: Vec<Ec2Action>,
    pub(super) resource: Option<String>,
    pub(super) effect: Effect,
    pub(super) timing: Timing,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    /// The model lets it happen.
    Fault(Fault),
    /// The answer is late.
    Late(Duration),
}

impl Ec2Fault {
    /// What happens to the calls that meet it.
    pub fn new(fault: Fault) -> Self {
        Self::of(Effect::Fault(fault))
    }

    /// They have no effect and are answered with that error. `{id}` in the message stands for the id that
    /// the call names.
    pub fn refused(code: &str, message: &str) -> Self {
        Self::new(Fault::Refused(Ec2Error::new(code.to_owned(), message)))
    }

    /// They have no effect: the credentials do not allow them.
    pub fn unauthorized() -> Self {
        Self::new(Fault::Refused(Ec2Error::unauthorized()))
    }

    /// They have no effect: the account calls too often.
    pub fn throttled() -> Self {
        Self::new(Fault::Refused(Ec2Error::throttled()))
    }

    /// They take effect, and the caller hears of a gateway that got no answer.
    pub fn answer_lost() -> Self {
        Self::new(Fault::AnswerLost(Ec2Error::no_answer()))
    }

    /// They assign at most so many of the addresses or prefixes that were asked for.
    pub fn fewer(n: u32) -> Self {
        Self::new(Fault::Fewer(n))
    }

    /// They take effect at once, and are answered so much later.
    pub fn late(delay: Duration) -> Self {
        Self::of(Effect::Late(delay))
    }

    pub(super) fn of(effect: Effect) -> Self {
        Self { actions: Vec::new(), resource: None, effect, timing: Timing::ONCE }
    }

    /// Calls of that action; of several, if it is given several times.
    #[must_use]
    pub fn on(mut self, action: Ec2Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Calls that name that id: of an ENI, a subnet, an instance, an attachment or another resource.
    #[must_use]
    pub fn resource(mut self, id: &str) -> Self {
        self.resource = Some(id.to_owned());
        self
    }

    timing_methods!();
}
