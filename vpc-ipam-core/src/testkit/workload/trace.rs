//! Loads from a file: `seconds,node,pod,start|stop`.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{PodChange, PodEvent};
use crate::time::Time;

/// Most lines of a trace: some 400 MB in memory. A week of a thousand nodes has fewer.
pub const TRACE_EVENTS_MAX: usize = 20_000_000;

/// A recorded load of a fleet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trace {
    nodes: BTreeMap<u32, Vec<PodEvent>>,
}

/// Why a trace cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TraceError {
    /// A line that is not of the form.
    #[error(
        "line {line}: {text:?} is not `seconds,node,pod,start` or `…,stop`, for example `12.5,0,web-1,start`"
    )]
    Malformed {
        /// From 1.
        line: usize,
        /// The line, cut to a sane length.
        text: String,
    },
    /// A pod that starts twice, or stops without having started.
    #[error("line {line}: pod {pod:?} of node {node} {what}")]
    OutOfOrder {
        /// From 1.
        line: usize,
        /// The node.
        node: u32,
        /// The pod.
        pod: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More lines than anyone can look at.
    #[error("more than {TRACE_EVENTS_MAX} lines; cut the trace")]
    TooLong,
}

impl Trace {
    /// Reads CSV of four columns: seconds since the start (decimals allowed), node number from 0,
    /// name of the pod, `start` or `stop`. Lines that start with `#`, empty lines and a heading
    /// `seconds,…` are skipped. A pod that has stopped may start again: it is another pod then.
    ///
    /// # Errors
    ///
    /// If a line is not of that form, or a pod stops that does not run.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lines = Vec::new();
        for (n, text) in text.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') || text.starts_with("seconds,") {
                continue;
            }
            if lines.len() >= TRACE_EVENTS_MAX {
                return Err(TraceError::TooLong);
            }
            let line = n + 1;
            let malformed =
                || TraceError::Malformed { line, text: text.chars().take(80).collect() };
            lines.push(Line::parse(line, text).ok_or_else(malformed)?);
        }
        // A stable sort: what the file says about one moment happens in the file's order.
        lines.sort_by_key(|line| (line.at, line.node));
        let mut trace = Self::default();
        let mut running: BTreeMap<(u32, &str), u32> = BTreeMap::new();
        let mut next: BTreeMap<u32, u32> = BTreeMap::new();
        for line in lines {
            let pod = line.apply(&mut running, next.entry(line.node).or_default())?;
            let event = PodEvent { at: line.at, change: line.change, pod };
            trace.nodes.entry(line.node).or_default().push(event);
        }
        Ok(trace)
    }

    /// The load of one node, by time.
    pub fn events(&self, node: u32) -> &[PodEvent] {
        self.nodes.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Numbers of the nodes that it names.
    pub fn nodes(&self) -> BTreeSet<u32> {
        self.nodes.keys().copied().collect()
    }

    /// The last moment that it names.
    pub fn end(&self) -> Time {
        self.nodes
            .values()
            .filter_map(|events| events.last())
            .map(|e| e.at)
            .max()
            .unwrap_or_default()
    }
}

struct Line<'a> {
    number: usize,
    at: Time,
    node: u32,
    name: &'a str,
    change: PodChange,
}

impl<'a> Line<'a> {
    fn parse(number: usize, text: &'a str) -> Option<Self> {
        let mut fields = text.split(',').map(str::trim);
        let (seconds, node, name, change) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let seconds: f64 = seconds.parse().ok()?;
        // A century; anything later is a time stamp that was not made relative.
        if fields.next().is_some() || name.is_empty() || !(0.0..3.2e9).contains(&seconds) {
            return None;
        }
        let change = match change {
            "start" => PodChange::Starts,
            "stop" => PodChange::Stops,
            _ => return None,
        };
        let at = Time::from_millis((seconds * 1000.0).round() as u64);
        Some(Self { number, at, node: node.parse().ok()?, name, change })
    }

    /// The number of the pod that the line is about.
    fn apply(
        &self,
        running: &mut BTreeMap<(u32, &'a str), u32>,
        next: &mut u32,
    ) -> Result<u32, TraceError> {
        let wrong = |what| TraceError::OutOfOrder {
            line: self.number,
            node: self.node,
            pod: self.name.chars().take(64).collect(),
            what,
        };
        match self.change {
            PodChange::Starts => {
                let pod = *next;
                *next = next.saturating_add(1);
                match running.insert((self.node, self.name), pod) {
                    None => Ok(pod),
                    Some(_) => Err(wrong("starts while it runs")),
                }
            }
            PodChange::Stops => running
                .remove(&(self.node, self.name))
                .ok_or_else(|| wrong("stops, but does not run")),
        }
    }
}
