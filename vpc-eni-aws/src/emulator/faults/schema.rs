//! The keys of a fault file.

use std::time::Duration;

use serde::Deserialize;
use vpc_ipam_core::{
    id::{EniId, InstanceId},
    testkit::ec2::{Ec2Error, Fault},
};

use super::{
    ec2::{self, Ec2Fault},
    metadata::{self, MetadataFault},
    timing::Timing,
};
use crate::emulator::file::{ActionName, ConsistencySpec, DelaysSpec, Span, ThrottlingSpec};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    #[serde(default)]
    pub(super) ec2: Vec<Ec2Fault>,
    #[serde(default)]
    pub(super) imds: Vec<MetadataFault>,
    pub(super) delays: Option<DelaysSpec>,
    pub(super) consistency: Option<ConsistencySpec>,
    pub(super) throttling: Option<ThrottlingSpec>,
}

/// One or several.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Names")]
struct Actions(Vec<ActionName>);

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "action is the name of an action, or a list of names")]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl TryFrom<Names> for Actions {
    type Error = String;

    fn try_from(names: Names) -> Result<Self, String> {
        let names = match names {
            Names::One(name) => vec![name],
            Names::Several(names) => names,
        };
        names.into_iter().map(ActionName::try_from).collect::<Result<_, _>>().map(Self)
    }
}

/// A number or `always`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "times is a number from 1 on, or \"always\"")]
enum Times {
    Number(std::num::NonZeroU32),
    Always(Always),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Always {
    Always,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calls {
    action: ActionName,
    calls: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ec2Spec {
    #[serde(default)]
    action: Actions,
    resource: Option<String>,
    error: Option<String>,
    message: Option<String>,
    #[serde(default)]
    answer_lost: bool,
    fewer: Option<u32>,
    partly: Option<u32>,
    late: Option<Span>,
    times: Option<Times>,
    from_call: Option<std::num::NonZeroU32>,
    after: Option<Span>,
    lasting: Option<Span>,
    after_calls: Option<Calls>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImdsSpec {
    instance: Option<InstanceId>,
    path: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    late: Option<Span>,
    #[serde(default)]
    omit_all: bool,
    eni: Option<EniId>,
    #[serde(default)]
    omit_eni: bool,
    omit_keys: Option<Vec<String>>,
    frozen: Option<Span>,
    times: Option<Times>,
    from_call: Option<std::num::NonZeroU32>,
    after: Option<Span>,
    lasting: Option<Span>,
    after_calls: Option<Calls>,
}

/// What both kinds of fault have.
#[derive(Debug)]
struct TimingSpec {
    times: Option<Times>,
    from_call: Option<std::num::NonZeroU32>,
    after: Option<Span>,
    lasting: Option<Span>,
    after_calls: Option<Calls>,
}

impl TimingSpec {
    fn timing(self, usual: Timing) -> Timing {
        Timing {
            times: match self.times {
                None => usual.times,
                Some(Times::Number(n)) => Some(n.get()),
                Some(Times::Always(Always::Always)) => None,
            },
            from_call: self.from_call.map_or(usual.from_call, std::num::NonZeroU32::get),
            after: self.after.map_or(Duration::ZERO, |span| span.0),
            lasting: self.lasting.map(|span| span.0),
            after_calls: self.after_calls.map(|c| (c.action.0, c.calls)),
        }
    }
}

impl<'de> Deserialize<'de> for Ec2Fault {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ec2Spec::deserialize(from)?.fault().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for MetadataFault {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ImdsSpec::deserialize(from)?.fault().map_err(serde::de::Error::custom)
    }
}

impl Ec2Spec {
    fn fault(self) -> Result<Ec2Fault, &'static str> {
        let error = self.error.map(|code| {
            let message = self.message.clone().unwrap_or_else(|| usual_message(&code).to_owned());
            Ec2Error::new(code, message)
        });
        if self.message.is_some() && error.is_none() {
            return Err("message goes with error; add the code of the error");
        }
        let effect = match (error, self.answer_lost, self.fewer, self.partly, self.late) {
            (Some(error), false, None, None, None) => ec2::Effect::Fault(Fault::Refused(error)),
            (Some(error), false, None, Some(n), None) => {
                ec2::Effect::Fault(Fault::Partly(n, error))
            }
            (error, true, None, None, None) => {
                let error = error.unwrap_or_else(Ec2Error::no_answer);
                ec2::Effect::Fault(Fault::AnswerLost(error))
            }
            (None, false, Some(n), None, None) => ec2::Effect::Fault(Fault::Fewer(n)),
            (None, false, None, None, Some(delay)) => ec2::Effect::Late(delay.0),
            (None, false, None, Some(_), None) => {
                return Err("partly needs the error that follows");
            }
            _ => {
                return Err(
                    "a fault of EC2 has one of error, answer_lost, fewer and late; partly and answer_lost go with error",
                );
            }
        };
        let timing = TimingSpec {
            times: self.times,
            from_call: self.from_call,
            after: self.after,
            lasting: self.lasting,
            after_calls: self.after_calls,
        };
        Ok(Ec2Fault {
            actions: self.action.0.into_iter().map(|action| action.0).collect(),
            resource: self.resource,
            effect,
            timing: timing.timing(Timing::ONCE),
        })
    }
}

impl ImdsSpec {
    fn fault(self) -> Result<MetadataFault, &'static str> {
        self.check()?;
        let usual = if self.meets_requests() { Timing::ONCE } else { Timing::ALWAYS };
        let timing = TimingSpec {
            times: self.times,
            from_call: self.from_call,
            after: self.after,
            lasting: self.lasting,
            after_calls: self.after_calls,
        };
        let path = self.path.unwrap_or_else(|| "/".to_owned());
        let effect = if let Some(status) = self.status {
            metadata::Effect::Status { path, status }
        } else if let Some(body) = self.body {
            metadata::Effect::Body { path, body }
        } else if let Some(delay) = self.late {
            metadata::Effect::Late { path, delay: delay.0 }
        } else if self.omit_eni {
            metadata::Effect::OmitEni(
                self.eni.ok_or("omit_eni needs eni, the ENI that is left out")?,
            )
        } else if let Some(keys) = self.omit_keys {
            metadata::Effect::OmitKeys { eni: self.eni, keys }
        } else if let Some(time) = self.frozen {
            metadata::Effect::Frozen(time.0)
        } else {
            metadata::Effect::OmitAll
        };
        Ok(MetadataFault { instance: self.instance, effect, timing: timing.timing(usual) })
    }

    fn meets_requests(&self) -> bool {
        self.status.is_some() || self.body.is_some() || self.late.is_some()
    }

    /// One effect, and beside it only what goes with it.
    fn check(&self) -> Result<(), &'static str> {
        let given = [
            self.status.is_some(),
            self.body.is_some(),
            self.late.is_some(),
            self.omit_all,
            self.omit_eni,
            self.omit_keys.is_some(),
            self.frozen.is_some(),
        ];
        let counts = self.times.is_some() || self.from_call.is_some();
        let bad = [
            (
                given.iter().filter(|given| **given).count() != 1,
                "a fault of imds has one of status, body, late, omit_all, omit_eni, omit_keys and frozen",
            ),
            (
                self.path.is_some() && !self.meets_requests(),
                "path goes with status, body and late; leave it out",
            ),
            (
                counts && !self.meets_requests(),
                "times and from_call go with status, body and late; use after and lasting",
            ),
            (
                self.eni.is_some() && !self.omit_eni && self.omit_keys.is_none(),
                "eni goes with omit_eni and omit_keys; leave it out",
            ),
            (
                self.status.is_some_and(|status| !(400..=599).contains(&status)),
                "status must be one of HTTP's errors, from 400 to 599",
            ),
            (
                self.frozen.is_some() && (self.lasting.is_some() || self.after_calls.is_some()),
                "frozen has its own length, and starts after a time; leave out lasting and after_calls",
            ),
        ];
        bad.iter().find(|(is_bad, _)| *is_bad).map_or(Ok(()), |(_, why)| Err(*why))
    }
}

/// EC2's own words, where clients read them.
fn usual_message(code: &str) -> &'static str {
    match code {
        "InvalidNetworkInterfaceID.NotFound" => "The networkInterface ID '{id}' does not exist",
        "InvalidSubnetID.NotFound" => "The subnet ID '{id}' does not exist",
        "InvalidInstanceID.NotFound" => "The instance ID '{id}' does not exist",
        "InvalidAttachmentID.NotFound" => "The attachment ID '{id}' does not exist",
        "UnauthorizedOperation" => "You are not authorized to perform this operation.",
        "RequestLimitExceeded" => "Request limit exceeded.",
        _ => "An error that was asked for.",
    }
}
