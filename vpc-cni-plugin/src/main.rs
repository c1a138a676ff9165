//! `aws-cni`: what the container runtime starts for every pod.

#![forbid(unsafe_code)]

use std::{io, process::ExitCode};

use vpc_cni_plugin::{client::IpamdClient, command, kernel::NodeKernel, protocol::Env};

fn main() -> ExitCode {
    let env = Env::from_process();
    command::run(&env, &mut io::stdin().lock(), &IpamdClient::new(), &NodeKernel::new()).emit()
}
