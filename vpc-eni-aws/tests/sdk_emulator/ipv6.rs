//! An IPv6 node, and a further network card.

use std::net::IpAddr;

use vpc_ipam_core::{
    cloud::{AddressCount, Authority, CloudBackend, CreateEni},
    config::Family,
};

use crate::support::{Cloud, find, m5_large, one, secondary};

const ONE: AddressCount = AddressCount::Ipv6Prefixes(1);

fn ipv6() -> Cloud {
    let config = m5_large().ipv6(0, "2001:db8::/64".parse().unwrap());
    Cloud::with(&config, |config| config.family(Family::V6))
}

#[tokio::test]
async fn an_ipv6_eni_from_birth_to_death() {
    let cloud = ipv6();
    let backend = &cloud.backend;
    let primary = backend.describe().await.unwrap().enis[0].clone();
    assert_eq!(primary.subnet_cidr.to_string(), "2001:db8::/64");
    let own = cloud.eni(&primary.id).ipv6_addresses[0];
    assert_eq!(primary.primary_ip, IpAddr::V6(own));

    let eni = backend.create_eni(&CreateEni::new(0, ONE)).await.unwrap();
    assert!(eni.primary_ip.is_ipv6() && eni.cidrs.is_empty(), "{eni:?}");
    let new = backend.assign_addresses(&eni.id, ONE).await.unwrap();
    assert_eq!(new, cloud.eni(&eni.id).ipv6_prefixes);
    let view = backend.describe().await.unwrap();
    assert_eq!(find(&view, &eni.id).cidrs, new);

    backend.unassign_addresses(&eni.id, &new).await.unwrap();
    // The answer may have been lost, so it is asked again.
    backend.unassign_addresses(&eni.id, &new).await.unwrap();
    assert!(cloud.eni(&eni.id).ipv6_prefixes.is_empty());
    backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(cloud.enis(), [primary.id]);
}

#[tokio::test]
async fn without_ec2_metadata_shows_the_ipv6_side() {
    let mut cloud = ipv6();
    let primary = cloud.primary();
    let new = cloud.backend.assign_addresses(&primary, ONE).await.unwrap();
    cloud.backend.describe().await.unwrap();
    cloud.stop_ec2().await;
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!(view.authority, Authority::Imds);
    let shown = find(&view, &primary);
    assert_eq!(shown.cidrs, new);
    assert_eq!(shown.subnet_cidr.to_string(), "2001:db8::/64");
    assert!(shown.primary_ip.is_ipv6());
}

#[tokio::test]
async fn a_subnet_without_ipv6_is_shown_as_such_and_gives_no_eni() {
    let cloud = Cloud::with(&m5_large(), |config| config.family(Family::V6));
    let view = cloud.backend.describe().await.unwrap();
    assert!(view.enis[0].subnet_cidr.is_v4() && view.enis[0].primary_ip.is_ipv4());
    cloud.backend.create_eni(&CreateEni::new(0, ONE)).await.unwrap_err();
    assert_eq!(cloud.enis(), [cloud.primary()], "nothing is left behind");
}

#[tokio::test]
async fn an_eni_is_attached_to_the_card_that_was_asked_for() {
    let cloud = Cloud::start(&one("p4d.24xlarge", "10.0.0.0/24"));
    let first = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    let third = CreateEni::new(2, AddressCount::Secondary(1));
    let third = cloud.backend.create_eni(&third).await.unwrap();
    assert_eq!((first.card, first.device), (0, 1));
    assert_eq!((third.card, third.device, third.primary), (2, 0, false));
}
