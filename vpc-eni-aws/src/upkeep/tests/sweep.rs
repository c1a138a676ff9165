//! Sweeps.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use vpc_ipam_core::{class::INSTANCE_TAG, cloud::CloudErrorKind as Kind, config::Family};

use super::{Fake, UpkeepConfig, count, id, upkeep};
use crate::{
    tags::{CREATED_AT, rfc3339},
    upkeep::{Scope, Swept, Unattached, sweep, verdict::Verdict},
};

/// `n` ENIs of a node that is gone, an hour old.
fn leak(fake: &Fake, n: usize) {
    let born = rfc3339(SystemTime::now() - Duration::from_secs(3600));
    for at in 0..n {
        let tags = [(INSTANCE_TAG, "i-gone"), (CREATED_AT, born.as_str())];
        let eni = Unattached {
            id: id(&format!("eni-leak-{at:04}")),
            description: "aws-K8S-i-gone".to_owned(),
            available: true,
            vpc: "vpc-1".to_owned(),
            tags: tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        };
        fake.state().leaked.insert(eni.id.clone(), eni);
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_deletes_the_old_stamps_the_unstamped_and_leaves_the_rest() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 4);
    {
        let mut state = fake.state();
        let mut change = |at: usize, what: fn(&mut Unattached)| {
            what(state.leaked.get_mut(&id(&format!("eni-leak-{at:04}"))).unwrap());
        };
        change(1, |eni| drop(eni.tags.remove(CREATED_AT)));
        change(2, |eni| drop(eni.tags.insert(CREATED_AT.into(), rfc3339(SystemTime::now()))));
        change(3, |eni| eni.description = "somebody's".to_owned());
    }
    let upkeep = upkeep(&backend);
    let swept = upkeep.sweep().await.unwrap();
    assert_eq!(swept, Swept { listed: 4, deleted: 1, stamped: 1, ..Swept::default() });
    let left: Vec<_> = fake.state().leaked.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["eni-leak-0001", "eni-leak-0002", "eni-leak-0003"]);
    let status = upkeep.status();
    assert_eq!((status.leaked_deleted, status.leaked_stamped, status.sweeps), (1, 1, 1));
    // What was stamped is young now.
    assert_eq!(upkeep.sweep().await.unwrap(), Swept { listed: 3, ..Swept::default() });
}

#[tokio::test(start_paused = true)]
async fn errors_of_one_eni_do_not_end_the_round() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 5);
    // Twelve tries, no more: the first ENI stays.
    for _ in 0..12 {
        fake.refuse("delete", Kind::InUse);
    }
    // The second fails at first; the third was deleted by another node.
    fake.refuse("delete", Kind::Unreachable);
    fake.state().log.clear();
    let upkeep = upkeep(&backend);
    let start = Instant::now();
    let swept = upkeep.sweep().await.unwrap();
    assert_eq!((swept.deleted, swept.failed, swept.left), (4, 1, 0));
    assert_eq!(count(&fake, "delete"), 12 + 2 + 3);
    assert!(start.elapsed() > Duration::from_secs(250), "{:?}", start.elapsed());
    let trouble = upkeep.status().troubles["leaked_enis"].clone();
    assert!(trouble.starts_with("1 leaked ENI(s) cannot be removed, eni-leak-"), "{trouble}");
    let unfinished = backend.call_counts().unfinished;
    let failure = ("cleanUpLeakedENIDeleteErr", "InUse".to_owned());
    assert_eq!(unfinished, BTreeMap::from([(failure, 1)]));
    // The next round finds it, and is content.
    assert_eq!(upkeep.sweep().await.unwrap().deleted, 1);
    assert!(upkeep.status().troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_ends_the_round_before_anything_is_changed() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 1500);
    let upkeep = upkeep(&backend);
    fake.refuse("unattached", Kind::Unreachable);
    assert_eq!(upkeep.sweep().await.unwrap_err().kind, Kind::Unreachable);
    assert_eq!(fake.state().leaked.len(), 1500);
    assert_eq!(upkeep.status().sweeps, 0);
    // The second page this time.
    fake.state().leaked.values_mut().take(1000).for_each(|eni| eni.available = false);
    fake.state().faults.clear();
    fake.pass("unattached");
    fake.refuse("unattached", Kind::Throttled);
    assert_eq!(upkeep.sweep().await.unwrap_err().kind, Kind::Throttled);
    assert_eq!(fake.state().leaked.len(), 1500);
}

#[tokio::test(start_paused = true)]
async fn the_first_throttled_deletion_ends_the_round() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 10);
    fake.pass("delete");
    fake.pass("delete");
    fake.refuse("delete", Kind::Throttled);
    let upkeep = upkeep(&backend);
    let swept = upkeep.sweep().await.unwrap();
    assert_eq!((swept.deleted, swept.failed, swept.left), (2, 1, 7));
    assert!(upkeep.status().troubles.is_empty());
    assert_eq!(count(&fake, "delete"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_delete_is_not_asked_a_thousand_times() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 100);
    for _ in 0..100 {
        fake.refuse("delete", Kind::PermissionDenied);
    }
    let swept = upkeep(&backend).sweep().await.unwrap();
    assert_eq!((swept.failed, swept.left), (10, 90));
    assert_eq!(count(&fake, "delete"), 10);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_sweep_together_slow_down_and_go_their_own_ways() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 21);
    let start = Instant::now();
    assert_eq!(upkeep(&backend).sweep().await.unwrap().deleted, 21);
    assert_eq!(start.elapsed(), Duration::from_secs(40));
    // Others delete each one a moment before.
    leak(&fake, 21);
    for _ in 0..21 {
        fake.lose_answer("delete", Kind::Gone);
    }
    let start = Instant::now();
    assert_eq!(upkeep(&backend).sweep().await.unwrap().gone, 21);
    assert_eq!(start.elapsed(), Duration::from_secs(4 + 8 + 18 * 15));

    let order = |node: &str| {
        let enis = (0..20).map(|n| id(&format!("eni-{n}")));
        let mut enis: Vec<_> = enis.map(|eni| (sweep::place(node, &eni), eni)).collect();
        enis.sort();
        enis.into_iter().map(|(_, eni)| eni).collect::<Vec<_>>()
    };
    assert_eq!(order("i-1"), order("i-1"));
    assert_ne!(order("i-1"), order("i-2"));
}

#[tokio::test(start_paused = true)]
async fn thousands_of_leaked_enis_take_a_bounded_part_of_memory_and_of_an_hour() {
    let (backend, fake) = Fake::backend();
    leak(&fake, 3500);
    let upkeep = upkeep(&backend);
    let mut swept = Swept::default();
    let scope = Scope { vpc: "vpc-1".parse().unwrap(), cluster: None };
    let api = backend.api().await.unwrap();
    let todo = upkeep.find(api, &scope, "i-1", &mut swept).await.unwrap();
    assert_eq!(todo.len(), 1000);
    // Ids and where they stand: 48 bytes and the text of the id, no tags, no descriptions.
    let held = std::mem::size_of::<((u64, vpc_ipam_core::id::EniId), Verdict)>();
    assert!(todo.len() * (held + 64) < 128 * 1024, "{held}");
    assert_eq!(count(&fake, "unattached"), 1);

    let start = Instant::now();
    assert_eq!(upkeep.sweep().await.unwrap().deleted, 1000);
    assert!(start.elapsed() < Duration::from_secs(2000), "{:?}", start.elapsed());
    // ENIs that EC2 does not let go would take until tomorrow.
    for _ in 0..13_000 {
        fake.refuse("delete", Kind::InUse);
    }
    let start = Instant::now();
    let swept = upkeep.sweep().await.unwrap();
    assert!(swept.left > 900, "{swept:?}");
    assert!(start.elapsed() < Duration::from_secs(3600), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn rounds_begin_at_random_times_an_hour_apart() {
    let before = sweep::before_round;
    let secs = |first, random| before(first, random).as_secs();
    assert_eq!((secs(true, 0), secs(true, 299), secs(true, 300)), (0, 299, 0));
    assert_eq!((secs(false, 0), secs(false, 299)), (3600, 3899));

    let (backend, fake) = Fake::backend();
    let config = UpkeepConfig { security_groups: false, ..UpkeepConfig::default() };
    let running = tokio::spawn(backend.upkeep(config).run());
    tokio::time::sleep(Duration::from_secs(10 * 3600)).await;
    running.abort();
    let rounds = count(&fake, "unattached");
    assert!((9..=10).contains(&rounds), "{rounds}");
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_node_does_not_sweep() {
    let (backend, fake) = Fake::backend_of(Family::V6);
    let config = UpkeepConfig { security_groups: false, ..UpkeepConfig::default() };
    let running = tokio::spawn(backend.upkeep(config).run());
    tokio::time::sleep(Duration::from_secs(10 * 3600)).await;
    assert_eq!(count(&fake, "unattached"), 0);
    assert!(!running.is_finished());
}
