//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

/// EC2 and instance metadata on this machine. When it is ready it prints one line of JSON with the URLs of
/// EC2 and of each instance's metadata, and then serves until SIGTERM or SIGINT.
#[derive(Clone, Debug, Parser)]
#[command(name = "vpc-emulator", version, max_term_width = 100)]
pub(crate) struct Options {
    /// Where EC2 is served; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) ec2: SocketAddr,

    /// Where the metadata of the first instance is served; each further instance has the next port.
    /// With port 0 each gets a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) imds: SocketAddr,

    /// The world: VPCs, subnets and instances [default: one VPC, two zones, a subnet and an m5.large in
    /// each].
    #[arg(long, value_name = "FILE")]
    pub(crate) world: Option<PathBuf>,

    /// What goes wrong, from the start on.
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,

    /// End also when standard input closes, so that a test that dies leaves nothing behind.
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [&["--ec2", "localhost"][..], &["--imds", "127.0.0.1:70000"], &["extra"]] {
            assert!(Options::try_parse_from([&["vpc-emulator"], bad].concat()).is_err(), "{bad:?}");
        }
    }
}
