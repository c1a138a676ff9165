//! The VPC fabric alone: nodes are wired by hand, so that nothing but the fabric is under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[macro_use]
mod vpc;
mod packets;
mod things;

use std::process::ExitCode;

use vpc_datapath_linux::{cases, testkit::harness};

use self::{packets::*, things::*};

/// Makes this program report from a namespace instead of testing.
const ROLE: &str = "FABRIC_NETWORK_ROLE";

fn main() -> ExitCode {
    if std::env::var_os(ROLE).is_some() {
        print!("{}", namespaces());
        return ExitCode::SUCCESS;
    }
    harness::main(&cases![
        packets_flow_between_nodes,
        packets_flow_between_subnets,
        a_spoofed_source_is_dropped_counted_and_explained,
        a_moved_address_works_at_its_new_eni_and_not_at_the_old,
        a_prefix_is_owned_as_a_whole,
        only_primary_addresses_of_primary_enis_reach_the_internet,
        the_internet_reaches_primary_addresses_only,
        addresses_of_nobody_lead_nowhere,
        full_packets_cross_the_vpc_and_too_large_ones_are_told_of_the_internet,
        arp_finds_the_subnet_and_nothing_else,
        a_detached_eni_is_gone_and_its_drops_stay,
        mistakes_are_refused_and_leave_nothing,
        nodes_have_files_and_links_of_their_own,
        pods_come_and_go_with_their_paths,
        programs_start_inside,
    ])
}
