//! An address as the daemon hands it out.

use std::net::IpAddr;

use thiserror::Error;
use vpc_ipam_core::datapath::{MAIN_TABLE, PodAddress};

use crate::rpc::IpAllocationMetadata;

/// Why an allocation cannot be wired.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum AllocationError {
    #[error("it has no address")]
    Empty,
    #[error("{0:?} is not an IP address")]
    NotAnAddress(String),
    #[error("{0} is not a routing table")]
    NotATable(i32),
}

/// Reads one allocation; IPv4 is preferred if there are both.
pub(super) fn address(allocation: &IpAllocationMetadata) -> Result<PodAddress, AllocationError> {
    let text = [&allocation.ipv4_addr, &allocation.ipv6_addr].into_iter().find(|a| !a.is_empty());
    let text = text.ok_or(AllocationError::Empty)?;
    let ip: IpAddr = text.parse().map_err(|_| AllocationError::NotAnAddress(text.clone()))?;
    let table = u32::try_from(allocation.route_table_id)
        .map_err(|_| AllocationError::NotATable(allocation.route_table_id))?;
    // A branch ENI has no device number; nothing is derived from it.
    let device = u32::try_from(allocation.device_number).unwrap_or_default();
    Ok(PodAddress { ip, table: main_if_old(table), device })
}

/// Older daemons and results say 0 or 1 for the primary ENI, whose table is main.
pub(super) fn main_if_old(table: u32) -> u32 {
    if table <= 1 { MAIN_TABLE } else { table }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn allocation(v4: &str, v6: &str, device_number: i32, table: i32) -> IpAllocationMetadata {
        IpAllocationMetadata {
            ipv4_addr: v4.into(),
            ipv6_addr: v6.into(),
            device_number,
            route_table_id: table,
        }
    }

    #[test]
    fn addresses_of_both_families_and_all_eras() {
        let got = address(&allocation("10.0.1.5", "::1", 1, 2)).unwrap();
        assert_eq!(got, PodAddress { ip: "10.0.1.5".parse().unwrap(), table: 2, device: 1 });
        assert_eq!(address(&allocation("", "fd00::5", 0, 254)).unwrap().ip.to_string(), "fd00::5");
        for table in [0, 1, 254] {
            assert_eq!(address(&allocation("10.0.0.5", "", 0, table)).unwrap().table, MAIN_TABLE);
        }
        assert_eq!(address(&allocation("10.0.0.5", "", -1, 0)).unwrap().device, 0);
    }

    #[test]
    fn what_cannot_be_wired_says_why() {
        assert_eq!(address(&allocation("", "", 1, 2)), Err(AllocationError::Empty));
        for bad in ["10.0.0", "10.0.0.5/32", " 10.0.0.5", "x"] {
            let want = Err(AllocationError::NotAnAddress(bad.into()));
            assert_eq!(address(&allocation(bad, "", 1, 2)), want);
        }
        assert_eq!(
            address(&allocation("10.0.0.5", "", 1, -2)),
            Err(AllocationError::NotATable(-2))
        );
    }
}
