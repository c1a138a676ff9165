//! What the reference is known to get wrong when EC2 misbehaves, and what happens here instead.

use vpc_ipam_core::cloud::{
    AddressCount, CloudBackend, CloudErrorKind as Kind, CreateEni, EniKind,
};

use crate::{
    api::{AttachmentState, Tracking},
    fake::{Fake, attachment, eni, id},
};

fn three() -> CreateEni {
    CreateEni::new(0, AddressCount::Secondary(3))
}

/// There: the clean-up works, so that success is reported, with an ENI that does not exist.
#[tokio::test]
async fn an_eni_that_was_cleaned_up_again_is_not_reported_as_made() {
    let (backend, fake) = Fake::backend();
    fake.refuse("delete_on_termination", Kind::PermissionDenied);
    // Of two errors the first is the one to know.
    fake.refuse("detach", Kind::InUse);
    let error = backend.create_eni(&three()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.action.as_str()),
        (Kind::PermissionDenied, "delete_on_termination")
    );
    let log = fake.state().log.clone();
    assert_eq!(log.iter().filter(|call| **call == "detach").count(), 2);
    assert!(!fake.state().enis.contains_key(&id("eni-1")));
}

/// There: another error is looked at, so that nobody hears of the permission.
#[tokio::test]
async fn a_missing_permission_to_detach_is_told_as_such() {
    let (backend, fake) = Fake::backend();
    let eni = backend.create_eni(&three()).await.unwrap();
    fake.refuse("detach", Kind::PermissionDenied);
    let error = backend.delete_eni(&eni.id).await.unwrap_err();
    assert_eq!((error.kind, error.action.as_str()), (Kind::PermissionDenied, "detach"));
}

/// There: the index behind the last is written to.
#[tokio::test]
async fn a_card_with_every_device_index_taken_or_beyond_is_full_and_leaves_no_eni() {
    let (backend, fake) = Fake::backend();
    for device in (1..100).chain([100, 250]) {
        let mut eni = eni(&format!("eni-other-{device}"), 7, Vec::new());
        eni.attachment = Some(attachment(device, AttachmentState::Attached));
        fake.state().enis.insert(eni.id.clone(), eni);
    }
    let error = backend.create_eni(&three()).await.unwrap_err();
    assert_eq!(error.kind, Kind::AttachmentLimit);
    assert!(error.message.contains("no free device index"), "{error}");
    assert!(!fake.state().enis.contains_key(&id("eni-1")));
}

#[tokio::test]
async fn an_eni_that_lost_its_addresses_in_a_view_makes_that_view_an_error() {
    for (kind, good) in [
        (EniKind::EfaOnly, true),
        (EniKind::Efa, false),
        (EniKind::Interface, false),
        (EniKind::Trunk, false),
    ] {
        let (backend, fake) = Fake::backend();
        let made = backend.create_eni(&three()).await.unwrap();
        if let Some(eni) = fake.state().enis.get_mut(&made.id) {
            (eni.kind, eni.primary_ip, eni.ipv6) = (kind, None, None);
        }
        let view = backend.describe().await;
        assert_eq!(view.is_ok(), good, "{kind:?}");
        if let Err(error) = view {
            assert!(error.message.contains("eni-1 has no address"), "{error}");
        }
    }
}

#[tokio::test]
async fn new_enis_track_connections_as_the_primary_eni_does() {
    let (backend, fake) = Fake::backend();
    let timeouts = Tracking { tcp_established_s: Some(300), udp_stream_s: None, udp_s: Some(31) };
    let set = |tracking| {
        fake.state().enis.get_mut(&id("eni-primary")).unwrap().tracking = tracking;
    };
    set(timeouts);
    backend.describe().await.unwrap();
    backend.create_eni(&three()).await.unwrap();
    backend.create_eni(&CreateEni::new(0, AddressCount::Ipv6Prefixes(1))).await.unwrap();
    // Back to EC2's defaults.
    set(Tracking::default());
    backend.describe().await.unwrap();
    backend.create_eni(&three()).await.unwrap();
    let asked: Vec<_> = fake.state().asked.iter().map(|new| new.tracking).collect();
    assert_eq!(asked, [timeouts, timeouts, Tracking::default()]);
}

#[tokio::test]
async fn on_metadata_alone_an_unknown_instance_type_is_an_error_that_says_why() {
    let (backend, fake) = Fake::configured(|config| config.imds_only(true));
    assert!(backend.read_limits("m5.large").await.is_ok());
    let error = backend.read_limits("x99.colossal").await.unwrap_err();
    assert_eq!(error.kind, Kind::Disabled);
    for part in ["x99.colossal", "built-in table", "ENABLE_IMDS_ONLY_MODE"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert!(fake.state().log.is_empty());
}
