//! Whose an ENI is, and what its kind allows.

use super::bench::*;
use crate::{
    class::{INSTANCE_TAG, NO_MANAGE_TAG, Standing},
    cloud::{AddressCount, EniKind},
    config::{
        AllocationMode::{Prefix, Secondary},
        PoolConfig, WarmTargets,
    },
    pool::{Action, Assign},
};

fn spare_enis(enis: u32) -> WarmTargets {
    WarmTargets { enis, ..WarmTargets::default() }
}

/// Only ENIs that are tagged for instance `i-1` are ours.
fn strict(targets: WarmTargets) -> PoolConfig {
    let mut config = config(Secondary, targets);
    config.instance = Some("i-1".parse().unwrap());
    config.manage_untagged = false;
    config
}

fn touches(id: &crate::id::EniId) -> impl Fn(&Action) -> bool + '_ {
    move |action| match action {
        Action::AssignAddresses { eni, .. }
        | Action::DeleteEni { eni, .. }
        | Action::UnassignAddresses { eni, .. } => eni == id,
        _ => false,
    }
}

#[test]
fn enis_that_are_not_ours_are_left_alone_but_take_a_place() {
    for (kind, tag) in [
        (EniKind::Interface, Some("true")),
        (EniKind::Trunk, Some("true")),
        (EniKind::EfaOnly, None),
    ] {
        let mut bench = Bench::new(config(Secondary, spare_enis(3)));
        let id = bench.attach_eni();
        bench.assign_in_cloud(&id, AddressCount::Secondary(2));
        let eni = bench.enis.get_mut(&id).unwrap();
        eni.kind = kind;
        if let Some(value) = tag {
            eni.tags.insert(NO_MANAGE_TAG.to_owned(), value.to_owned());
        }
        bench.pass_s(300);
        assert_eq!(bench.shape(), (vec![9, 9], 18), "{kind:?}: two places are left of three");
        assert_eq!(bench.enis[&id].cidrs.len(), 2);
        assert_eq!(bench.pool.stats().unmanaged_enis, 1);
    }
}

#[test]
fn a_tag_with_another_value_means_managed() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 2)));
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    let eni = bench.enis.get_mut(&id).unwrap();
    eni.tags.insert(NO_MANAGE_TAG.to_owned(), "True".to_owned());
    bench.pass_s(1);
    assert_eq!(bench.shape(), (vec![0, 2], 2));
}

#[test]
fn untagged_enis_are_left_alone_if_the_settings_say_so() {
    let mut bench = Bench::new(strict(spare_enis(3)));
    let theirs = bench.attach_eni();
    bench.tag(&theirs, "Name", "database");
    bench.assign_in_cloud(&theirs, AddressCount::Secondary(2));
    let ours = bench.attach_eni();
    bench.tag(&ours, INSTANCE_TAG, "i-1");
    bench.pass_s(300);
    assert_eq!(bench.shape(), (vec![9, 9], 18), "the primary ENI needs no tag");
    assert_eq!(bench.pool.stats().unmanaged_enis, 1);
    assert_eq!(bench.log.iter().filter(|a| touches(&theirs)(a)).count(), 0);
    // The settings change their mind at once, not at the next read in a minute.
    bench.reconfigure(|config| config.manage_untagged = true);
    bench.pass_s(1);
    assert_eq!(bench.pool.stats().unmanaged_enis, 0);
    assert_eq!(bench.shape().0, [9, 9, 9]);
}

#[test]
fn what_the_pool_made_itself_stays_its_own_without_untagged_ones() {
    let mut bench = Bench::new(strict(spare_enis(2)));
    bench.pass_s(300);
    assert_eq!(bench.shape(), (vec![9, 9], 18));
    assert_eq!(bench.pool.stats().unmanaged_enis, 0);
}

#[test]
fn the_foreign_ones_are_counted_anew_with_each_view() {
    let mut bench = Bench::new(config(Secondary, spare_enis(1)));
    let a = bench.attach_eni();
    bench.tag(&a, NO_MANAGE_TAG, "true");
    bench.pass_s(200);
    assert_eq!(bench.pool.stats().unmanaged_enis, 1, "not once per view");
    let b = bench.attach_eni();
    bench.tag(&b, NO_MANAGE_TAG, "true");
    bench.enis.remove(&a);
    bench.next_read();
    assert_eq!(bench.pool.stats().unmanaged_enis, 1);
    bench.tag(&b, NO_MANAGE_TAG, "false");
    bench.next_read();
    assert_eq!(bench.pool.stats().unmanaged_enis, 0);
    assert!(bench.pool.stats().enis.iter().any(|eni| eni.id == b));
}

#[test]
fn a_view_without_any_tags_changes_nobodys_mind() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 2)));
    let theirs = bench.attach_eni();
    bench.tag(&theirs, NO_MANAGE_TAG, "true");
    bench.pass_s(1);
    bench.eni(&theirs).tags.clear();
    bench.next_read();
    assert_eq!(bench.pool.stats().unmanaged_enis, 1, "tags that EC2 has not found yet");
    bench.tag(&bench.primary(), "Name", "node");
    bench.next_read();
    assert_eq!(bench.pool.stats().unmanaged_enis, 0, "there are tags, but not this one");
}

#[test]
fn an_eni_that_is_disowned_keeps_its_pods_connected() {
    let mut bench = Bench::new(config(Prefix, warm_ips(1, 0)));
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Prefixes(2));
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    bench.pass_s(1);
    let ip = bench.add(1);
    let before = bench.log.len();
    bench.tag(&id, NO_MANAGE_TAG, "true");
    bench.next_read();
    bench.hold = |_| false;
    bench.answer_held();
    bench.pass_s(200);
    let stats = bench.pool.stats();
    let eni = stats.enis.iter().find(|eni| eni.id == id).expect("for the sake of its pod");
    assert_eq!((eni.standing, eni.assigned(), eni.cidrs.len()), (Standing::Disowned, 1, 1));
    assert_eq!((stats.unmanaged_enis, stats.orphaned), (1, 0));
    let degraded = stats.degraded.join("; ");
    assert!(degraded.contains(&format!("1 pod(s) keep their addresses on {id}")), "{degraded}");
    // A later life could not tell that it is not ours.
    assert!(bench.pool.remembered().iter().all(|eni| eni.id != id));
    // Its owner's business, and nobody else gets any of its addresses.
    assert_eq!(bench.log[before..].iter().filter(|a| touches(&id)(a)).count(), 0);
    for n in 2..18 {
        let other = bench.add(n);
        assert!(!bench.enis[&id].cidrs.iter().any(|cidr| cidr.contains(other)), "pod {n}");
    }
    // A repeated ADD is answered, a restart remembers the pod.
    assert!(matches!(bench.pool.assign(key(1), pod(1), bench.now), Ok(Assign::Ready(_))));
    let mut next = Bench::with(crate::pool::Pool::restore(
        bench.pool.config().clone(),
        &bench.pool.checkpoint(),
        START,
    ));
    next.enis = bench.enis.clone();
    next.pass_s(1);
    assert!(
        matches!(next.pool.assign(key(1), pod(1), next.now), Ok(Assign::Ready(a)) if a.ip == ip)
    );
    assert_eq!(next.pool.stats().orphaned, 0);
    // With its last pod it leaves the pool, not the node.
    bench.del(1);
    bench.next_read();
    assert!(bench.pool.stats().enis.iter().all(|eni| eni.id != id));
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
    assert!(bench.enis.contains_key(&id));
    let torn_down = |a: &Action| matches!(a, Action::TearDownEni { .. });
    assert_eq!(bench.count(torn_down), 1);
}

#[test]
fn an_eni_that_comes_back_to_us_serves_again() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 2)));
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.hold = |a| matches!(a, Action::AssignAddresses { .. });
    bench.pass_s(1);
    bench.add(1);
    bench.tag(&id, NO_MANAGE_TAG, "true");
    bench.next_read();
    bench.tag(&id, NO_MANAGE_TAG, "false");
    bench.next_read();
    assert_eq!(bench.pool.stats().degraded, Vec::<String>::new());
    let other = bench.add(2);
    assert!(bench.eni(&id).cidrs.iter().any(|cidr| cidr.contains(other)));
}

#[test]
fn an_eni_that_is_disowned_on_its_way_out_is_not_deleted() {
    let mut bench = Bench::new(config(Secondary, spare_enis(2)));
    bench.pass_s(100);
    let id = bench.enis.keys().nth(1).unwrap().clone();
    bench.hold = |a| matches!(a, Action::TearDownEni { .. });
    bench.reconfigure(|config| config.targets.enis = 1);
    assert_eq!(bench.held.len(), 1);
    bench.tag(&id, NO_MANAGE_TAG, "true");
    bench.next_read();
    bench.answer_held();
    bench.pass_s(100);
    assert!(bench.enis.contains_key(&id));
}

#[test]
fn an_efa_serves_pods_and_is_never_freed() {
    let mut bench = Bench::new(config(Secondary, spare_enis(2)));
    let id = bench.attach_eni();
    bench.eni(&id).kind = EniKind::Efa;
    bench.pass_s(100);
    assert_eq!(bench.shape().0, [9, 9], "it gets addresses");
    bench.reconfigure(|config| config.targets = warm_ips(1, 0));
    bench.pass_s(300);
    assert!(bench.enis.contains_key(&id));
    assert_eq!(bench.pool.stats().total, 1);
}

#[test]
fn a_trunk_takes_a_place_and_is_left_as_it_is() {
    for tagged in [true, false] {
        let mut bench = Bench::new(if tagged {
            config(Secondary, spare_enis(3))
        } else {
            // Whoever attaches it does not tag it for us.
            strict(spare_enis(3))
        });
        let id = bench.attach_eni();
        bench.eni(&id).kind = EniKind::Trunk;
        bench.pass_s(300);
        assert_eq!(bench.shape().0, [9, 0, 9], "no addresses from us, and a place less");
        assert_eq!(bench.pool.stats().enis[1].standing, Standing::Trunk);
        assert_eq!(bench.pool.stats().unmanaged_enis, 0);
        // Somebody puts addresses on it: pods get them, and nobody takes them away.
        bench.assign_in_cloud(&id, AddressCount::Secondary(2));
        bench.next_read();
        bench.reconfigure(|config| config.targets = warm_ips(1, 0));
        bench.pass_s(300);
        let (shape, free) = bench.shape();
        assert_eq!((&shape[..2], free), (&[0, 2][..], 2));
        let ip = bench.add(1);
        assert!(bench.eni(&id).cidrs.iter().any(|cidr| cidr.contains(ip)));
        assert_eq!(bench.log.iter().filter(|a| touches(&id)(a)).count(), 0);
    }
}

#[test]
fn a_place_is_kept_for_the_trunk_until_it_is_there() {
    let mut with_trunk = config(Secondary, spare_enis(3));
    with_trunk.pod_eni = true;
    let mut bench = Bench::new(with_trunk);
    bench.pass_s(300);
    assert_eq!(bench.shape().0, [9, 9], "one place of three is kept");
    for n in 0..18 {
        bench.add(n);
    }
    let op = bench.ask(18);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("one place is kept for the trunk ENI (ENABLE_POD_ENI)"), "{text}");
    let id = bench.attach_eni();
    bench.eni(&id).kind = EniKind::Trunk;
    bench.next_read();
    let op = bench.ask(18);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("on 3 of 3 ENIs") && !text.contains("trunk"), "{text}");
}

#[test]
fn no_place_is_kept_once_there_is_a_trunk_whoever_has_it() {
    for theirs in [false, true] {
        let mut config = config(Secondary, spare_enis(3));
        config.pod_eni = true;
        let mut bench = Bench::new(config);
        let trunk = bench.attach_eni();
        bench.eni(&trunk).kind = EniKind::Trunk;
        if theirs {
            bench.tag(&trunk, NO_MANAGE_TAG, "true");
        }
        bench.pass_s(300);
        assert_eq!(bench.enis.len(), 3, "theirs: {theirs}");
    }
}

#[test]
fn no_place_is_kept_where_a_trunk_cannot_be() {
    for (trunking, places) in [(None, 2), (Some(true), 2), (Some(false), 3)] {
        let mut config = config(Secondary, spare_enis(3));
        config.pod_eni = true;
        config.trunking = trunking;
        let mut bench = Bench::new(config);
        bench.pass_s(300);
        assert_eq!(bench.enis.len(), places, "{trunking:?}");
    }
}

#[test]
fn max_eni_counts_every_attached_eni() {
    let mut limited = config(Secondary, spare_enis(3));
    limited.max_enis = 2;
    let mut bench = Bench::new(limited);
    let theirs = bench.attach_eni();
    bench.tag(&theirs, NO_MANAGE_TAG, "true");
    bench.pass_s(300);
    assert_eq!(bench.enis.len(), 2);
    assert_eq!(bench.shape().0, [9]);
    // A limit below what is attached frees nothing by itself.
    bench.reconfigure(|config| config.max_enis = 1);
    bench.pass_s(300);
    assert_eq!(bench.enis.len(), 2);
}
