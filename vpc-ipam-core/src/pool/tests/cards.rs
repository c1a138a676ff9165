//! A pool that minds one network card among several.

use std::collections::BTreeSet;

use super::bench::*;
use crate::{
    config::{AllocationMode, PoolConfig, WarmTargets},
    pool::{Action, Pool},
};

fn second_card(mode: AllocationMode) -> PoolConfig {
    let first = config(mode, WarmTargets { prefixes: 1, ..warm_ips(6, 8) });
    first.on_card(2, 4)
}

fn mutates(action: &Action) -> bool {
    !matches!(action, Action::Describe { .. } | Action::Persist { .. } | Action::SetUpEni { .. })
}

#[test]
fn a_card_without_an_eni_gets_one_and_keeps_one_address_free() {
    let mut bench = Bench::new(second_card(AllocationMode::Secondary));
    bench.run();
    let create = bench.log.iter().find(|a| mutates(a)).unwrap();
    assert!(matches!(create, Action::CreateEni { request, .. } if request.card == 2), "{create:?}");
    assert_eq!(bench.shape(), (vec![1], 1));
    let op = bench.ask(0);
    let got = bench.reply(op).unwrap();
    assert_eq!((got.card, got.device, got.table), (2, 0, 10_200));
    assert_eq!(bench.shape(), (vec![2], 1));
    assert!(bench.log.iter().any(|a| matches!(a, Action::Persist { card: 2, .. })));
}

#[test]
fn what_is_on_other_cards_is_somebody_elses() {
    let mut bench = Bench::new(config(AllocationMode::Secondary, warm_ips(1, 0)).on_card(1, 2));
    let (other, own) = (bench.attach_eni_to(3), bench.attach_eni_to(1));
    let known = |bench: &Bench| -> BTreeSet<_> {
        bench.pool.stats().enis.into_iter().map(|eni| eni.id).collect()
    };
    bench.pool.recall(&bench.enis.values().cloned().collect::<Vec<_>>(), bench.now);
    assert_eq!(known(&bench), [own.clone()].into());
    bench.pass_s(200);
    assert_eq!(known(&bench), [own].into());
    assert!(bench.enis.contains_key(&other), "an ENI of another card was deleted");
    assert!(bench.enis.values().filter(|eni| eni.card != 1).all(|eni| eni.cidrs.is_empty()));
}

#[test]
fn a_prefix_without_a_pod_stays_on_a_further_card() {
    let mut bench = Bench::new(second_card(AllocationMode::Prefix));
    bench.run();
    assert_eq!(bench.shape(), (vec![16], 16));
    bench.add(0);
    let before = bench.count(mutates);
    bench.pass_s(600);
    bench.del(0);
    bench.pass_s(600);
    assert_eq!(
        bench.count(mutates),
        before,
        "16 free addresses are one prefix too many: {:?}",
        bench.log
    );
    assert_eq!(bench.shape(), (vec![16], 16));
}

#[test]
fn a_released_lease_of_a_lost_eni_still_names_its_card() {
    let mut bench = Bench::new(second_card(AllocationMode::Secondary));
    bench.run();
    bench.add(0);
    let checkpoint = bench.pool.checkpoint();
    let mut again =
        Bench::with(Pool::restore(second_card(AllocationMode::Secondary), &checkpoint, START));
    let crate::pool::Release::Pending(op) = again.pool.release(&key(0), START).unwrap() else {
        panic!("the lease is known")
    };
    again.run();
    assert_eq!(again.reply(op).unwrap().card, 2);
}

#[test]
fn an_excluded_eni_of_a_further_card_is_emptied_like_one_of_the_first() {
    let mut bench = Bench::new(second_card(AllocationMode::Secondary));
    bench.run();
    let ip = bench.add(0);
    let id = bench.pool.stats().enis[0].id.clone();
    bench.eni(&id).excluded = true;
    bench.pass_s(100);
    let held: Vec<_> = bench.enis[&id].cidrs.iter().map(crate::addr::Prefix::base).collect();
    assert_eq!(held, [ip], "what no pod uses goes back, what one uses stays");
    bench.del(0);
    bench.pass_s(200);
    assert!(!bench.enis.contains_key(&id));
}
