//! The command line.

use std::{ffi::OsString, fmt, path::PathBuf};

use clap::{Parser, ValueEnum};
use vpc_ipam_core::config::AllocationMode;

/// Each node costs a daemon process and two namespaces; past this a laptop measures itself.
const NODES_MAX: u16 = 32;
/// Each pod costs a namespace and two echo servers; the kernel's limits on links come soon after.
const PODS_MAX: u32 = 4_000;

/// A VPC, its nodes and their pods on this one machine: real daemon, real plugin, real AWS SDK, real
/// kernel networking, and a router that drops what AWS would drop.
#[derive(Clone, Debug, Parser)]
#[command(name = "vpc-in-a-box", version, max_term_width = 100)]
pub(crate) struct Options {
    /// Nodes (EC2 instances) to start.
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    pub(crate) nodes: u16,

    /// Pods to run, over all nodes.
    #[arg(long, value_name = "N", default_value_t = 40,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(PODS_MAX)))]
    pub(crate) pods: u32,

    /// EC2 instance type of every node; it decides how many ENIs and addresses there are.
    #[arg(long, value_name = "T", default_value = "m5.large")]
    pub(crate) instance_type: String,

    /// What ENIs hold for pods: single secondary addresses, or /28 prefixes.
    #[arg(long, value_enum, default_value_t = Mode::Secondary)]
    pub(crate) mode: Mode,

    /// Pods that one node may run [default: what its instance type holds].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_pods: Option<u32>,

    /// Print one JSON object as the last line; everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,

    /// Leave everything up after the probes and print how to look inside; Ctrl-C ends it.
    #[arg(long)]
    pub(crate) keep: bool,

    /// Seed of container ids and of the emulator's choices.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// rp_filter that the operating system has set on a node's interfaces before anything starts.
    #[arg(long, value_name = "0|1|2", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) rp_filter: u8,

    /// Directory of `aws-k8s-agent` and `aws-cni` [default: beside this program].
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,

    /// Do without a user namespace; needs root.
    #[arg(long)]
    pub(crate) no_userns: bool,

    /// No progress, only the verdict.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Time from EC2's answer to an attachment until instance metadata shows it, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) attach_delay_ms: u64,

    /// Time from EC2's answer to an attachment until the kernel shows the link, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) link_delay_ms: u64,

    /// What goes wrong with EC2 and instance metadata from the start on: a fault file of the emulator
    /// (docs/emulator.md).
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,

    /// CNI specification version that the runtime speaks.
    #[arg(long, value_name = "V", value_enum, default_value_t = CniVersion::V1_0_0)]
    pub(crate) cni_version: CniVersion,

    /// Break the datapath before the probes, to see that the verdict notices.
    #[arg(long, value_enum, hide = true)]
    pub(crate) sabotage: Option<Sabotage>,

    /// Kill every node's daemon (SIGKILL) once this many pods are up, and start it again.
    #[arg(long, value_name = "PODS", hide = true)]
    pub(crate) kill_ipamd_at: Option<u32>,
}

impl Options {
    /// Settings of the daemon that the box takes from its own environment, such as
    /// `WARM_IP_TARGET=5`: the user's wish wins over the box's default.
    pub(crate) fn passed_through(name: &str) -> Option<OsString> {
        std::env::var_os(name).filter(|value| !value.is_empty())
    }
}

/// What ENIs hold for pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    Secondary,
    Prefix,
}

impl From<Mode> for AllocationMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Secondary => Self::Secondary,
            Mode::Prefix => Self::Prefix,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secondary => "secondary",
            Self::Prefix => "prefix",
        })
    }
}

/// CNI specification versions that today's runtimes speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum CniVersion {
    #[value(name = "0.4.0")]
    V0_4_0,
    #[value(name = "1.0.0")]
    V1_0_0,
}

impl CniVersion {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
        }
    }
}

/// Ways to break the datapath that the probes must notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Sabotage {
    /// Pods' packets are no longer sorted by ENI: all leave by the primary one.
    NoSourceMap,
    /// Pods keep their own address towards the internet.
    NoSnat,
    /// The rules of two ENIs lead to each other's table.
    WrongTable,
    /// Secondary ENIs check the reverse path strictly.
    StrictRpFilter,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["vpc-in-a-box"], args].concat())
    }

    #[test]
    fn the_command_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn defaults_are_two_nodes_and_forty_pods() {
        let o = parse(&[]).unwrap();
        assert_eq!((o.nodes, o.pods, o.mode), (2, 40, Mode::Secondary));
        assert_eq!(o.instance_type, "m5.large");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &["--nodes", "0"][..],
            &["--pods", "0"],
            &["--pods", "-1"],
            &["--rp-filter", "3"],
            &["--mode", "ipv6"],
            &["--max-pods", "0"],
            &["extra"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
