//! Which calls attaching and detaching cost, and that what was remembered wrongly does no harm.

use std::sync::Arc;

use vpc_ipam_core::{
    cloud::{AddressCount, CloudBackend, CloudErrorKind as Kind, CreateEni},
    id::InstanceId,
};

use crate::{
    AwsBackend,
    api::AttachmentState,
    fake::{Fake, eni, id},
};

/// Names its security groups, which would otherwise be asked of EC2: there is no metadata here.
fn two() -> CreateEni {
    let mut request = CreateEni::new(0, AddressCount::Secondary(2));
    request.groups = vec!["sg-1".parse().unwrap()];
    request
}

/// A backend that has seen its ENIs, and no call since.
async fn seen() -> (Arc<AwsBackend>, Fake) {
    let (backend, fake) = Fake::backend();
    backend.describe().await.unwrap();
    backend.create_eni(&two()).await.unwrap();
    fake.state().log.clear();
    (backend, fake)
}

fn log(fake: &Fake) -> Vec<&'static str> {
    fake.state().log.clone()
}

/// Somebody else attaches an ENI, where nobody of us looks.
fn intrude(fake: &Fake, device: u32) {
    let mut foreign = eni("eni-foreign", 99, Vec::new());
    let mut state = fake.state();
    let mut attachment = state.enis[&id("eni-primary")].attachment.clone().unwrap();
    (attachment.id, attachment.device) = ("a-foreign".to_owned(), device);
    foreign.attachment = Some(attachment);
    state.enis.insert(foreign.id.clone(), foreign);
}

#[tokio::test(start_paused = true)]
async fn a_creation_makes_four_calls() {
    let (backend, fake) = seen().await;
    let eni = backend.create_eni(&two()).await.unwrap();
    assert_eq!(eni.device, 2);
    assert_eq!(log(&fake), ["create", "attach", "delete_on_termination", "eni"]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_makes_two_calls() {
    let (backend, fake) = seen().await;
    backend.delete_eni(&id("eni-1")).await.unwrap();
    assert_eq!(log(&fake), ["detach", "delete"]);
    // Its device index is free again.
    assert_eq!(backend.create_eni(&two()).await.unwrap().device, 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_index_that_somebody_took_meanwhile_is_found_out() {
    let (backend, fake) = seen().await;
    intrude(&fake, 2);
    let eni = backend.create_eni(&two()).await.unwrap();
    assert_eq!(eni.device, 3);
    let attaching = ["create", "attach", "enis_of", "attach", "delete_on_termination", "eni"];
    assert_eq!(log(&fake), attaching);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_full_is_asked_once() {
    let (backend, fake) = seen().await;
    fake.refuse("attach", Kind::AttachmentLimit);
    let error = backend.create_eni(&two()).await.unwrap_err();
    assert_eq!(error.kind, Kind::AttachmentLimit);
    assert_eq!(log(&fake), ["create", "attach", "enis_of", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn an_attachment_that_has_been_replaced_is_found_out() {
    let (backend, fake) = seen().await;
    if let Some(eni) = fake.state().enis.get_mut(&id("eni-1")) {
        eni.attachment.as_mut().unwrap().id = "a-other".to_owned();
    }
    backend.delete_eni(&id("eni-1")).await.unwrap();
    assert_eq!(log(&fake), ["detach", "delete", "eni", "detach", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn an_eni_that_was_moved_elsewhere_is_not_detached_there() {
    let (backend, fake) = seen().await;
    if let Some(eni) = fake.state().enis.get_mut(&id("eni-1")) {
        let attachment = eni.attachment.as_mut().unwrap();
        attachment.id = "a-other".to_owned();
        attachment.instance = Some(InstanceId::new("i-2").unwrap());
    }
    let error = backend.delete_eni(&id("eni-1")).await.unwrap_err();
    assert!(error.message.contains("attached to something else"), "{error}");
    assert_eq!(log(&fake), ["detach", "delete", "eni"]);
    assert!(fake.state().enis[&id("eni-1")].attachment.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_came_too_early_waits_before_it_asks_again() {
    let (backend, fake) = seen().await;
    fake.refuse("delete", Kind::InUse);
    backend.delete_eni(&id("eni-1")).await.unwrap();
    assert_eq!(log(&fake), ["detach", "delete", "eni", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn an_eni_that_a_listing_shows_on_its_way_out_is_not_detached_again() {
    let (backend, fake) = seen().await;
    // What was attached lately is remembered as it was made, so long as a listing may lag behind.
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    let going = |state| {
        if let Some(eni) = fake.state().enis.get_mut(&id("eni-1")) {
            eni.attachment.as_mut().unwrap().state = state;
        }
    };
    going(AttachmentState::Detaching);
    backend.describe().await.unwrap();
    fake.state().log.clear();
    fake.state().enis.get_mut(&id("eni-1")).unwrap().attachment = None;
    backend.delete_eni(&id("eni-1")).await.unwrap();
    assert_eq!(log(&fake), ["eni", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_detached_eni_is_not_left_behind_because_ec2_throttles() {
    let (backend, fake) = seen().await;
    fake.refuse("detach", Kind::Throttled);
    fake.refuse("delete", Kind::Throttled);
    backend.delete_eni(&id("eni-1")).await.unwrap();
    assert_eq!(log(&fake), ["detach", "detach", "delete", "delete"]);
    assert!(!fake.state().enis.contains_key(&id("eni-1")));
}
