//! Faults that may still be met, in words.

use vpc_ipam_core::{
    testkit::ec2::{Ec2Action, Fault, Script, When, World},
    time::Time,
};

use super::metadata::{Effect, MetadataFault};
use crate::emulator::{FaultState, server::Shared};

/// In the order of injection, EC2's first.
pub(in crate::emulator) fn pending(shared: &Shared, world: &World, now: Time) -> Vec<FaultState> {
    let ec2 = world.faults().scripts().iter().map(|s| state("ec2", script(s), &s.when, now));
    let late = shared.latencies.list().into_iter().map(|l| {
        let what = format!("{}: answered {:?} late", calls(&l.actions, &l.when), l.delay);
        state("ec2", what, &l.when, now)
    });
    let imds = shared.imds.faults.list().into_iter();
    let imds = imds.map(|a| state("imds", metadata(&a.fault), &a.when, now));
    let all: Vec<(bool, FaultState)> = ec2.chain(late).chain(imds).collect();
    all.into_iter().filter(|(over, _)| !over).map(|(_, state)| state).collect()
}

fn state(of: &'static str, what: String, when: &When, now: Time) -> (bool, FaultState) {
    let state = FaultState {
        of,
        what,
        times_left: when.times,
        passes_first: when.skip,
        from_ms: when.from.filter(|from| *from > now).map(Time::as_millis),
        until_ms: when.until.map(Time::as_millis),
    };
    (when.is_over(now), state)
}

fn script(script: &Script) -> String {
    let effect = match &script.fault {
        Fault::AnswerLost(error) => format!("takes effect, answered {}", error.code),
        Fault::Fewer(n) => format!("assigns at most {n}"),
        Fault::Partly(n, error) => format!("takes {n}, answered {}", error.code),
        Fault::Refused(error) => format!("refused with {}", error.code),
        other => format!("{other:?}"),
    };
    format!("{}: {effect}", calls(&script.actions, &script.when))
}

fn calls(actions: &[Ec2Action], when: &When) -> String {
    let names: Vec<&str> = actions.iter().map(|a| a.as_str()).collect();
    let names = if names.is_empty() { "every call".to_owned() } else { names.join(", ") };
    match &when.resource {
        Some(id) => format!("{names} on {id}"),
        None => names,
    }
}

fn metadata(fault: &MetadataFault) -> String {
    let effect = match &fault.effect {
        Effect::Status { path, status } => format!("{path} answered {status}"),
        Effect::Body { path, .. } => format!("{path} answered with another text"),
        Effect::Late { path, delay } => format!("{path} answered {delay:?} late"),
        Effect::OmitAll => "no ENI but the primary one is listed".to_owned(),
        Effect::OmitEni(eni) => format!("{eni} is not listed"),
        Effect::OmitKeys { eni: Some(eni), keys } => format!("{eni} has no {}", keys.join(", ")),
        Effect::OmitKeys { eni: None, keys } => {
            format!("ENIs but the primary one have no {}", keys.join(", "))
        }
        Effect::Frozen(time) => format!("frozen for {time:?}"),
    };
    match &fault.instance {
        Some(id) => format!("{id}: {effect}"),
        None => effect,
    }
}
