//! Security groups.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;
use vpc_ipam_core::{
    class::{INSTANCE_TAG, NO_MANAGE_TAG},
    cloud::{AddressCount, CloudBackend as _, CloudErrorKind as Kind, CreateEni, EniKind},
    id::SecurityGroupId,
};

use super::{Fake, UpkeepConfig, count, id, instance, two_enis, upkeep};

fn groups(ids: &[&str]) -> BTreeSet<SecurityGroupId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

fn groups_of(fake: &Fake, eni: &str) -> Vec<String> {
    fake.state().enis[&id(eni)].groups.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_primary_enis_groups_reaches_the_others_once() {
    let (backend, fake) = two_enis().await;
    let upkeep = upkeep(&backend);
    let wanted = groups(&["sg-9", "sg-2"]);
    let result = upkeep.push_groups(&instance(), &wanted, Instant::now()).await;
    assert_eq!((result.pushed, result.failed), (1, 0));
    assert_eq!(groups_of(&fake, "eni-1"), ["sg-2", "sg-9"]);
    // The source is not written to: metadata may show it as it was before.
    assert_eq!(groups_of(&fake, "eni-primary"), ["sg-1"]);
    for _ in 0..3 {
        let result = upkeep.push_groups(&instance(), &wanted, Instant::now()).await;
        assert_eq!(result.pushed, 0);
    }
    assert_eq!(count(&fake, "set_groups"), 1);
    assert_eq!(upkeep.status().group_pushes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_pushes_nothing_that_is_there_already() {
    let (backend, fake) = two_enis().await;
    // The order in which metadata names them means nothing.
    fake.state().enis.get_mut(&id("eni-1")).unwrap().groups =
        ["sg-2", "sg-1"].map(|id| id.parse().unwrap()).to_vec();
    backend.describe().await.unwrap();
    let wanted = groups(&["sg-1", "sg-2"]);
    upkeep(&backend).push_groups(&instance(), &wanted, Instant::now()).await;
    assert_eq!(count(&fake, "set_groups"), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pushed_before_ec2_has_shown_the_enis() {
    let (backend, fake) = Fake::backend();
    let upkeep = upkeep(&backend);
    let result = upkeep.push_groups(&instance(), &groups(&["sg-2"]), Instant::now()).await;
    assert!(result.unseen);
    assert_eq!(count(&fake, "set_groups"), 0);
}

#[tokio::test(start_paused = true)]
async fn only_enis_that_are_ours_get_groups() {
    for (what, kind, card, tag, manage_untagged, multi_nic, pushed) in [
        ("secondary", EniKind::Interface, 0, None, true, false, true),
        ("trunk", EniKind::Trunk, 0, None, false, false, true),
        ("EFA", EniKind::Efa, 0, None, true, false, true),
        ("EFA-only", EniKind::EfaOnly, 0, None, true, false, false),
        ("no_manage", EniKind::Interface, 0, Some((NO_MANAGE_TAG, "true")), true, false, false),
        ("untagged", EniKind::Interface, 0, None, false, false, false),
        ("tagged", EniKind::Interface, 0, Some((INSTANCE_TAG, "i-1")), false, false, true),
        ("other card", EniKind::Interface, 1, None, true, false, false),
        ("managed card", EniKind::Interface, 1, None, true, true, true),
    ] {
        let (backend, fake) = two_enis().await;
        {
            let mut state = fake.state();
            let eni = state.enis.get_mut(&id("eni-1")).unwrap();
            eni.kind = kind;
            eni.attachment.as_mut().unwrap().card = card;
            eni.tags = tag.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        }
        backend.describe().await.unwrap();
        let config = UpkeepConfig { manage_untagged, multi_nic, ..UpkeepConfig::default() };
        let upkeep = backend.upkeep(config);
        upkeep.push_groups(&instance(), &groups(&["sg-2"]), Instant::now()).await;
        assert_eq!(count(&fake, "set_groups"), usize::from(pushed), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_fails_is_repeated_at_the_next_look_and_then_more_seldom() {
    let (backend, fake) = two_enis().await;
    let upkeep = upkeep(&backend);
    let wanted = groups(&["sg-2"]);
    for _ in 0..100 {
        fake.refuse("set_groups", Kind::PermissionDenied);
    }
    let mut tried = Vec::new();
    let start = Instant::now();
    for look in 0..120u64 {
        let now = start + Duration::from_secs(30 * look);
        let result = upkeep.push_groups(&instance(), &wanted, now).await;
        if result.failed == 1 {
            tried.push(look * 30);
        }
    }
    assert_eq!(tried, [0, 30, 90, 210, 450, 930, 1530, 2130, 2730, 3330]);
    let trouble = upkeep.status().troubles["security_groups"].clone();
    assert!(trouble.contains("eni-1 because of set_groups: injected"), "{trouble}");

    // New groups are another matter, and what works is no trouble.
    let now = start + Duration::from_secs(3600);
    upkeep.push_groups(&instance(), &groups(&["sg-3"]), now).await;
    assert_eq!(count(&fake, "set_groups"), 11);
    fake.state().faults.clear();
    let after = now + Duration::from_secs(30);
    assert_eq!(upkeep.push_groups(&instance(), &groups(&["sg-3"]), after).await.pushed, 1);
    assert!(upkeep.status().troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_eni_that_has_gone_is_out_of_sync_and_no_trouble() {
    let (backend, fake) = two_enis().await;
    fake.state().enis.remove(&id("eni-1"));
    let upkeep = upkeep(&backend);
    for _ in 0..2 {
        let result = upkeep.push_groups(&instance(), &groups(&["sg-2"]), Instant::now()).await;
        assert_eq!((result.pushed, result.failed), (0, 0));
    }
    assert_eq!(count(&fake, "set_groups"), 1);
    assert_eq!(backend.call_counts().imds["IMDSMetaDataOutOfSync"].errors, 1);
    assert!(upkeep.status().troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_eni_that_fails_does_not_keep_the_others_from_their_groups() {
    let (backend, fake) = two_enis().await;
    backend.create_eni(&CreateEni::new(0, AddressCount::Secondary(1))).await.unwrap();
    backend.describe().await.unwrap();
    fake.refuse("set_groups", Kind::Other);
    let upkeep = upkeep(&backend);
    let result = upkeep.push_groups(&instance(), &groups(&["sg-2"]), Instant::now()).await;
    assert_eq!((result.pushed, result.failed), (1, 1));
    assert_eq!(groups_of(&fake, "eni-2"), ["sg-2"]);
}
