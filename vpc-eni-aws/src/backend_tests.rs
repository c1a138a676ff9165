//! What must hold when EC2 misbehaves.

use std::sync::Arc;

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, Authority, CloudBackend, CloudErrorKind as Kind, CreateEni},
    config::Family,
    id::InstanceId,
};

use crate::{
    AwsBackend,
    api::AttachmentState,
    fake::{Fake, id},
};

fn three() -> CreateEni {
    CreateEni::new(0, AddressCount::Secondary(3))
}

fn names(fake: &Fake) -> Vec<String> {
    fake.state().enis.keys().map(ToString::to_string).collect()
}

async fn listed(backend: &AwsBackend) -> Vec<String> {
    let view = backend.describe().await.unwrap();
    assert_eq!(view.authority, Authority::Ec2);
    let mut ids: Vec<_> = view.enis.iter().map(|eni| eni.id.to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lags_does_not_lose_a_new_eni() {
    let (backend, fake) = Fake::backend();
    let eni = backend.create_eni(&three()).await.unwrap();
    fake.state().unlisted.insert(eni.id.clone());
    assert_eq!(listed(&backend).await, ["eni-1", "eni-primary"]);
    // Deleted by us: gone at once.
    backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(listed(&backend).await, ["eni-primary"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_listing_is_an_error_and_not_the_end_of_all_enis() {
    let (backend, fake) = Fake::backend();
    fake.state().enis.clear();
    let error = backend.describe().await.unwrap_err();
    assert_eq!(error.kind, Kind::Malformed);
    assert!(error.message.contains("eni-primary"), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn enis_on_their_way_in_or_out_are_not_there() {
    let (backend, fake) = Fake::backend();
    let eni = backend.create_eni(&three()).await.unwrap();
    for (state, there) in [
        (AttachmentState::Attached, true),
        (AttachmentState::Attaching, false),
        (AttachmentState::Detaching, false),
        (AttachmentState::Detached, false),
    ] {
        if let Some(eni) = fake.state().enis.get_mut(&eni.id) {
            eni.attachment.as_mut().unwrap().state = state;
        }
        assert_eq!(listed(&backend).await.len() == 2, there, "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_name_subnet_and_security_groups() {
    let (backend, fake) = Fake::backend();
    let mut request = three();
    request.subnet = Some("subnet-pods".parse().unwrap());
    request.groups = ["sg-2", "sg-1"].map(|id| id.parse().unwrap()).to_vec();
    let made = backend.create_eni(&request).await.unwrap();
    assert_eq!(made.subnet.as_str(), "subnet-pods");
    let groups = fake.state().enis.get(&made.id).unwrap().groups.clone();
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    assert_eq!(groups, ["sg-1", "sg-2"]);
}

#[tokio::test(start_paused = true)]
async fn creation_waits_until_the_eni_is_attached() {
    let (backend, fake) = Fake::backend();
    fake.state().attaching_polls = 3;
    let eni = backend.create_eni(&three()).await.unwrap();
    assert_eq!((eni.device, eni.cidrs.len(), eni.primary), (1, 3, false));
    assert_eq!(fake.state().attaching_polls, 0);
}

#[tokio::test(start_paused = true)]
async fn creation_waits_until_all_addresses_are_shown() {
    let (backend, fake) = Fake::backend();
    fake.state().partial_polls = 2;
    let eni = backend.create_eni(&three()).await.unwrap();
    assert_eq!(eni.cidrs.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn parallel_creations_take_different_device_indexes() {
    let (backend, fake) = Fake::backend();
    // Listings show none of the new ENIs.
    fake.state().unlisted = ["eni-1", "eni-2", "eni-3"].map(id).into();
    let create = |backend: Arc<AwsBackend>| {
        tokio::spawn(async move { backend.create_eni(&three()).await.unwrap().device })
    };
    let tasks = [(); 3].map(|()| create(Arc::clone(&backend)));
    let mut devices = Vec::new();
    for task in tasks {
        devices.push(task.await.unwrap());
    }
    devices.sort_unstable();
    assert_eq!(devices, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_fails_at_any_step_leaves_no_eni() {
    for (step, kind) in [
        ("enis_of", Kind::Throttled),
        ("attach", Kind::AttachmentLimit),
        ("attach", Kind::PermissionDenied),
        ("delete_on_termination", Kind::PermissionDenied),
        ("delete_on_termination", Kind::Unreachable),
    ] {
        for lost in [false, true] {
            let (backend, fake) = Fake::backend();
            if lost {
                fake.lose_answer(step, kind);
            } else {
                fake.refuse(step, kind);
            }
            let error = backend.create_eni(&three()).await.unwrap_err();
            assert_eq!((error.kind, error.action.as_str()), (kind, step), "lost: {lost}");
            assert_eq!(names(&fake), ["eni-primary"], "{step} lost: {lost}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cleaning_up_survives_lookups_that_miss_and_deletes_that_fail() {
    let (backend, fake) = Fake::backend();
    fake.refuse("attach", Kind::Throttled);
    // EC2 does not know the new ENI yet, then is busy, then deletes it.
    fake.refuse("delete", Kind::Gone);
    fake.refuse("delete", Kind::Throttled);
    let error = backend.create_eni(&three()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Throttled);
    assert_eq!(names(&fake), ["eni-primary"]);
}

#[tokio::test(start_paused = true)]
async fn an_eni_that_cannot_be_cleaned_up_is_named() {
    let (backend, fake) = Fake::backend();
    fake.refuse("attach", Kind::AttachmentLimit);
    fake.refuse("delete", Kind::PermissionDenied);
    let error = backend.create_eni(&three()).await.unwrap_err();
    assert_eq!(error.kind, Kind::AttachmentLimit);
    assert!(error.message.contains("eni-1 could not be deleted"), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn no_eni_is_created_without_security_groups() {
    let (backend, fake) = Fake::backend();
    if let Some(primary) = fake.state().enis.get_mut(&id("eni-primary")) {
        primary.groups.clear();
    }
    let error = backend.create_eni(&three()).await.unwrap_err();
    assert!(error.message.contains("security groups"), "{}", error.message);
    assert!(!fake.state().log.contains(&"create"));
}

#[tokio::test(start_paused = true)]
async fn only_enis_of_this_instance_are_deleted() {
    let (backend, fake) = Fake::backend();
    assert!(backend.delete_eni(&id("eni-primary")).await.is_err());
    let eni = backend.create_eni(&three()).await.unwrap();
    if let Some(eni) = fake.state().enis.get_mut(&eni.id) {
        let attachment = eni.attachment.as_mut().unwrap();
        attachment.instance = Some(InstanceId::new("i-2").unwrap());
        attachment.id = "a-other".to_owned();
    }
    assert!(backend.delete_eni(&eni.id).await.is_err());
    assert_eq!(names(&fake), ["eni-1", "eni-primary"]);
    assert!(fake.state().enis[&eni.id].attachment.is_some());
}

#[tokio::test(start_paused = true)]
async fn deleting_what_is_gone_succeeds() {
    let (backend, fake) = Fake::backend();
    backend.delete_eni(&id("eni-gone")).await.unwrap();
    let eni = backend.create_eni(&three()).await.unwrap();
    // Someone else is quicker, at each step.
    fake.lose_answer("detach", Kind::Gone);
    fake.lose_answer("delete", Kind::Gone);
    backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(names(&fake), ["eni-primary"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_not_allowed_is_not_tried_again() {
    let (backend, fake) = Fake::backend();
    let eni = backend.create_eni(&three()).await.unwrap();
    fake.refuse("detach", Kind::PermissionDenied);
    let error = backend.delete_eni(&eni.id).await.unwrap_err();
    assert_eq!(error.kind, Kind::PermissionDenied);
    assert_eq!(fake.state().log.iter().filter(|m| **m == "detach").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_is_nearly_used_up_gives_one() {
    let (backend, fake) = Fake::backend();
    let eni = id("eni-primary");
    fake.refuse("assign", Kind::InsufficientAddresses);
    let added = backend.assign_addresses(&eni, AddressCount::Secondary(5)).await.unwrap();
    assert_eq!(added.len(), 1);

    // One was asked for: nothing smaller to try.
    fake.refuse("assign", Kind::InsufficientPrefixes);
    let error = backend.assign_addresses(&eni, AddressCount::Prefixes(1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientPrefixes);

    // Not the subnet's fault: asking again would only burden EC2.
    fake.refuse("assign", Kind::Throttled);
    assert!(backend.assign_addresses(&eni, AddressCount::Secondary(5)).await.is_err());
    let asked = fake.state().log.iter().filter(|m| **m == "assign").count();
    assert_eq!(asked, 4);

    let none = backend.assign_addresses(&eni, AddressCount::Secondary(0)).await.unwrap();
    assert!(none.is_empty());
    assert_eq!(fake.state().log.iter().filter(|m| **m == "assign").count(), asked);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_gone_already_do_not_block_the_others() {
    let (backend, fake) = Fake::backend();
    let eni = id("eni-primary");
    let cidrs = backend.assign_addresses(&eni, AddressCount::Secondary(3)).await.unwrap();
    fake.lose_answer("unassign", Kind::Other);
    backend.unassign_addresses(&eni, &cidrs[..1]).await.unwrap();
    // The first is gone; EC2 refuses the three as a whole.
    backend.unassign_addresses(&eni, &cidrs).await.unwrap();
    assert!(fake.state().enis[&eni].cidrs.is_empty());
    // An empty request asks nothing.
    let calls = fake.state().log.len();
    backend.unassign_addresses(&eni, &[]).await.unwrap();
    assert_eq!(fake.state().log.len(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_refused_unassign_of_addresses_that_are_there_is_an_error() {
    let (backend, fake) = Fake::backend();
    let eni = id("eni-primary");
    let cidrs = backend.assign_addresses(&eni, AddressCount::Secondary(2)).await.unwrap();
    fake.refuse("unassign", Kind::Other);
    assert!(backend.unassign_addresses(&eni, &cidrs).await.is_err());
    assert_eq!(fake.state().enis[&eni].cidrs, cidrs);
    // What is not there needs no taking.
    let v6: Prefix = "fd00::/80".parse().unwrap();
    assert!(backend.unassign_addresses(&eni, &[v6]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_node_is_shown_the_ipv6_side_and_gets_prefixes_once_an_eni_is_attached() {
    let (backend, fake) = Fake::backend_of(Family::V6);
    let one = AddressCount::Ipv6Prefixes(1);
    let eni = backend.create_eni(&CreateEni::new(0, one)).await.unwrap();
    assert!(eni.primary_ip.is_ipv6() && eni.cidrs.is_empty(), "{eni:?}");
    assert_eq!(eni.subnet_cidr.to_string(), "2001:db8::/64");
    let new = backend.assign_addresses(&eni.id, one).await.unwrap();
    assert_eq!(new, ["2001:db8:0:0:64::/80".parse::<Prefix>().unwrap()]);
    let view = backend.describe().await.unwrap();
    assert!(view.enis.iter().all(|eni| !eni.subnet_cidr.is_v4()), "{view:?}");
    backend.unassign_addresses(&eni.id, &new).await.unwrap();
    assert!(fake.state().enis[&eni.id].cidrs.is_empty());
    let own = Prefix::host(eni.primary_ip);
    assert!(backend.unassign_addresses(&eni.id, &[own]).await.is_err());
    // An ENI without IPv6 says so, and takes nothing from anybody.
    fake.state().enis.get_mut(&id("eni-primary")).unwrap().ipv6 = None;
    let view = backend.describe().await.unwrap();
    let primary = view.enis.iter().find(|eni| eni.primary).unwrap();
    assert!(primary.subnet_cidr.is_v4() && primary.primary_ip.is_ipv4(), "{primary:?}");
}
