//! Faults of instance metadata.

use std::time::Duration;

use vpc_ipam_core::{
    id::{EniId, InstanceId},
    testkit::ec2::{Ec2Action, ImdsEni, ImdsView},
};

use super::timing::{Timing, timing_methods};

/// Something that goes wrong with instance metadata, of all instances if none is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetadataFault {
    pub(super) instance: Option<InstanceId>,
    pub(super) effect: Effect,
    pub(super) timing: Timing,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    /// Requests at or below the path are answered with that status.
    Status { path: String, status: u16 },
    /// Requests at or below the path are answered with that text.
    Body { path: String, body: String },
    /// Requests at or below the path are answered later.
    Late { path: String, delay: Duration },
    /// No ENI is listed, but the primary one.
    OmitAll,
    /// That ENI is not listed.
    OmitEni(EniId),
    /// Those keys do not exist: of that ENI, or of all but the primary one.
    OmitKeys { eni: Option<EniId>, keys: Vec<String> },
    /// What is shown does not change any more.
    Frozen(Duration),
}

impl MetadataFault {
    /// Requests at or below `path` are answered with that HTTP status, once. `*` stands for any one part
    /// of a path; the token is at `/latest/api/token`.
    pub fn status(status: u16, path: &str) -> Self {
        Self::of(Effect::Status { path: path.to_owned(), status }, Timing::ONCE)
    }

    /// Requests at or below `path` are answered with `body`, once.
    pub fn body(body: &str, path: &str) -> Self {
        Self::of(Effect::Body { path: path.to_owned(), body: body.to_owned() }, Timing::ONCE)
    }

    /// Requests at or below `path` are answered so much later, once.
    pub fn late(delay: Duration, path: &str) -> Self {
        Self::of(Effect::Late { path: path.to_owned(), delay }, Timing::ONCE)
    }

    /// None but the primary ENI is listed, for as long as the fault is there.
    pub fn omit_all() -> Self {
        Self::of(Effect::OmitAll, Timing::ALWAYS)
    }

    /// That ENI is not listed, for as long as the fault is there.
    pub fn omit_eni(eni: EniId) -> Self {
        Self::of(Effect::OmitEni(eni), Timing::ALWAYS)
    }

    /// Those keys of `eni`, or else of all ENIs but the primary one, are not there, for as long as the
    /// fault is there.
    pub fn omit_keys(eni: Option<EniId>, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self::of(Effect::OmitKeys { eni, keys }, Timing::ALWAYS)
    }

    /// For `time`, what was shown when the fault began is shown. Of its timing only
    /// [`after`](Self::after) counts, and an instance has one such fault at a time.
    pub fn frozen(time: Duration) -> Self {
        Self::of(Effect::Frozen(time), Timing::ALWAYS)
    }

    pub(super) fn of(effect: Effect, timing: Timing) -> Self {
        Self { instance: None, effect, timing }
    }

    /// That instance's metadata.
    #[must_use]
    pub fn instance(mut self, id: InstanceId) -> Self {
        self.instance = Some(id);
        self
    }

    timing_methods!();
}

/// True if `path` is `pattern` or below it; `*` stands for any one part.
pub(super) fn is_below(pattern: &str, path: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect()
    };
    let (pattern, path) = (parts(pattern), parts(path));
    pattern.len() <= path.len() && pattern.iter().zip(&path).all(|(p, part)| p == "*" || p == part)
}

/// Takes from a view of metadata what `faults` omit; returns the paths of keys that are not there.
pub(in crate::emulator) fn omit(faults: &[MetadataFault], view: &mut ImdsView) -> Vec<String> {
    let primary = view.primary_mac;
    let mut gone = Vec::new();
    for fault in faults {
        match &fault.effect {
            Effect::OmitAll => view.enis.retain(|eni| eni.mac == primary),
            Effect::OmitEni(id) => view.enis.retain(|eni| eni.id != *id),
            Effect::OmitKeys { eni: id, keys } => {
                let is_meant = |eni: &&ImdsEni| match id {
                    Some(id) => eni.id == *id,
                    None => eni.mac != primary,
                };
                for eni in view.enis.iter().filter(is_meant) {
                    let path = |key: &String| format!("network/interfaces/macs/{}/{key}", eni.mac);
                    gone.extend(keys.iter().map(path));
                }
            }
            _ => {}
        }
    }
    gone
}
