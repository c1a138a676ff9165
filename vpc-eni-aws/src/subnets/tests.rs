//! Where new ENIs go, and which ENIs are excluded.

use std::{sync::Arc, time::Duration};

use tokio::time::advance;
use vpc_ipam_core::{
    cloud::{AddressCount, Authority, CloudBackend, CloudError, CloudErrorKind as Kind, CreateEni},
    id::SubnetId,
};

use crate::{
    AwsBackend,
    fake::{Fake, id, subnet},
};

const ROLE: &str = "kubernetes.io/role/cni";
const BLUE: &str = "cni.networking.k8s.aws/cluster/blue";
const GREEN: &str = "cni.networking.k8s.aws/cluster/green";

fn named(name: &str) -> SubnetId {
    name.parse().unwrap()
}

/// The node's own subnet, with few addresses, and two that are tagged.
fn three() -> (Arc<AwsBackend>, Fake) {
    let (backend, fake) = Fake::configured(|config| config.cluster_name("blue"));
    fake.state().subnets = vec![
        subnet("subnet-small", 50, &[(ROLE, "1")]),
        subnet("subnet-1", 10, &[]),
        subnet("subnet-large", 90, &[(ROLE, "1"), (BLUE, "1")]),
        subnet("subnet-untagged", 999, &[]),
        subnet("subnet-green", 998, &[(ROLE, "1"), (GREEN, "1")]),
        subnet("subnet-off", 997, &[(ROLE, "0")]),
    ];
    (backend, fake)
}

async fn create(backend: &AwsBackend) -> Result<String, CloudError> {
    let request = CreateEni::new(0, AddressCount::Secondary(3));
    backend.create_eni(&request).await.map(|eni| eni.subnet.to_string())
}

fn asked(fake: &Fake) -> Vec<String> {
    fake.state().asked.iter().map(|new| new.subnet.to_string()).collect()
}

fn calls(fake: &Fake, method: &str) -> usize {
    fake.state().log.iter().filter(|call| **call == method).count()
}

#[tokio::test(start_paused = true)]
async fn the_subnet_with_most_free_addresses_is_tried_first_and_each_that_is_admitted_in_turn() {
    let (backend, fake) = three();
    fake.state().refusing.insert(named("subnet-large"), Kind::InsufficientPrefixes);
    assert_eq!(create(&backend).await.unwrap(), "subnet-small");
    assert_eq!(asked(&fake), ["subnet-large", "subnet-small"]);
    fake.state().refusing.insert(named("subnet-small"), Kind::Other);
    fake.state().asked.clear();
    assert_eq!(create(&backend).await.unwrap(), "subnet-1");
    // What has refused for lack of space comes last for a while.
    assert_eq!(asked(&fake), ["subnet-small", "subnet-1"]);
}

#[tokio::test(start_paused = true)]
async fn when_all_refuse_the_last_error_counts_and_names_the_others() {
    let (backend, fake) = three();
    for (name, kind) in [
        ("subnet-large", Kind::InsufficientPrefixes),
        ("subnet-small", Kind::PermissionDenied),
        ("subnet-1", Kind::InsufficientAddresses),
    ] {
        fake.state().refusing.insert(named(name), kind);
    }
    let error = create(&backend).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientAddresses);
    for name in ["subnet-large (InsufficientPrefixes)", "subnet-small", "subnet-1"] {
        assert!(error.message.contains(name), "{error}");
    }
    assert_eq!(asked(&fake).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_would_meet_every_subnet_is_not_repeated() {
    for kind in [Kind::Throttled, Kind::Unreachable] {
        let (backend, fake) = three();
        fake.refuse("create", kind);
        assert_eq!(create(&backend).await.unwrap_err().kind, kind);
        assert_eq!(asked(&fake), ["subnet-large"]);
    }
}

#[tokio::test(start_paused = true)]
async fn subnets_without_a_free_address_are_passed_over_unless_all_are() {
    let (backend, fake) = three();
    for subnet in &mut fake.state().subnets {
        subnet.free = u32::from(subnet.id.as_str() == "subnet-1");
    }
    assert_eq!(create(&backend).await.unwrap(), "subnet-1");
    assert_eq!(asked(&fake), ["subnet-1"]);

    let (backend, fake) = three();
    for subnet in &mut fake.state().subnets {
        subnet.free = 0;
    }
    // EC2 itself shall say so.
    create(&backend).await.unwrap();
    assert_eq!(asked(&fake), ["subnet-small"]);
}

#[tokio::test(start_paused = true)]
async fn no_valid_subnet_says_where_which_tag_is_missing() {
    let (backend, fake) = three();
    fake.state().subnets.retain(|subnet| subnet.free > 900);
    fake.state().subnets.push(subnet("subnet-1", 10, &[(ROLE, "0")]));
    let error = create(&backend).await.unwrap_err();
    for part in ["no valid subnets", "vpc-1", "us-west-2a", "subnet-1", ROLE, BLUE] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(error.kind, Kind::Other);
    assert!(asked(&fake).is_empty());
}

#[tokio::test(start_paused = true)]
async fn enis_in_a_row_ask_once_and_are_spread_by_what_the_first_took() {
    let (backend, fake) = three();
    fake.state().subnets.retain(|subnet| subnet.free < 100);
    for subnet in &mut fake.state().subnets {
        subnet.free = if subnet.id.as_str() == "subnet-1" { 99 } else { 98 };
    }
    let mut where_to = Vec::new();
    for _ in 0..3 {
        where_to.push(create(&backend).await.unwrap());
    }
    assert_eq!(where_to, ["subnet-1", "subnet-small", "subnet-large"]);
    assert_eq!(calls(&fake, "subnets"), 1);
    advance(Duration::from_secs(61)).await;
    create(&backend).await.unwrap();
    assert_eq!(calls(&fake, "subnets"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_lacks_space_makes_the_next_eni_ask_again() {
    let (backend, fake) = three();
    create(&backend).await.unwrap();
    fake.state().refusing.insert(named("subnet-large"), Kind::InsufficientAddresses);
    create(&backend).await.unwrap();
    assert_eq!(calls(&fake, "subnets"), 1);
    advance(Duration::from_secs(10)).await;
    create(&backend).await.unwrap();
    assert_eq!(calls(&fake, "subnets"), 2);
    // Two minutes later it is worth the first try again.
    advance(Duration::from_secs(120)).await;
    fake.state().asked.clear();
    create(&backend).await.unwrap();
    assert_eq!(asked(&fake), ["subnet-large", "subnet-small"]);
}

/// The reference promises this in its documentation, but looks the subnets up again to do it.
#[tokio::test(start_paused = true)]
async fn without_permission_to_list_subnets_enis_are_made_in_the_nodes_own() {
    let (backend, fake) = three();
    for _ in 0..2 {
        fake.refuse("subnets", Kind::PermissionDenied);
    }
    assert_eq!(create(&backend).await.unwrap(), "subnet-1");
    assert_eq!(create(&backend).await.unwrap(), "subnet-1");
    assert_eq!(calls(&fake, "subnets"), 1);
    assert_eq!(backend.memory().subnets.failure().unwrap().kind, Kind::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_list_subnets_forgets_nothing() {
    let (backend, fake) = three();
    create(&backend).await.unwrap();
    advance(Duration::from_secs(61)).await;
    fake.refuse("subnets", Kind::PermissionDenied);
    fake.state().asked.clear();
    assert_eq!(create(&backend).await.unwrap(), "subnet-large");
    assert_eq!(asked(&fake), ["subnet-large"]);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_say_whether_the_nodes_own_subnet_is_excluded_none_is_made_there() {
    for kind in [Kind::Throttled, Kind::Unreachable] {
        let (backend, fake) = three();
        fake.refuse("subnets", kind);
        assert_eq!(create(&backend).await.unwrap_err().kind, kind);
        assert!(asked(&fake).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_discovery_enis_go_into_the_nodes_own_subnet_unless_that_is_excluded() {
    let (backend, fake) = Fake::configured(|config| config.subnet_discovery(false));
    fake.state().subnets.push(subnet("subnet-large", 900, &[(ROLE, "1")]));
    assert_eq!(create(&backend).await.unwrap(), "subnet-1");
    fake.state().subnets[0].tags.insert(ROLE.to_owned(), "0".to_owned());
    assert!(backend.describe().await.unwrap().enis.iter().all(|eni| !eni.excluded));

    let (backend, other) = Fake::configured(|config| config.subnet_discovery(false));
    other.state().subnets = vec![subnet("subnet-1", 900, &[(ROLE, "0")])];
    let error = create(&backend).await.unwrap_err();
    assert!(error.message.contains("subnet-1") && error.message.contains(ROLE), "{error}");
    assert!(asked(&other).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_is_asked_for_is_the_only_one_tried_and_none_are_looked_up() {
    let (backend, fake) = three();
    let mut request = CreateEni::new(0, AddressCount::Secondary(3));
    request.subnet = Some(named("subnet-pods"));
    fake.state().refusing.insert(named("subnet-pods"), Kind::InsufficientAddresses);
    let error = backend.create_eni(&request).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientAddresses);
    assert_eq!(asked(&fake), ["subnet-pods"]);
    assert_eq!(calls(&fake, "subnets"), 0);
}

async fn excluded(backend: &AwsBackend) -> Vec<String> {
    let view = backend.describe().await.unwrap();
    assert_eq!(view.authority, Authority::Ec2);
    let excluded = view.enis.iter().filter(|eni| eni.excluded);
    excluded.map(|eni| eni.id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn views_say_which_enis_are_excluded_and_rarely_ask() {
    let (backend, fake) = three();
    fake.state().enis.get_mut(&id("eni-primary")).unwrap().subnet = named("subnet-green");
    assert_eq!(excluded(&backend).await, ["eni-primary"]);
    fake.state().subnets.retain(|subnet| subnet.id.as_str() != "subnet-green");
    for _ in 0..29 {
        assert_eq!(excluded(&backend).await, ["eni-primary"]);
        advance(Duration::from_secs(60)).await;
    }
    assert_eq!(calls(&fake, "subnets"), 1);
    advance(Duration::from_secs(60)).await;
    // Not listed, as one of another account: not excluded.
    assert!(excluded(&backend).await.is_empty());
    assert_eq!(calls(&fake, "subnets"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_view_survives_that_subnets_cannot_be_listed_and_keeps_what_was_known() {
    let (backend, fake) = three();
    fake.refuse("subnets", Kind::Throttled);
    assert!(excluded(&backend).await.is_empty());
    fake.state().subnets[1].tags.insert(ROLE.to_owned(), "0".to_owned());
    // Not at once.
    assert!(excluded(&backend).await.is_empty());
    assert_eq!(calls(&fake, "subnets"), 1);
    advance(Duration::from_secs(300)).await;
    assert_eq!(excluded(&backend).await, ["eni-primary"]);
    advance(Duration::from_secs(1800)).await;
    fake.refuse("subnets", Kind::Unreachable);
    assert_eq!(excluded(&backend).await, ["eni-primary"]);
    assert_eq!(calls(&fake, "subnets"), 3);
}
