//! Delays, consistency and request rates: what the world is like, at its start or after a fault.

use std::collections::BTreeMap;

use serde::Deserialize;
use vpc_ipam_core::testkit::ec2::{Consistency, Delays, Rate, RequestRates};

use super::{action::ActionName, span::Span};

/// `[delays]`: what is not given stays as it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct DelaysSpec {
    preset: Option<DelaysPreset>,
    attach: Option<Span>,
    detach: Option<Span>,
    attach_to_imds: Option<Span>,
    address_to_imds: Option<Span>,
    link_after_attach: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum DelaysPreset {
    None,
    Usual,
}

impl DelaysSpec {
    pub(in crate::emulator) fn over(&self, present: Delays) -> Delays {
        let base = match self.preset {
            None => present,
            Some(DelaysPreset::None) => Delays::NONE,
            Some(DelaysPreset::Usual) => Delays::USUAL,
        };
        let pick = |span: Option<Span>, base| span.map_or(base, |span| span.0);
        Delays {
            attach: pick(self.attach, base.attach),
            detach: pick(self.detach, base.detach),
            attach_to_imds: pick(self.attach_to_imds, base.attach_to_imds),
            address_to_imds: pick(self.address_to_imds, base.address_to_imds),
            link_after_attach: pick(self.link_after_attach, base.link_after_attach),
        }
    }
}

impl From<Delays> for DelaysSpec {
    fn from(delays: Delays) -> Self {
        Self {
            preset: None,
            attach: Some(Span(delays.attach)),
            detach: Some(Span(delays.detach)),
            attach_to_imds: Some(Span(delays.attach_to_imds)),
            address_to_imds: Some(Span(delays.address_to_imds)),
            link_after_attach: Some(Span(delays.link_after_attach)),
        }
    }
}

/// `[consistency]`: what is not given stays as it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct ConsistencySpec {
    lag: Option<Span>,
    monotonic: Option<bool>,
    unseen: Option<Span>,
}

impl ConsistencySpec {
    pub(in crate::emulator) fn over(&self, present: Consistency) -> Consistency {
        Consistency {
            lag: self.lag.map_or(present.lag, |span| span.0),
            monotonic: self.monotonic.unwrap_or(present.monotonic),
            unseen: self.unseen.map_or(present.unseen, |span| span.0),
        }
    }
}

impl From<Consistency> for ConsistencySpec {
    fn from(consistency: Consistency) -> Self {
        Self {
            lag: Some(Span(consistency.lag)),
            monotonic: Some(consistency.monotonic),
            unseen: Some(Span(consistency.unseen)),
        }
    }
}

/// `[throttling]`: replaces what was there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "ThrottlingKeys")]
pub(in crate::emulator) struct ThrottlingSpec(pub(in crate::emulator) RequestRates);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrottlingKeys {
    #[serde(default)]
    limits: Limits,
    everything: Option<RateSpec>,
    #[serde(default)]
    actions: BTreeMap<ActionName, RateSpec>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Limits {
    Documented,
    #[default]
    Unlimited,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateSpec {
    size: u32,
    refill: u32,
}

impl From<RateSpec> for Rate {
    fn from(spec: RateSpec) -> Self {
        Self { size: spec.size, refill: spec.refill }
    }
}

impl From<ThrottlingKeys> for ThrottlingSpec {
    fn from(keys: ThrottlingKeys) -> Self {
        let mut rates = match keys.limits {
            Limits::Documented => RequestRates::documented(),
            Limits::Unlimited => RequestRates::unlimited(),
        };
        if let Some(rate) = keys.everything {
            rates = rates.with_everything(rate.into());
        }
        let add = |rates: RequestRates, (action, rate): (&ActionName, &RateSpec)| {
            rates.with(action.0, (*rate).into())
        };
        Self(keys.actions.iter().fold(rates, add))
    }
}
