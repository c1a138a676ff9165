//! Calls that fail half-way, late answers, broken metadata, request rates, and other people.

use std::time::Duration;

use super::*;
use crate::testkit::ec2::world::World;

fn describe(world: &mut World, ids: Vec<EniId>, now: Time) -> Result<Vec<Eni>, Ec2Error> {
    let request = DescribeNetworkInterfaces { ids, ..DescribeNetworkInterfaces::default() };
    world.describe_network_interfaces(&request, now).map(|page| page.items)
}

#[test]
fn an_answer_that_is_lost_does_not_undo_the_call() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let eni = primary(&world);
    let lost = Fault::AnswerLost(Ec2Error::no_answer());
    world.faults_mut().meet(Ec2Action::AssignPrivateIpAddresses, lost.clone(), 1);
    refused(assign(&mut world, &eni, Ipv4Request::Secondary(2)), code::NO_ANSWER);
    assert_eq!(world.eni(&eni).unwrap().secondary_ips.len(), 2);
    // What is refused anyway is refused with its own reason.
    world.faults_mut().meet(Ec2Action::AssignPrivateIpAddresses, lost, 1);
    let too_many = assign(&mut world, &eni, Ipv4Request::Secondary(20));
    refused(too_many, code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED);
    assert_eq!(world.faults_mut().pending(), 0);
}

#[test]
fn fewer_addresses_than_asked_for_are_a_success() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let eni = primary(&world);
    world.faults_mut().meet(Ec2Action::AssignPrivateIpAddresses, Fault::Fewer(2), 1);
    let got = assign(&mut world, &eni, Ipv4Request::Secondary(5)).unwrap();
    assert_eq!(got.addresses.len(), 2);
    assert_eq!(assign(&mut world, &eni, Ipv4Request::Secondary(5)).unwrap().addresses.len(), 5);
}

#[test]
fn a_release_that_stops_half_way_has_taken_the_first_ones() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let eni = primary(&world);
    let ips = assign(&mut world, &eni, Ipv4Request::Secondary(4)).unwrap().addresses;
    let action = Ec2Action::UnassignPrivateIpAddresses;
    let half = |n| Fault::Partly(n, Ec2Error::internal());
    for (n, left) in [(0, 4), (3, 1)] {
        world.faults_mut().meet(action, half(n), 1);
        refused(unassign(&mut world, &eni, &ips, &[]), code::INTERNAL_ERROR);
        assert_eq!(world.eni(&eni).unwrap().secondary_ips, ips[4 - left..]);
    }
}

#[test]
fn a_creation_nobody_heard_of_is_found_by_its_token() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let lost = Fault::AnswerLost(Ec2Error::no_answer());
    world.faults_mut().meet(Ec2Action::CreateNetworkInterface, lost, 1);
    let mut request = CreateNetworkInterface::new(subnet(&world));
    request.client_token = Some("a".to_owned());
    let now = world.now();
    refused(world.create_network_interface(&request, now), code::NO_ANSWER);
    let made = world.enis().find(|eni| eni.attachment.is_none()).unwrap().clone();
    assert!(world.is_abandoned(&made));
    assert_eq!(world.create_network_interface(&request, now).unwrap().id, made.id);
    assert!(!world.is_abandoned(&made));
}

#[test]
fn a_describe_shows_what_was_and_no_further_back_than_told() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let eni = primary(&world);
    let lag = Duration::from_secs(10);
    world.set_consistency(Consistency { lag, ..Consistency::STRONG });
    world.advance(at(60_000));
    assign(&mut world, &eni, Ipv4Request::Secondary(1)).unwrap();
    let count = |world: &mut World, now| {
        describe(world, vec![eni.clone()], now).unwrap()[0].secondary_ips.len()
    };
    let seen: Vec<usize> = (0..50).map(|n| count(&mut world, at(65_000 + n))).collect();
    assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
    assert!((0..50).all(|n| count(&mut world, at(70_000 + n)) == 1));
    // An ENI that is gone may still be shown, and one that is new may not.
    let loose = create(&mut world, None).unwrap().id;
    world.evict_eni(&loose, at(80_000));
    let shows = |world: &mut World, now| describe(world, vec![loose.clone()], now).is_ok();
    assert!((0..50).any(|n| shows(&mut world, at(80_000 + n))));
    assert!(!(0..50).any(|n| shows(&mut world, at(90_001 + n))));
}

#[test]
fn a_monotonic_reader_never_looks_back() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let eni = primary(&world);
    let lag = Duration::from_secs(10);
    world.set_consistency(Consistency { lag, monotonic: true, ..Consistency::STRONG });
    let mut last = 0;
    for n in 0..200 {
        if n % 20 == 0 {
            world.advance(at(1000 * n));
            assign(&mut world, &eni, Ipv4Request::Secondary(1)).ok();
        }
        let seen = describe(&mut world, vec![eni.clone()], at(1000 * n)).unwrap();
        let count = seen[0].secondary_ips.len();
        assert!(count >= last, "{count} after {last}");
        last = count;
    }
    assert!(last > 5);
}

#[test]
fn a_new_eni_is_unknown_for_a_while() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let unseen = Duration::from_secs(5);
    world.set_consistency(Consistency { unseen, ..Consistency::STRONG });
    let enis: Vec<EniId> = (0..8).map(|_| create(&mut world, None).unwrap().id).collect();
    let known = |world: &mut World, now| {
        let found = |eni: &&EniId| describe(world, vec![(*eni).clone()], now).is_ok();
        enis.iter().filter(found).count()
    };
    assert!(known(&mut world, at(0)) < 8);
    let hidden = enis.iter().find(|eni| describe(&mut world, vec![(*eni).clone()], at(0)).is_err());
    let hidden = hidden.unwrap().clone();
    refused(attach(&mut world, &hidden, 1), code::INVALID_INTERFACE_NOT_FOUND);
    world.reveal_eni(&hidden);
    attach(&mut world, &hidden, 1).unwrap();
    assert_eq!(known(&mut world, at(5_000)), 8);
}

#[test]
fn every_instance_draws_on_the_same_buckets() {
    let mut world = config("10.0.0.0/24", "m5.large").instance(0, "m5.large").build().unwrap();
    world.set_request_rates(&RequestRates::documented());
    let enis: Vec<EniId> = world.instances().iter().map(|i| i.primary_eni.clone()).collect();
    let action = Ec2Action::AssignPrivateIpAddresses;
    let mut passed = 0;
    for n in 0..100 {
        let request =
            AssignPrivateIpAddresses { eni: enis[n % 2].clone(), ipv4: Ipv4Request::Secondary(0) };
        match world.assign_private_ip_addresses(&request, at(0)) {
            Err(e) if e.code == code::REQUEST_LIMIT_EXCEEDED => {}
            _ => passed += 1,
        }
    }
    assert_eq!((passed, world.throttled()[&action], world.calls()[&action]), (50, 50, 100));
    world.set_request_rates(&RequestRates::unlimited());
    assign(&mut world, &enis[0], Ipv4Request::Secondary(1)).unwrap();
}

#[test]
fn a_fragmented_subnet_has_addresses_and_no_prefix_until_others_leave() {
    for (cidr, singles) in [("10.0.0.0/24", 40), ("10.0.0.0/26", 500), ("10.0.0.0/20", 1)] {
        let mut world = world(cidr, "m5.large");
        let (subnet, eni) = (subnet(&world), primary(&world));
        let before = world.subnets()[0].available_ips();
        let left = world.fragment_subnet(&subnet, singles).unwrap();
        assert!(left <= singles.min(before), "{cidr}: {left}");
        assert_eq!((world.subnets()[0].free_prefixes(), left > 0), (0, true), "{cidr}");
        refused(assign(&mut world, &eni, Ipv4Request::Prefixes(1)), code::INSUFFICIENT_CIDR_BLOCKS);
        assign(&mut world, &eni, Ipv4Request::Secondary(1)).unwrap();
        let freed = world.defragment_subnet(&subnet, 1).unwrap();
        assert_eq!((freed, world.subnets()[0].free_prefixes()), (1, 1), "{cidr}");
        assign(&mut world, &eni, Ipv4Request::Prefixes(1)).unwrap();
    }
}

#[test]
fn metadata_freezes_omits_empties_and_fails() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let (id, eni) = (instance(&world), primary(&world));
    let addresses = |world: &World, now| {
        let view = world.imds_view(&id, now).unwrap();
        view.enis.iter().map(|eni| eni.local_ipv4s.len()).collect::<Vec<_>>()
    };
    world.break_imds(&id, ImdsFault::Frozen(Duration::from_secs(600)), at(1_000));
    for n in 2..40 {
        world.advance(at(1000 * n));
        assign(&mut world, &eni, Ipv4Request::Secondary(1)).ok();
    }
    assert_eq!(addresses(&world, at(600_999)), [1]);
    assert_eq!(addresses(&world, at(601_000)), [10]);
    world.break_imds(&id, ImdsFault::Omits(eni), at(700_000));
    assert!(addresses(&world, at(700_000)).is_empty());
    world.heal_imds(&id);
    world.break_imds(&id, ImdsFault::Empty, at(700_000));
    assert!(addresses(&world, at(700_000)).is_empty());
    world.break_imds(&id, ImdsFault::Status(404), at(700_000));
    assert_eq!(world.imds_status(&id), Some(404));
    world.heal_imds(&id);
    assert_eq!((addresses(&world, at(700_000)), world.imds_status(&id)), (vec![10], None));
}

#[test]
fn others_attach_change_and_detach_without_a_call_being_counted() {
    let mut world = world("10.0.0.0/24", "m5.large");
    let id = instance(&world);
    world.faults_mut().fail(Ec2Action::CreateNetworkInterface, Ec2Error::internal(), 1);
    let guest = ForeignEni { kind: InterfaceType::Trunk, ..ForeignEni::default() };
    let trunk = world.attach_foreign(&id, &guest, at(1)).unwrap();
    assert_eq!(world.eni(&trunk).unwrap().attachment.as_ref().unwrap().device, 1);
    let got = world.assign_foreign(&trunk, Ipv4Request::Secondary(3), at(2)).unwrap();
    let first = crate::addr::Prefix::host(got.addresses[0].into());
    world.unassign_foreign(&trunk, &[first], at(3)).unwrap();
    world.tag_foreign(trunk.as_str(), "a", "b", at(4)).unwrap();
    assert_eq!(world.eni(&trunk).unwrap().secondary_ips, got.addresses[1..]);
    world.detach_foreign(&trunk, at(5));
    let loose = world.eni(&trunk).unwrap();
    assert!(loose.attachment.is_none() && loose.tags["a"] == "b" && world.is_abandoned(loose));
    assert!(world.calls().is_empty());
    // A full instance has no place, and nothing stays behind.
    let plain = ForeignEni::default();
    world.attach_foreign(&id, &plain, at(6)).unwrap();
    world.attach_foreign(&id, &plain, at(6)).unwrap();
    let enis = world.enis().count();
    refused(world.attach_foreign(&id, &plain, at(6)), code::ATTACHMENT_LIMIT_EXCEEDED);
    assert_eq!(world.enis().count(), enis);
}
