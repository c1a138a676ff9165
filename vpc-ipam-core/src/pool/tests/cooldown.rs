use std::time::Duration;

use super::bench::*;
use crate::config::AllocationMode::{Prefix, Secondary};

#[test]
fn a_released_address_rests_for_longer_than_the_cooldown() {
    let mut bench = Bench::new(config(Prefix, warm_ips(0, 16)));
    bench.pass_s(1);
    for n in 0..4 {
        bench.add(n);
    }
    assert_eq!(bench.del(1).to_string(), "10.0.0.1");
    assert_eq!(bench.pool.stats().cooling, 1);
    bench.pass_s(10);
    assert_eq!(bench.add(10).to_string(), "10.0.0.4", "never used ones come first");
    for n in 11..22 {
        bench.add(n);
    }
    // 15 assigned and one resting: exhausted although one is "available".
    bench.pass_s(20);
    assert_eq!(bench.pool.stats().cooling, 1, "30 s elapsed: still resting");
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.pool.stats().cooling, 0);
    assert_eq!(bench.add(22).to_string(), "10.0.0.1");
}

#[test]
fn the_least_recently_released_address_comes_first() {
    let mut bench = Bench::new(config(Secondary, warm_ips(0, 3)));
    bench.pass_s(1);
    let ips: Vec<_> = (0..3).map(|n| bench.add(n)).collect();
    for n in [2, 0, 1] {
        bench.del(n);
        bench.pass_s(1);
    }
    bench.pass_s(31);
    let again: Vec<_> = (10..13).map(|n| bench.add(n)).collect();
    assert_eq!(again, [ips[2], ips[0], ips[1]]);
}

#[test]
fn without_a_cooldown_an_address_is_free_at_once() {
    let mut config = config(Secondary, warm_ips(0, 1));
    config.cooldown = Duration::ZERO;
    config.max_pods = 1;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let ip = bench.add(1);
    bench.del(1);
    assert_eq!(bench.add(2), ip);
}

#[test]
fn without_a_cooldown_no_released_address_waits_for_the_next_event() {
    let mut config = config(Secondary, warm_ips(0, 1));
    config.cooldown = Duration::ZERO;
    config.max_pods = 1;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    bench.add(1);
    bench.del(1);
    assert_eq!(bench.pool.stats().cooling, 0);
    assert!(bench.pool.poll_timeout().is_none_or(|at| at > bench.now));
}

#[test]
fn an_add_waits_for_a_resting_address_when_there_is_no_other_way() {
    let mut config = config(Secondary, warm_ips(0, 1));
    config.max_pods = 1;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    let ip = bench.add(1);
    bench.del(1);
    bench.pass_s(5);
    let op = bench.ask(2);
    bench.pass_s(24);
    assert!(bench.replies.is_empty());
    bench.pass_s(2);
    assert_eq!(bench.reply(op).unwrap().ip, ip);
}

#[test]
fn an_add_does_not_wait_for_a_rest_that_outlasts_its_patience() {
    let mut config = config(Secondary, warm_ips(0, 1));
    config.max_pods = 1;
    config.cooldown = Duration::from_secs(300);
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    bench.add(1);
    bench.del(1);
    let op = bench.ask(2);
    let text = bench.reply(op).unwrap_err().to_string();
    assert!(text.contains("1 released address(es) rest"), "{text}");
}

#[test]
fn pods_are_packed_so_that_prefixes_and_enis_become_free() {
    let mut bench = Bench::new(config(Prefix, warm_ips(0, 48)));
    bench.pass_s(1);
    for n in 0..17 {
        bench.add(n);
    }
    // Fourteen pods left in the first prefix, one in the second: the next pod joins the fourteen,
    // although the second prefix has addresses that nobody has used yet.
    bench.del(1);
    bench.del(2);
    bench.pass_s(31);
    assert_eq!(bench.add(30).to_string(), "10.0.0.1");
}
