use super::bench::*;
use crate::{
    cloud::AddressCount,
    config::AllocationMode::{Prefix, Secondary},
    datapath::{DatapathError, DatapathErrorKind},
    pool::{Action, Event},
};

fn sets_up(action: &Action) -> bool {
    matches!(action, Action::SetUpEni { .. })
}

fn fail(bench: &mut Bench, action: &Action) {
    let error = DatapathError::new(DatapathErrorKind::LinkMissing, "eni-0", "no link yet");
    bench.pool.handle(Event::EniSetUp { op: action.op(), result: Err(error) }, bench.now);
    bench.run();
}

#[test]
fn an_address_is_given_only_after_the_host_knows_its_eni() {
    let mut bench = Bench::new(config(Prefix, warm_ips(1, 0)));
    bench.hold = sets_up;
    let op = bench.ask(1);
    bench.answer_held(); // the empty ENI
    assert!(bench.replies.is_empty());
    let Some(Action::SetUpEni { eni, .. }) = bench.held.first() else { panic!("no set-up") };
    assert_eq!(eni.sources, ["10.0.0.0/28".parse().unwrap()]);
    assert_eq!((eni.table, eni.device, eni.primary), (254, 0, true));
    bench.answer_held();
    assert_eq!(bench.reply(op).unwrap().table, 254);
}

#[test]
fn a_set_up_contains_everything_that_came_while_the_last_one_ran() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    bench.hold = sets_up;
    let ops: Vec<_> = (1..4).map(|n| bench.ask(n)).collect();
    assert_eq!(bench.held.len(), 1, "one at a time for each ENI");
    bench.answer_held();
    bench.answer_held();
    assert!(bench.held.is_empty());
    for op in ops {
        assert!(bench.reply(op).is_ok());
    }
}

#[test]
fn a_missing_link_is_normal_for_a_while_and_named_meanwhile() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.hold = sets_up;
    let op = bench.ask(1);
    for _ in 0..3 {
        let action = bench.held.pop().unwrap();
        fail(&mut bench, &action);
        let stats = bench.pool.stats();
        assert!(!stats.ready);
        assert!(stats.degraded.iter().any(|d| d.contains("eni-0: no link yet")), "{stats:?}");
        assert!(bench.held.is_empty(), "not before some time has passed");
        bench.pass_s(2);
    }
    bench.answer_held();
    bench.answer_held();
    assert!(bench.reply(op).is_ok());
    assert!(bench.pool.stats().ready);
}

#[test]
fn a_set_up_that_fails_later_stops_the_giving_of_addresses_until_it_works_again() {
    let mut config = config(Secondary, warm_ips(2, 0));
    config.provisioning = false;
    let mut bench = Bench::new(config);
    let id = bench.enis.keys().next().unwrap().clone();
    bench.assign_in_cloud(&id, AddressCount::Secondary(4));
    bench.pass_s(1);
    bench.add(1);
    bench.assign_in_cloud(&id, AddressCount::Secondary(1));
    bench.hold = sets_up;
    while bench.held.is_empty() {
        bench.pass_s(5);
    }
    let action = bench.held.pop().unwrap();
    fail(&mut bench, &action);
    let op = bench.ask(2);
    assert!(bench.replies.is_empty(), "nobody knows what the host has now");
    bench.pass_s(1);
    bench.answer_held();
    assert!(bench.reply(op).is_ok());
}

#[test]
fn an_eni_that_cannot_be_set_up_is_not_counted_on() {
    let mut bench = Bench::new(config(Secondary, warm_ips(2, 0)));
    bench.pass_s(1);
    bench.hold = |a| matches!(a, Action::SetUpEni { eni, .. } if eni.device == 0);
    let op = bench.ask(1);
    assert!(bench.reply(op).is_ok(), "served before the set-up of the next addresses fails");
    for _ in 0..8 {
        bench.pass_s(31);
        while let Some(action) = bench.held.pop() {
            fail(&mut bench, &action);
        }
    }
    let stats = bench.pool.stats();
    let devices: Vec<_> = stats.enis.iter().map(|e| (e.device, e.total())).collect();
    assert_eq!(devices, [(0, 3), (1, 2)], "another ENI took its place");
    let op = bench.ask(2);
    assert_eq!(bench.reply(op).unwrap().device, 1);
    // It works again: what is too much goes.
    bench.hold = |_| false;
    bench.pass_s(200);
    let total = bench.pool.stats().total;
    assert_eq!(total, 4, "two pods and two spare ones");
}

#[test]
fn an_eni_is_taken_down_on_the_host_before_the_cloud_and_in_the_end_regardless() {
    let mut bench = Bench::new(config(Secondary, warm_ips(1, 0)));
    bench.pass_s(1);
    let id = bench.attach_eni();
    bench.assign_in_cloud(&id, AddressCount::Secondary(2));
    bench.hold = |a| matches!(a, Action::TearDownEni { .. });
    let mut tries = 0;
    for _ in 0..30 {
        bench.pass_s(10);
        let deleted = bench.count(|a| matches!(a, Action::DeleteEni { .. }));
        if let Some(Action::TearDownEni { op, .. }) = bench.held.pop() {
            assert_eq!(deleted, 0);
            tries += 1;
            let error = DatapathError::new(DatapathErrorKind::Other, "eni-1", "stuck");
            bench.pool.handle(Event::EniTornDown { op, result: Err(error) }, bench.now);
            bench.run();
        }
    }
    assert_eq!(tries, 3);
    assert!(!bench.enis.contains_key(&id));
    assert_eq!(bench.pool.stats().enis.len(), 1);
}
