//! Instance metadata is late in both directions.

use std::time::Duration;

use super::*;

fn late() -> World {
    let delays = Delays {
        attach_to_imds: Duration::from_secs(10),
        address_to_imds: Duration::from_secs(4),
        ..Delays::NONE
    };
    config("10.0.0.0/24", "m5.large").delays(delays).build().unwrap()
}

fn ips(w: &World, eni: &EniId, ms: u64) -> Option<usize> {
    let view = w.imds_view(&instance(w), at(ms)).unwrap();
    view.enis.iter().find(|e| e.id == *eni).map(|e| e.local_ipv4s.len())
}

#[test]
fn the_primary_eni_is_there_from_the_start() {
    let w = late();
    let view = w.imds_view(&instance(&w), at(0)).unwrap();
    assert_eq!(view.enis.len(), 1);
    assert_eq!(view.enis[0].local_ipv4s, [view.primary_ip]);
    assert_eq!(view.enis[0].card, None);
    assert_eq!(view.primary_mac, w.eni(&primary(&w)).unwrap().mac);
    assert!(w.imds_view(&InstanceId::new("i-gone").unwrap(), at(0)).is_none());
}

#[test]
fn added_addresses_appear_late_and_removed_ones_linger() {
    let mut w = late();
    let eni = primary(&w);
    let ip = assign(&mut w, &eni, Ipv4Request::Secondary(1)).unwrap().addresses;
    assert_eq!(ips(&w, &eni, 3_999), Some(1));
    assert_eq!(ips(&w, &eni, 4_000), Some(2));
    w.advance(at(10_000));
    unassign(&mut w, &eni, &ip, &[]).unwrap();
    assert_eq!(ips(&w, &eni, 13_999), Some(2));
    assert_eq!(ips(&w, &eni, 14_000), Some(1));
}

#[test]
fn attached_enis_appear_late_and_detached_ones_linger() {
    let mut w = late();
    let eni = create(&mut w, None).unwrap().id;
    let attachment = attach(&mut w, &eni, 1).unwrap();
    assert_eq!(ips(&w, &eni, 9_999), None);
    assert_eq!(ips(&w, &eni, 10_000), Some(1));
    w.advance(at(20_000));
    detach(&mut w, &attachment).unwrap();
    w.delete_network_interface(&eni, at(20_000)).unwrap();
    assert_eq!(ips(&w, &eni, 29_999), Some(1));
    assert_eq!(ips(&w, &eni, 30_000), None);
}

#[test]
fn a_quick_change_does_not_overtake_a_slow_one() {
    let mut w = late();
    let eni = create(&mut w, None).unwrap().id;
    attach(&mut w, &eni, 1).unwrap();
    assign(&mut w, &eni, Ipv4Request::Secondary(2)).unwrap();
    assert_eq!(ips(&w, &eni, 4_000), None);
    assert_eq!(ips(&w, &eni, 10_000), Some(3));
}

#[test]
fn only_what_can_still_be_seen_is_kept() {
    let mut w = late();
    let eni = primary(&w);
    for n in 0..100u64 {
        w.advance(at(n * 5_000));
        let ip = assign(&mut w, &eni, Ipv4Request::Secondary(1)).unwrap().addresses;
        unassign(&mut w, &eni, &ip, &[]).unwrap();
    }
    let kept: usize = w.instances()[0].metadata.values().map(|v| v.len()).sum();
    assert!(kept <= 3, "{kept}");
}

#[test]
fn network_cards_are_shown_where_there_are_several() {
    let w = world("10.0.0.0/24", "p4d.24xlarge");
    assert_eq!(w.imds_view(&instance(&w), at(0)).unwrap().enis[0].card, Some(0));
}

#[test]
fn a_new_vpc_block_is_shown_at_once() {
    let mut w = late();
    let vpc = w.vpcs()[0].id.clone();
    w.add_vpc_cidr(&vpc, "100.64.0.0/16".parse().unwrap()).unwrap();
    let view = w.imds_view(&instance(&w), at(0)).unwrap();
    assert_eq!(view.vpc_cidrs.len(), 2);
}

#[test]
fn delays_count_from_when_a_thing_happened_not_from_when_somebody_looked() {
    let delays = Delays {
        detach: Duration::from_secs(2),
        attach_to_imds: Duration::from_secs(10),
        ..Delays::NONE
    };
    let mut w = config("10.0.0.0/24", "m5.large").delays(delays).build().unwrap();
    let eni = create(&mut w, None).unwrap().id;
    let attachment = attach(&mut w, &eni, 1).unwrap();
    w.advance(at(20_000));
    detach(&mut w, &attachment).unwrap();
    w.advance(at(60_000));
    assert_eq!(ips(&w, &eni, 60_000), None);
}
