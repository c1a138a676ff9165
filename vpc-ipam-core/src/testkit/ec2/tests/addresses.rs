//! Addresses and prefixes: limits, exhaustion, fragmentation.

use super::*;

#[test]
fn prefixes_and_addresses_share_the_slots() {
    let mut w = world("10.0.0.0/22", "t3.small");
    let eni = primary(&w);
    assign(&mut w, &eni, Ipv4Request::Secondary(1)).unwrap();
    assign(&mut w, &eni, Ipv4Request::Prefixes(2)).unwrap();
    for more in [Ipv4Request::Secondary(1), Ipv4Request::Prefixes(1)] {
        refused(assign(&mut w, &eni, more), code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED);
    }
    let e = w.eni(&eni).unwrap();
    assert_eq!(e.slots_used(), 3);
    assert_eq!(w.subnets()[0].available_ips(), 1024 - 5 - 1 - 1 - 32);
}

#[test]
fn absurd_counts_are_refused_not_tried() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = primary(&w);
    for n in [Ipv4Request::Secondary(u32::MAX), Ipv4Request::Prefixes(u32::MAX)] {
        refused(assign(&mut w, &eni, n), code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED);
        refused(create(&mut w, Some(n)), code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED);
    }
    refused(assign(&mut w, &eni, Ipv4Request::Secondary(0)), code::INVALID_PARAMETER_VALUE);
}

#[test]
fn a_full_subnet_gives_all_or_nothing() {
    let mut w = world("10.0.0.0/28", "m5.large");
    let eni = primary(&w);
    assign(&mut w, &eni, Ipv4Request::Secondary(8)).unwrap();
    assert_eq!(w.subnets()[0].available_ips(), 2);
    refused(create(&mut w, Some(Ipv4Request::Secondary(2))), code::INSUFFICIENT_FREE_ADDRESSES);
    assert_eq!(w.subnets()[0].available_ips(), 2, "a refused call must not keep addresses");
    create(&mut w, Some(Ipv4Request::Secondary(1))).unwrap();
    refused(create(&mut w, None), code::INSUFFICIENT_FREE_ADDRESSES);
    refused(assign(&mut w, &eni, Ipv4Request::Secondary(1)), code::INSUFFICIENT_FREE_ADDRESSES);
}

#[test]
fn a_fragmented_subnet_has_addresses_but_no_prefix() {
    let mut w = world("10.0.0.0/26", "m5.large");
    let subnet = subnet(&w);
    for ip in ["10.0.0.20", "10.0.0.40"] {
        w.reserve_address(&subnet, ip.parse().unwrap()).unwrap();
    }
    let eni = primary(&w);
    assert_eq!(w.subnets()[0].available_ips(), 64 - 5 - 1 - 2);
    refused(assign(&mut w, &eni, Ipv4Request::Prefixes(1)), code::INSUFFICIENT_CIDR_BLOCKS);
    refused(create(&mut w, Some(Ipv4Request::Prefixes(1))), code::INSUFFICIENT_CIDR_BLOCKS);
    assign(&mut w, &eni, Ipv4Request::Secondary(9)).unwrap();
}

#[test]
fn the_last_block_can_be_a_prefix_or_a_primary_address_but_not_both() {
    let mut w = world("10.0.0.0/27", "m5.large");
    let subnet = subnet(&w);
    for n in 5..16 {
        w.reserve_address(&subnet, std::net::Ipv4Addr::new(10, 0, 0, n)).unwrap();
    }
    // Block 0 is full now, and block 1 holds the reserved last address.
    refused(create(&mut w, Some(Ipv4Request::Prefixes(1))), code::INSUFFICIENT_CIDR_BLOCKS);
    create(&mut w, None).unwrap();
    let mut w = world("10.0.0.0/26", "m5.large");
    for n in (5..16).chain(32..63) {
        w.reserve_address(&self::subnet(&w), std::net::Ipv4Addr::new(10, 0, 0, n)).unwrap();
    }
    assert_eq!(w.subnets()[0].free_prefixes(), 1);
    refused(create(&mut w, Some(Ipv4Request::Prefixes(1))), code::INSUFFICIENT_FREE_ADDRESSES);
    assert_eq!(w.subnets()[0].free_prefixes(), 1);
}

#[test]
fn scattered_addresses_fragment_and_stay_unique() {
    let mut w = config("10.0.0.0/24", "m5.24xlarge")
        .allocation(Allocation::Scattered)
        .seed(7)
        .build()
        .unwrap();
    let eni = primary(&w);
    let got = assign(&mut w, &eni, Ipv4Request::Secondary(40)).unwrap().addresses;
    let mut sorted = got.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 40);
    assert_ne!(sorted, got, "scattered addresses come in no order");
    assert!(w.subnets()[0].free_prefixes() < 13);
    assert_eq!(w.subnets()[0].available_ips(), 256 - 5 - 41);
}

#[test]
fn what_is_not_on_the_eni_cannot_be_taken_from_it() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = primary(&w);
    let primary_ip = w.eni(&eni).unwrap().primary_ip.unwrap();
    let ip = assign(&mut w, &eni, Ipv4Request::Secondary(1)).unwrap().addresses[0];
    let prefix = assign(&mut w, &eni, Ipv4Request::Prefixes(1)).unwrap().prefixes[0];
    let free = w.subnets()[0].available_ips();
    let stranger = "10.0.0.200".parse().unwrap();
    let message =
        refused(unassign(&mut w, &eni, &[primary_ip], &[]), code::INVALID_PARAMETER_VALUE);
    assert!(message.contains("primary"), "{message}");
    refused(unassign(&mut w, &eni, &[ip, stranger], &[]), code::INVALID_PARAMETER_VALUE);
    let elsewhere = "10.0.0.64/28".parse().unwrap();
    refused(unassign(&mut w, &eni, &[ip], &[elsewhere]), code::INVALID_PARAMETER_VALUE);
    refused(unassign(&mut w, &eni, &[], &[]), code::MISSING_PARAMETER);
    assert_eq!(w.subnets()[0].available_ips(), free, "a refused call takes nothing");
    unassign(&mut w, &eni, &[ip], &[prefix]).unwrap();
    assert_eq!(w.subnets()[0].available_ips(), free + 17);
    refused(unassign(&mut w, &eni, &[ip], &[]), code::INVALID_PARAMETER_VALUE);
}

#[test]
fn freed_addresses_come_back() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = primary(&w);
    let first = assign(&mut w, &eni, Ipv4Request::Secondary(3)).unwrap().addresses;
    unassign(&mut w, &eni, &first[1..2], &[]).unwrap();
    let again = assign(&mut w, &eni, Ipv4Request::Secondary(1)).unwrap().addresses;
    assert_eq!(again, first[1..2]);
}

#[test]
fn xen_takes_no_prefixes() {
    let mut w = world("10.0.0.0/24", "m4.large");
    let eni = primary(&w);
    refused(assign(&mut w, &eni, Ipv4Request::Prefixes(1)), code::UNSUPPORTED_OPERATION);
    assign(&mut w, &eni, Ipv4Request::Secondary(9)).unwrap();
    let mut w = world("10.0.0.0/24", "m5.metal");
    let eni = primary(&w);
    assign(&mut w, &eni, Ipv4Request::Prefixes(1)).unwrap();
}

#[test]
fn ipv6_prefixes_need_an_ipv6_subnet() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = primary(&w);
    let request = AssignIpv6Addresses { eni: eni.clone(), prefixes: 1 };
    refused(w.assign_ipv6_addresses(&request, at(0)), code::INVALID_PARAMETER_VALUE);
    let mut with_address = CreateNetworkInterface::new(subnet(&w));
    with_address.ipv6_addresses = 1;
    refused(w.create_network_interface(&with_address, at(0)), code::INVALID_PARAMETER_VALUE);

    w.set_subnet_ipv6(&subnet(&w), "2001:db8::/64".parse().unwrap()).unwrap();
    let prefixes = w.assign_ipv6_addresses(&request, at(0)).unwrap();
    assert_eq!(prefixes[0].len(), 80);
    let new = w.create_network_interface(&with_address, at(0)).unwrap();
    assert_eq!(new.ipv6_addresses.len(), 1);
    let take = UnassignIpv6Addresses { eni, prefixes: prefixes.clone() };
    w.unassign_ipv6_addresses(&take, at(0)).unwrap();
    refused(w.unassign_ipv6_addresses(&take, at(0)), code::INVALID_PARAMETER_VALUE);
    assert_eq!(w.assign_ipv6_addresses(&request, at(0)).unwrap(), prefixes);
}
