//! Where the load comes from: a generator or a file.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use vpc_ipam_core::{
    testkit::workload::{PodEvent, Span, Trace, Workload},
    time::Time,
};

/// A fleet's load.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    Built(Workload),
    Trace { name: String, trace: Trace },
}

impl Load {
    /// A workload's name, or a file.
    pub(crate) fn find(text: &str) -> anyhow::Result<Self> {
        let unknown = match text.parse() {
            Ok(workload) => return Ok(Self::Built(workload)),
            Err(unknown) => unknown,
        };
        let path = Path::new(text);
        if !path.exists() {
            return Err(unknown).context("and no such file");
        }
        let content = fs::read_to_string(path).with_context(|| format!("read {text}"))?;
        let trace = Trace::parse(&content).with_context(|| format!("read {text}"))?;
        // The name alone: results must not depend on where the file lies.
        let name = path.file_name().map_or_else(|| text.into(), |name| name.to_string_lossy());
        Ok(Self::Trace { name: name.into_owned(), trace })
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Built(workload) => workload.as_str(),
            Self::Trace { name, .. } => name,
        }
    }

    /// How long it is, if it has an end.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match self {
            Self::Built(_) => None,
            // The last pods have a minute to get their address.
            Self::Trace { trace, .. } => {
                Some(trace.end().since(Time::ZERO) + Duration::from_secs(60))
            }
        }
    }

    /// One node's part. The nodes of a trace are dealt out in turn if there are more of ours.
    pub(crate) fn events(&self, span: &Span) -> Vec<PodEvent> {
        match self {
            Self::Built(workload) => workload.events(span),
            Self::Trace { trace, .. } => {
                let nodes: Vec<u32> = trace.nodes().into_iter().collect();
                let turn = usize::try_from(span.node).unwrap_or(0) % nodes.len().max(1);
                let events = nodes.get(turn).map_or(&[][..], |node| trace.events(*node));
                let end = Time::ZERO + span.duration;
                events.iter().copied().take_while(|event| event.at < end).collect()
            }
        }
    }
}
