//! A VPC, its nodes and their pods on this one machine, probed end to end.
//!
//! Everything between a pod and the VPC's router is the real thing: daemon and plugin as processes,
//! the AWS SDK over HTTP, kernel routing and nftables. EC2, instance metadata and the router are this
//! program's own; the router drops and counts what AWS would drop.

#![forbid(unsafe_code)]

mod audit;
mod binaries;
mod capacity;
mod cloud;
mod cni;
mod daemon;
mod evidence;
mod figures;
mod identity;
mod introspect;
mod keep;
mod kubelet;
mod leftovers;
mod node;
mod options;
mod plan;
mod prober;
mod progress;
mod render;
mod run;
mod sabotage;
mod scene;
mod setup;
mod verdict;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use vpc_datapath_linux::testkit::sandbox::{self, SandboxOptions};

use crate::{
    binaries::Binaries, options::Options, progress::Progress, run::Ending, setup::Setup,
    verdict::Verdict,
};

/// The run took place and something was wrong.
const FAILED: u8 = 1;
/// The run could not take place.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    match start(Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vpc-in-a-box: {error:#}");
            ExitCode::from(REFUSED)
        }
    }
}

fn start(options: Options) -> anyhow::Result<ExitCode> {
    // Before the sandbox, so that a wish that cannot come true costs nothing.
    let setup = Setup::new(options)?;
    let binaries = Binaries::find(setup.options.bin_dir.as_deref())?;
    let mut sandbox = SandboxOptions::default();
    sandbox.user_namespace = !setup.options.no_userns;
    sandbox::enter(&sandbox)?;

    let json = setup.options.json;
    let progress = Progress::new(setup.options.quiet, json);
    let Ending { verdict, kept } = run::run(&setup, &binaries, &progress);
    tell(&verdict, &progress, json).context("print the verdict")?;
    if let Some((scene, pods)) = kept {
        keep::stay(&scene, &pods, &progress);
    }
    Ok(if verdict.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// To a person on one stream; with `--json` to a program on the other.
fn tell(verdict: &Verdict, progress: &Progress, json: bool) -> anyhow::Result<()> {
    progress.say(verdict.render(progress.paint()).trim_end());
    if json {
        writeln!(std::io::stdout(), "{}", verdict.to_json()?)?;
    }
    Ok(())
}
