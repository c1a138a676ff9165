//! What the embedder is told, and scripted failures.

use std::time::Duration;

use super::*;

#[test]
fn a_new_instance_brings_its_primary_link() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let changes = w.take_changes();
    let [WorldChange::EniAttached(link), WorldChange::AddressesChanged { eni, owned, .. }] =
        &changes[..]
    else {
        panic!("{changes:?}")
    };
    assert!(link.primary);
    assert_eq!(link.instance, instance(&w));
    assert_eq!(link.subnet_cidr.to_string(), "10.0.0.0/24");
    assert_eq!(link.primary_ip.to_string(), "10.0.0.4");
    assert_eq!((eni, owned.len()), (&link.eni, 0));
    assert!(w.take_changes().is_empty());
}

#[test]
fn addresses_are_told_only_once_the_link_is_there() {
    let delays = Delays { link_after_attach: Duration::from_secs(1), ..Delays::NONE };
    let mut w = config("10.0.0.0/24", "m5.large").delays(delays).build().unwrap();
    w.take_changes();
    let eni = create(&mut w, Some(Ipv4Request::Secondary(1))).unwrap().id;
    attach(&mut w, &eni, 1).unwrap();
    assign(&mut w, &eni, Ipv4Request::Prefixes(1)).unwrap();
    assert_eq!(w.take_changes(), []);
    assert_eq!(w.poll_timeout(), Some(at(1_000)));
    w.advance(at(1_000));
    let changes = w.take_changes();
    let [WorldChange::EniAttached(link), WorldChange::AddressesChanged { owned, .. }] =
        &changes[..]
    else {
        panic!("{changes:?}")
    };
    assert!(!link.primary);
    assert_eq!(owned, &w.eni(&eni).unwrap().owned());
    assert_eq!(owned.len(), 2);
}

#[test]
fn taking_addresses_and_leaving_are_told() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = create(&mut w, Some(Ipv4Request::Secondary(2))).unwrap();
    let attachment = attach(&mut w, &eni.id, 1).unwrap();
    w.take_changes();
    unassign(&mut w, &eni.id, &eni.secondary_ips[..1], &[]).unwrap();
    let owned = vec![crate::addr::Prefix::host(eni.secondary_ips[1].into())];
    let primary_ip = eni.primary_ip.unwrap();
    assert_eq!(
        w.take_changes(),
        [WorldChange::AddressesChanged { eni: eni.id.clone(), primary_ip, owned }]
    );
    detach(&mut w, &attachment).unwrap();
    let changes = w.take_changes();
    assert!(matches!(&changes[..], [WorldChange::EniDetached { device: 1, .. }]), "{changes:?}");
}

#[test]
fn a_link_that_never_appeared_does_not_disappear() {
    let delays = Delays { link_after_attach: Duration::from_secs(9), ..Delays::NONE };
    let mut w = config("10.0.0.0/24", "m5.large").delays(delays).build().unwrap();
    w.take_changes();
    let eni = create(&mut w, None).unwrap().id;
    let attachment = attach(&mut w, &eni, 1).unwrap();
    detach(&mut w, &attachment).unwrap();
    w.advance(at(60_000));
    assert_eq!(w.take_changes(), []);
}

#[test]
fn an_eni_that_someone_else_removes_is_gone_everywhere() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let free = w.subnets()[0].available_ips();
    let eni = create(&mut w, Some(Ipv4Request::Prefixes(1))).unwrap().id;
    attach(&mut w, &eni, 1).unwrap();
    w.take_changes();
    let calls = w.calls().clone();
    w.evict_eni(&eni, at(0));
    assert_eq!(w.calls(), &calls);
    assert!(w.eni(&eni).is_none());
    assert_eq!(w.subnets()[0].available_ips(), free);
    assert_eq!(w.imds_view(&instance(&w), at(0)).unwrap().enis.len(), 1);
    assert!(matches!(&w.take_changes()[..], [WorldChange::EniDetached { .. }]));
}

#[test]
fn scripted_failures_come_in_order_and_then_calls_pass() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let faults = w.faults_mut();
    faults.fail(Ec2Action::CreateNetworkInterface, Ec2Error::throttled(), 2);
    faults.fail(Ec2Action::CreateNetworkInterface, Ec2Error::unauthorized(), 1);
    faults.fail(Ec2Action::CreateNetworkInterface, Ec2Error::internal(), 0);
    assert_eq!(faults.pending(), 3);
    for code in
        [code::REQUEST_LIMIT_EXCEEDED, code::REQUEST_LIMIT_EXCEEDED, code::UNAUTHORIZED_OPERATION]
    {
        refused(create(&mut w, None), code);
    }
    assert_eq!(w.enis().count(), 1, "a refused call has no effect");
    create(&mut w, None).unwrap();
    assert_eq!(w.calls()[&Ec2Action::CreateNetworkInterface], 4);
}
