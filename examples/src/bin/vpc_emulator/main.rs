//! EC2 and instance metadata on this machine, for anyone's tests: no AWS account, no SDK.

#![forbid(unsafe_code)]

mod listeners;
mod options;
mod ready;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

use crate::options::Options;

fn main() -> ExitCode {
    match run::run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vpc-emulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
