//! The command line.

use std::{fmt::Write as _, path::PathBuf};

use clap::Parser;
use vpc_ipam_core::testkit::workload::Workload;

use crate::{
    fault::Fault,
    policy::{self, Policy},
};

/// At 5 MB of results per policy and thousand nodes; past this the series would fill a laptop.
const NODES_MAX: u32 = 100_000;
/// Four weeks.
const HOURS_MAX: f64 = 672.0;

/// Nodes in virtual time: the warm pool that ships, on a model of EC2, under a load and with failures
/// of your choice. The same seed gives the same results, byte for byte.
#[derive(Clone, Debug, Parser)]
#[command(name = "simulate", version, max_term_width = 100)]
pub(crate) struct Options {
    /// Nodes of the fleet, each with a subnet of its own.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(NODES_MAX)))]
    pub(crate) nodes: u32,

    /// Simulated time [default: 24, or the length of the trace].
    #[arg(long, value_name = "H", value_parser = hours)]
    pub(crate) hours: Option<f64>,

    /// A load by name (see --list), `all` of them one after the other, or a CSV file of
    /// `seconds,node,pod,start|stop`.
    #[arg(long, value_name = "NAME|FILE", default_value = "daily")]
    pub(crate) workload: String,

    /// A policy by name (see --list) or settings such as `WARM_IP_TARGET=5,MINIMUM_IP_TARGET=10`;
    /// repeat it to compare [default: warm-eni, warm-ip and warm-prefix].
    #[arg(long = "policy", value_name = "NAME|SETTINGS")]
    pub(crate) policies: Vec<Policy>,

    /// Failures by name (see --list), separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) faults: Vec<Fault>,

    /// EC2 instance type of every node.
    #[arg(long, value_name = "T", default_value = "m5.xlarge")]
    pub(crate) instance_type: String,

    /// Most pods of a node [default: the secondary addresses that its type holds, at most 110].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max_pods: Option<u32>,

    /// Decides loads, latencies and ids.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Where report.html, summary.csv, pool.csv and waits.csv go; with `all`, one directory per load.
    #[arg(long, value_name = "DIR", default_value = "target/simulation")]
    pub(crate) out: PathBuf,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub(crate) json: bool,

    /// Threads [default: one per CPU]. The results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,

    /// No progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// List workloads, policies and faults, and exit.
    #[arg(long)]
    pub(crate) list: bool,
}

/// The workload that stands for each of the built-in ones.
const ALL: &str = "all";

impl Options {
    /// The runs that were asked for: one, or one for each built-in workload, in a directory of its own.
    /// `None`: a single run.
    pub(crate) fn each_workload(&self) -> Option<Vec<Self>> {
        let run = |workload: &Workload| {
            let name = workload.as_str();
            Self { workload: name.to_owned(), out: self.out.join(name), ..self.clone() }
        };
        (self.workload == ALL).then(|| Workload::ALL.iter().map(run).collect())
    }
}

fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.0 / 60.0..=HOURS_MAX).contains(&hours) {
        Ok(hours)
    } else {
        Err(format!("must lie between a minute (0.02) and {HOURS_MAX}"))
    }
}

/// All names that the options know, with a line about each.
pub(crate) fn catalog() -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<(&str, &str)>| {
        let _ = writeln!(text, "{title}");
        for (name, about) in lines {
            let _ = writeln!(text, "  {name:<16}{about}");
        }
    };
    let mut loads: Vec<_> = Workload::ALL.iter().map(|w| (w.as_str(), w.about())).collect();
    loads.push((ALL, "each of them, compared in one table"));
    section("workloads", loads);
    section("policies", policy::NAMED.iter().map(|p| (p.name, p.about)).collect());
    section("faults", Fault::ALL.iter().map(|f| (f.as_str(), f.about())).collect());
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &["--nodes", "0"][..],
            &["--hours", "0"],
            &["--hours", "NaN"],
            &["--policy", "WARM_IP_TARGET"],
            &["--policy", "WARM_PONY_TARGET=1"],
            &["--faults", "meteor"],
            &["extra"],
        ] {
            assert!(Options::try_parse_from([&["simulate"], bad].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn everything_with_a_name_is_listed() {
        let text = catalog();
        for name in ["daily", "drain", "warm-eni", "warm-prefix", "throttled", "restarts"] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }
}
