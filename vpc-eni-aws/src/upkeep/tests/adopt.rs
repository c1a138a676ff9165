//! Tags of adopted ENIs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::advance;
use vpc_ipam_core::{
    class::{INSTANCE_TAG, NO_MANAGE_TAG},
    cloud::{CloudBackend as _, CloudErrorKind as Kind, EniKind},
};

use super::{Fake, UpkeepConfig, count, id};
use crate::{AwsBackend, api::AttachmentState, fake};

/// A backend with a cluster, and an ENI besides the primary that somebody has attached.
fn cluster() -> (Arc<AwsBackend>, Fake) {
    let extra = BTreeMap::from([("team".to_owned(), "net".to_owned())]);
    let (backend, fake) = Fake::configured(|config| config.cluster_name("blue").extra_tags(extra));
    let mut eni = fake::eni("eni-1", 2, Vec::new());
    eni.attachment = Some(fake::attachment(1, AttachmentState::Attached));
    fake.state().enis.insert(eni.id.clone(), eni);
    (backend, fake)
}

fn tags(fake: &Fake, eni: &str) -> BTreeMap<String, String> {
    fake.state().enis[&id(eni)].tags.clone()
}

const WANTED: [(&str, &str); 4] = [
    ("cluster.k8s.amazonaws.com/name", "blue"),
    ("eks:eni:owner", "amazon-vpc-cni"),
    (INSTANCE_TAG, "i-1"),
    ("team", "net"),
];

#[tokio::test(start_paused = true)]
async fn an_adopted_eni_gets_the_tags_that_it_lacks_in_one_call() {
    let (backend, fake) = cluster();
    let has = [("team", "other"), ("eks:eni:owner", "amazon-vpc-cni"), ("Name", "x")];
    fake.state().enis.get_mut(&id("eni-1")).unwrap().tags =
        has.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    backend.describe().await.unwrap();
    let upkeep = backend.upkeep(UpkeepConfig::default());
    let result = upkeep.adopt().await.unwrap();
    assert_eq!((result.tagged, result.failed), (2, 0));
    assert_eq!(count(&fake, "create_tags"), 2);
    for eni in ["eni-1", "eni-primary"] {
        for (key, value) in WANTED {
            assert_eq!(tags(&fake, eni)[key], value, "{eni} {key}");
        }
        // Nobody knows when it was made.
        assert!(!tags(&fake, eni).contains_key("node.k8s.amazonaws.com/createdAt"));
    }
    assert_eq!(tags(&fake, "eni-1")["Name"], "x");
    let written: Vec<_> = fake.state().written.iter().map(|tags| tags.len()).collect();
    assert_eq!(written, [3, 4], "what is right is not written again");

    // Views lag behind: nothing is written twice; later there is nothing to write.
    upkeep.adopt().await.unwrap();
    backend.describe().await.unwrap();
    advance(Duration::from_secs(3600)).await;
    assert_eq!(upkeep.adopt().await.unwrap().tagged, 0);
    assert_eq!(count(&fake, "create_tags"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_to_mark_is_not_marked() {
    for (kind, card, untagged, tag, tagged) in [
        (EniKind::Interface, 0, true, None, true),
        (EniKind::Efa, 0, true, None, true),
        (EniKind::EfaOnly, 0, true, None, false),
        (EniKind::Trunk, 0, true, None, false),
        (EniKind::Interface, 1, true, None, false),
        (EniKind::Interface, 0, false, None, false),
        (EniKind::Interface, 0, true, Some((NO_MANAGE_TAG, "true")), false),
        (EniKind::Interface, 0, false, Some((INSTANCE_TAG, "i-1")), true),
    ] {
        let (backend, fake) = cluster();
        if let Some(eni) = fake.state().enis.get_mut(&id("eni-1")) {
            eni.kind = kind;
            eni.attachment.as_mut().unwrap().card = card;
            eni.tags = tag.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        }
        backend.describe().await.unwrap();
        let config = UpkeepConfig { manage_untagged: untagged, ..UpkeepConfig::default() };
        backend.upkeep(config).adopt().await.unwrap();
        let marked = tags(&fake, "eni-1").contains_key("team");
        assert_eq!(marked, tagged, "{kind:?} card {card} untagged {untagged} {tag:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tags_that_cannot_be_written_are_tried_five_times_reported_and_left_for_later() {
    let (backend, fake) = cluster();
    fake.state().enis.remove(&id("eni-1"));
    backend.describe().await.unwrap();
    let upkeep = backend.upkeep(UpkeepConfig::default());
    for _ in 0..5 {
        fake.refuse("create_tags", Kind::Other);
    }
    assert_eq!(upkeep.adopt().await.unwrap().failed, 1);
    assert_eq!(count(&fake, "create_tags"), 5);
    assert!(upkeep.status().troubles["eni_tags"].contains("eni-primary"));
    // Not with the next view, and the trouble stays while nothing has changed.
    upkeep.adopt().await.unwrap();
    assert_eq!(count(&fake, "create_tags"), 5);
    assert!(upkeep.status().troubles.contains_key("eni_tags"));
    advance(Duration::from_secs(600)).await;
    assert_eq!(upkeep.adopt().await.unwrap().tagged, 1);
    backend.describe().await.unwrap();
    upkeep.adopt().await.unwrap();
    assert!(upkeep.status().troubles.is_empty());

    // Without permission, once is enough.
    fake.state().enis.get_mut(&id("eni-primary")).unwrap().tags.clear();
    backend.describe().await.unwrap();
    fake.refuse("create_tags", Kind::PermissionDenied);
    upkeep.adopt().await.unwrap();
    assert_eq!(count(&fake, "create_tags"), 7);
}

#[tokio::test(start_paused = true)]
async fn running_upkeep_adopts_what_a_view_shows_and_not_before() {
    let (backend, fake) = cluster();
    let config = UpkeepConfig {
        security_groups: false,
        leaked_enis: false,
        termination: false,
        ..UpkeepConfig::default()
    };
    let running = tokio::spawn(backend.upkeep(config).run());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(count(&fake, "create_tags"), 0);
    backend.describe().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(count(&fake, "create_tags"), 2);
    running.abort();
}
